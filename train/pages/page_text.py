"""Texts of strangers in a page: escaped, with their direction kept to themselves, and cut where they are very long."""

from __future__ import annotations

import html

from pipeline.printable import escaped
from train.pages.text_difference import differences

LONGEST = 8_000
"""Characters of a text that are shown."""
_IN_COMMON = 0.3
"""Share of the longer text's characters that must be the same, or differences are not marked."""
_KEPT = "\n\t\u200c\u200d\u00a0\u3000"
"""Characters that are no ink, but that texts of some scripts need: they are no escapes."""
_MARKS = {"said": "ins", "missing": "del"}


def shown(text: str) -> str:
    """Return a text as HTML, in which what cannot be seen is written as its escape."""
    return html.escape(escaped(text, keep=_KEPT))


def text_block(text: str) -> str:
    """Return a text in a box of its own."""
    if not text:
        return '<div class="text quiet">(empty)</div>'
    # boxes that scroll can be reached by the keyboard
    return f'<div class="text" dir="auto" tabindex="0">{shown(text[:LONGEST])}</div>{_rest(len(text))}'


def difference_block(said: str, true: str) -> str:
    """Return what was said in a box, with what is not true marked, and what is missing put in.

    A text that has too little in common with the true one is shown as it is: marks all over could not be read.
    """
    if not said:
        return text_block(said)
    found = differences(said, true)
    same = sum(len(piece.text.strip()) for piece in found if piece.kind == "same")
    if same < _IN_COMMON * max(len(said.strip()), len(true.strip())):
        return text_block(said)
    pieces = []
    room = LONGEST
    for piece in found:
        text = shown(piece.text[: max(room, 0)])
        room -= len(piece.text)
        if text:
            mark = _MARKS.get(piece.kind)
            pieces.append(f"<{mark}>{text}</{mark}>" if mark else text)
    return f'<div class="text" dir="auto" tabindex="0">{"".join(pieces)}</div>{_rest(LONGEST - room)}'


def _rest(length: int) -> str:
    if length <= LONGEST:
        return ""
    return f'<p class="quiet small">… and {length - LONGEST:,} more characters</p>'
