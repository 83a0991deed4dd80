"""Which free text a message can carry. A fact whose text cannot is held back before it takes a place in the chain.

The same bounds stand in schemas/melding.xsd; the tests hold the two together. No reason quotes the text.
"""

from typing import Final

USER_NUMBER_LENGTH: Final = 100
"""`brukerNr`, in characters: beyond it the receiver deletes the row and all under it."""

KEY_LENGTH: Final = 255
"""`tjenesteID` and `midlertidigStoppID`, in characters: our own bound, the standard has none."""


def text_problem(text: str, max_length: int) -> str | None:
    """Why a text cannot be sent as an attribute, or None: blank, too long, several lines, not writable in XML."""
    if not text.strip(" \t\r\n"):
        return "it is empty"
    if len(text) > max_length:
        return f"it is longer than {max_length} characters"
    if "\n" in text or "\r" in text:
        return "it has more than one line"
    if not all(map(_is_xml_character, text)):
        return "it holds a character that a message cannot hold"
    return None


def district_problem(text: str) -> str | None:
    """Why a bydel cannot be sent, or None: two to six digits. A bydel is optional, so leaving it out mends it."""
    if 2 <= len(text) <= 6 and text.isascii() and text.isdigit():
        return None
    return "a bydel is two to six digits"


def _is_xml_character(character: str) -> bool:
    """XML 1.0, production 2 (Char)."""
    code = ord(character)
    return code in {0x9, 0xA, 0xD} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF
