"""One stream for the municipalities of one database: sources (what each sees), stream, member, capture."""
