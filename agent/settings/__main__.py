"""`python -m agent.settings`: write the JSON Schemas and the table of keys anew, from the top of the repository."""

from pathlib import Path

from agent.settings.schemas import with_key_table, write_schemas

if __name__ == "__main__":
    write_schemas(Path("config/schema"))
    page = Path("docs/configuration.md")
    page.write_text(with_key_table(page.read_text(encoding="utf-8")), encoding="utf-8")
