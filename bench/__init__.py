"""The benchmark programs. README.md says what each figure means and how to read it."""
