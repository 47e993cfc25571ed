"""Texts that were decoded with the wrong encoding: what they say instead of what they meant.

UTF-8 that was read as Latin-1 or Windows-1252 leaves pairs and triples of characters behind that are the bytes of one
character. Some of them come up in sound texts too (`«Â»`, `100 Å²`, `“café”…`), so only what nobody writes is taken for
damage, or a run of several.
"""

from __future__ import annotations

import re
import unicodedata

_HIGH = bytes(range(0x80, 0xA0)).decode("cp1252", "ignore")
"""What Windows-1252 makes of bytes 0x80 to 0x9F, as far as it has something."""
_REST = f"[\u0080-\u00bf{_HIGH}]"
"""A byte that continues a character in UTF-8."""
SIEVE = f"[\u00c2-\u00f4]{_REST}|\ufffd|锟斤拷"
"""What every damaged text holds, for Arrow and for Python; sound ones may hold it too."""
_RUN = re.compile(f"(?:[\u00c2-\u00df]{_REST}|[\u00e0-\u00ef]{_REST}{{2}}|[\u00f0-\u00f4]{_REST}{{3}})+")
ABOUT_ENCODINGS = (
    r"(?i)mojibake|latin-?1|8859|cp-?125\d|windows-125\d|utf-?8|unicode|charset|ftfy|encod|decod|replacement char"
    r"|\.replace\(|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}"
)
"""What texts talk of that show damage on purpose, for Arrow and for Python."""
_BYTES = {char: char.encode("cp1252") for char in _HIGH}
_MARKS = set("\u2018\u2019\u201a\u201c\u201d\u201e\u2013\u2014\u2026\u2039\u203a\u2022«»·°²³\u00a0\"'(")
"""What may stand beside a capital letter in sound texts."""


def repaired(text: str) -> tuple[str, str] | None:
    """Return a damaged piece of a text, and what it should be where that is known; None: the text is sound."""
    return None if re.search(ABOUT_ENCODINGS, text) else repaired_piece(text)


def repaired_piece(text: str) -> tuple[str, str] | None:
    """Return the same for a text that is known not to talk about encodings."""
    for run in _RUN.finditer(text):
        meant = _decoded(run.group())
        if meant is not None and _is_damage(text, run.start(), run.group(), meant):
            return _with_its_word(text, run.start(), run.end())
    for lost in ("\ufffd", "锟斤拷"):
        if (place := text.find(lost)) >= 0:
            return text[max(0, place - 20) : place + 20], ""
    return None


def _decoded(run: str) -> str | None:
    """Return the characters whose bytes a run is."""
    data = b"".join(_BYTES.get(char) or char.encode("latin-1") for char in run)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_damage(text: str, start: int, run: str, meant: str) -> bool:
    first = meant[0]
    if ord(first) >= 0x1F000 or any("\u2000" <= char <= "\u2bff" or "\u3000" <= char <= "\u303f" for char in meant):
        return True  # emoji, quotes, dashes, arrows: `â€™`; no language has these letters before such signs
    if any(char in "\ufeff\ufffd" or "\uff00" <= char <= "\uffef" for char in meant):
        return True
    letters = sum(unicodedata.category(char)[0] == "L" for char in meant)
    if letters == len(meant) and letters >= (2 if run[0] >= "\u00e0" else 3):
        return True  # a word of another script: `ä½ å¥½`
    before = text[start - 1 : start]
    if run[1] in _MARKS and (before.isupper() or before in _MARKS):
        return False  # `IRMÃ”`, `«Â»`: a capital, and then a quotation mark
    if run[0] in "ÃÂ":
        return True  # `cafÃ©`, `20Â°`
    after = text[start + len(run) : start + len(run) + 1]
    return run[0] in "ÄÅ" and run[1] not in _MARKS and before.islower() and after.islower()  # `moÅ¼e`


def _with_its_word(text: str, start: int, end: int) -> tuple[str, str]:
    """Return the word that a run is in, and the same word with every run in it as it was meant."""
    while start and not text[start - 1].isspace() and end - start < 40:
        start -= 1
    while end < len(text) and not text[end].isspace() and end - start < 40:
        end += 1
    word = text[start:end]
    return word, _RUN.sub(lambda run: _decoded(run.group()) or run.group(), word)
