r"""LaTeX formulas cut into tokens, and written so that what is set alike is compared alike.

Only what TeX itself does not tell apart is made the same; `\le` and `\leq`, `x_a^b` and `x^b_a`, `\dfrac` and `\frac`
stay different:

- Delimiters around the whole formula are dropped (`$…$`, `$$…$$`, `\(…\)`, `\[…\]`, a fence of a chat).
- Blanks are dropped, but for one in a run inside of `\text{…}` and its like. Commands that make space (`\,`, `\ `,
  `\quad`) are tokens and stay.
- Braces around one letter or digit are dropped: `\frac{1}{2}` is `\frac12`, `{x}` is `x`. Around one command or sign
  only behind `^` and `_`, where TeX takes one token: `x^{-}` is `x^-`, but `{=}` is no `=` (its space differs), and
  `{\bf}` is no `\bf`.
"""

from __future__ import annotations

import re

_BRACE, _END_BRACE = "{", "}"
_TOKEN = re.compile(r"\\[A-Za-z]+|\\\s|\\.|\s+|.", re.DOTALL)
_FENCE = re.compile(r"\s*```[A-Za-z]*\n(?P<inside>.*?)\n?```\s*\Z", re.DOTALL)
_DELIMITERS = ((["$", "$"], ["$", "$"]), ([r"\["], [r"\]"]), ([r"\("], [r"\)"]), (["$"], ["$"]))
_WITH_BLANKS = frozenset(
    rf"\{name}"
    for name in (
        "text",
        "textrm",
        "textbf",
        "textit",
        "textsf",
        "texttt",
        "textnormal",
        "textup",
        "mbox",
        "hbox",
        "fbox",
    )
)
"""Commands whose argument is text, in which a blank is one."""


def latex_tokens(text: str) -> list[str]:
    """Return the tokens of a formula in its comparable form; never fails, whatever the text is."""
    return _without_needless_braces(_blanks_dropped(_without_delimiters(text)))


def latex_text(tokens: list[str]) -> str:
    """Write tokens as a formula, with a blank only where a command would swallow the letter behind it."""
    pieces: list[str] = []
    for token in tokens:
        if pieces and _is_word(pieces[-1]) and token[:1].isalpha():
            pieces.append(" ")
        pieces.append(token)
    return "".join(pieces)


def unbalanced_braces(tokens: list[str]) -> bool:
    """Tell whether a brace has no partner; TeX would not set such a formula."""
    depth = 0
    for token in tokens:
        depth += (token == _BRACE) - (token == _END_BRACE)
        if depth < 0:
            return True
    return depth != 0


def _without_delimiters(text: str) -> list[str]:
    """Return all tokens, blanks too, of what stands between the delimiters of a formula."""
    while match := _FENCE.match(text):
        text = match["inside"]
    tokens = _TOKEN.findall(text)
    found = True
    while found:
        tokens = _trimmed(tokens)
        found = False
        for begin, end in _DELIMITERS:
            wide = len(begin)
            if len(tokens) >= 2 * wide and tokens[:wide] == begin and tokens[-wide:] == end:
                inside = tokens[wide:-wide]
                # `$a$ and $b$` is no formula between two dollars
                if begin[0] not in inside and end[0] not in inside:
                    tokens, found = inside, True
                    break
    return tokens


def _trimmed(tokens: list[str]) -> list[str]:
    start, end = 0, len(tokens)
    while start < end and tokens[start].isspace():
        start += 1
    while end > start and tokens[end - 1].isspace():
        end -= 1
    return tokens[start:end]


def _blanks_dropped(tokens: list[str]) -> list[str]:
    """Return the tokens, with blanks only in the arguments of text commands."""
    kept: list[str] = []
    text_depths: list[int] = []  # of the braces whose inside is text
    depth = 0
    for token in tokens:
        if token.isspace():
            if text_depths:
                kept.append(" ")
            continue
        if token == _BRACE:
            depth += 1
            if kept and kept[-1] in _WITH_BLANKS:
                text_depths.append(depth)
        elif token == _END_BRACE:
            if text_depths and text_depths[-1] == depth:
                text_depths.pop()
            depth = max(depth - 1, 0)
        kept.append("\\ " if len(token) == 2 and token[1].isspace() else token)
    return kept


def _without_needless_braces(tokens: list[str]) -> list[str]:
    kept: list[str] = []
    opened: list[int] = []  # where the open braces stand in `kept`
    for token in tokens:
        if token == _BRACE:
            opened.append(len(kept))
        elif token == _END_BRACE and opened:
            start = opened.pop()
            inside = kept[start + 1 :]
            if len(inside) == 1 and _may_stand_alone(inside[0], kept[start - 1] if start else ""):
                kept[start:] = inside
                continue
        kept.append(token)
    return kept


def _may_stand_alone(token: str, before: str) -> bool:
    return token.isalnum() or (before in ("^", "_") and not token.isspace())


def _is_word(token: str) -> bool:
    return len(token) > 1 and token[0] == "\\" and token[1].isalpha()
