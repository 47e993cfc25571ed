"""Links and pictures in the Markdown of a card that should lead to files beside it.

Markdown is read as far as that takes: code, comments and formulas are left out, because what looks like a link in them
is none.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})(?P<rest>.*)")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s")
# Bounds keep the time in proportion to the text, whatever stands in it.
_DESTINATION = r"(?:<(?P<pointed>[^<>\n]{1,1000})>|(?P<plain>(?:[^\s()<>\\]|\\.|\([^\s()]{0,200}\)){1,1000}))"
_TITLE = r"(?:\s{1,20}(?:\"[^\"]{0,500}\"|'[^']{0,500}'|\([^()]{0,500}\)))?"
_INLINE = re.compile(r"(?<!\\)\]\(\s{0,20}" + _DESTINATION + _TITLE + r"\s{0,20}\)")
_DEFINITION = re.compile(
    r"^ {0,3}\[(?!\^)[^\]\n]{1,200}\]:[ \t]{0,20}" + _DESTINATION + _TITLE + r"[ \t]{0,20}$", re.MULTILINE
)
_TAG = re.compile(
    r"<(?:img|a|video|source|audio)\b[^<>]{0,2000}?\s(?:src|href)\s{0,5}=\s{0,5}"
    r"(?:\"(?P<double>[^\"<>]{1,1000})\"|'(?P<single>[^'<>]{1,1000})'|(?P<bare>[^\s\"'<>=`]{1,1000}))",
    re.IGNORECASE,
)
_NO_LINKS = (
    re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL),
    re.compile(r"<(pre|code|script|style)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(r"\$\$[^$]{1,5000}\$\$"),
    re.compile(r"(?<![\\$\w])\$(?=[^\s$])[^$\n]{1,500}(?<=[^\s\\])\$(?!\w)"),
)
"""Comments, code and formulas."""
_TICKS = re.compile(r"`+")
LONGEST_SPAN = 10_000
"""Characters of inline code at the most."""
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LIKE_A_FILE = re.compile(r"[./]|\A[A-Z]{4,}\Z")
_ADDRESS = re.compile(r"www\.|[\w-]+(?:\.[\w-]+)+/")


@dataclass(frozen=True, slots=True)
class Link:
    """A relative link."""

    written: str
    """As it stands in the card."""
    line: int
    """Counted from 1 in the text that was given."""
    path: str
    """Without query and anchor, percent-decoded."""
    raw: str
    """The same, not decoded: a file may have a percent sign in its name."""

    @property
    def is_address(self) -> bool:
        """Whether it looks like the address of another site, only without its scheme."""
        return _ADDRESS.match(self.written) is not None


def relative_links(text: str) -> Iterator[Link]:
    """Yield the links and pictures that are neither addresses nor anchors, each destination once."""
    plain = _without_spans(_without_blocks(text))
    for pattern in _NO_LINKS:
        plain = pattern.sub(_blank, plain)
    seen: set[str] = set()
    for pattern in (_INLINE, _DEFINITION, _TAG):
        line, place = 1, 0
        for match in pattern.finditer(plain):
            line += plain.count("\n", place, match.start())
            place = match.start()
            found = next(value for value in match.groupdict().values() if value is not None).strip()
            written = html.unescape(found if pattern is _TAG else _ESCAPED.sub(r"\1", found))
            raw = re.split(r"[?#]", written, maxsplit=1)[0]
            if written in seen or not raw or raw.startswith(("/", "\\")) or _SCHEME.match(written):
                continue
            seen.add(written)
            if _LIKE_A_FILE.search(raw) and raw.strip("."):
                yield Link(written=written, line=line, path=unquote(raw), raw=raw)


def _blank(match: re.Match[str]) -> str:
    """Keep the lines, so that those below keep their numbers; a space parts what stood around it."""
    return " " + "\n" * match.group(0).count("\n")


def _without_blocks(text: str) -> str:
    """Blank fenced code, and indented code, which stands below an empty line and in no list."""
    lines = []
    fence = ""
    in_list = in_text = False
    for line in text.split("\n"):
        match = _FENCE.match(line)
        indented = line.startswith(("    ", "\t"))
        kept = ""
        if fence:
            if match and match["marks"].startswith(fence) and not match["rest"].strip():
                fence = ""
        elif match and not (match["marks"][0] == "`" and "`" in match["rest"]):
            fence = match["marks"]
            in_text = False
        elif not line.strip():
            in_text = False
        elif in_text or in_list or not indented:
            kept = line
            in_text = True
            if _LIST_ITEM.match(line):
                in_list = True
            elif not line[0].isspace():
                in_list = False
        lines.append(kept)
    return "\n".join(lines)


def _without_spans(text: str) -> str:
    """Blank what stands between runs of as many backticks, in one paragraph."""
    runs = [(match.start(), match.end()) for match in _TICKS.finditer(text)]
    following: dict[int, int] = {}
    partner: dict[int, int] = {}
    for number in reversed(range(len(runs))):
        start, end = runs[number]
        if end - start in following:
            partner[number] = following[end - start]
        following[end - start] = number
    pieces = []
    place = 0
    for number, (start, end) in enumerate(runs):
        other = partner.get(number)
        if start < place or other is None or runs[other][0] - end > LONGEST_SPAN:
            continue
        if "\n\n" in text[end : runs[other][0]]:
            continue  # in another paragraph
        pieces += [text[place:start], " " + "\n" * text.count("\n", end, runs[other][0])]
        place = runs[other][1]
    return "".join([*pieces, text[place:]])
