"""Tables read with SELECT and nothing more: source, over reading (what is asked next), statements and database."""
