"""A change log that the EPJ's database keeps: source, over database, keys (gaps) and row."""
