"""How a PostgreSQL cluster is named in an incarnation."""


def cluster_name(system_identifier: object) -> str:
    """The system identifier in groups of four digits: `7563-8210-...`; a word ("unknown") as it is.

    Nineteen digits in a row look like an identity number to whoever guards the logs, and would be redacted.
    """
    text = str(system_identifier)
    if not text.isdigit():
        return text
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))
