"""The changes of a dataset in its card: a block between markers, an entry for each release, the newest first.

    <!-- shardwright:begin changes (…) -->

    ## Changes

    ### v1.1.0

    | config | split | rows | added | removed | changed |
    |---|---|---:|---:|---:|---:|
    | default | train | 1,010 | 10 | 0 | 2 |

    ### v1.0.0

    First release.
    …
    <!-- shardwright:end changes -->

The newest entry is computed from the rows. The older ones come from the card that was published last, which is text of
strangers: an entry is taken over only if it is, to the byte, what this module writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.card_text import NOTE, split_front_matter
from pipeline.errors import Mistake, RecipeError
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from pipeline.publish.row_changes import Changes, SplitChange

CHANGES_BEGIN = f"<!-- shardwright:begin changes ({NOTE}) -->"
CHANGES_END = "<!-- shardwright:end changes -->"
MAX_ENTRIES = 1_000
"""Entries that are taken over from an older card at the most."""

_MARKER = re.compile(r"<!-- shardwright:(?P<which>begin|end) changes[^\n]{0,200}?-->")
_SAFE = re.compile(r"[^\w .+=-]")
"""What stands in a name as its number, so that no name can end a cell, a block or a line, or be a link."""
_NAME = r"(?:[\w .+=-]|&#\d{1,7};)+"
_NUMBER = r"\d{1,3}(?:,\d{3})*"
_UNTAGGED = "not tagged yet"
_HEADING = re.compile(r"### (?P<title>\S[^\n]{0,249})")
_REF = re.compile(r"[\w.+/=-]{1,200}", re.ASCII)
_ROW = re.compile(rf"\| (?P<config>{_NAME}) \| (?P<split>{_NAME}) \| (?P<numbers>(?:(?:{_NUMBER}|–) \| ?){{1,4}})")
_FIRST = "First release."
_SAME = "No row changed."
_UNKNOWN = "–: no column tells rows apart, so a changed row counts as one removed and one added."
_TABLES = {
    True: ("| config | split | rows |", "|---|---|---:|"),
    False: ("| config | split | rows | added | removed | changed |", "|---|---|---:|---:|---:|---:|"),
}
"""Heads of the tables of a first release, and of all others."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What changed in one release, as the card says it."""

    title: str
    """The tag; or `since` another one, or that there is none."""
    is_first: bool
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Config, split, and what stands in the columns of numbers; only splits that changed."""
    new: tuple[str, ...] = ()
    """Sentences on configs and splits that are new or gone."""

    @property
    def is_tagged(self) -> bool:
        """Whether it is that of a tag."""
        return not self.title.startswith("since ") and self.title != _UNTAGGED

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not self.is_first and not self.rows

    def __str__(self) -> str:
        lines = [f"### {self.title}", ""]
        if self.is_first or self.is_empty:
            lines += [_FIRST if self.is_first else _SAME, ""]
        lines += [line for sentence in self.new for line in (sentence, "")]
        if self.rows:
            lines += _TABLES[self.is_first]
            lines += [" ".join(("|", config, "|", split, "|", *_cells(numbers))) for config, split, numbers in self.rows]
            lines.append("")
            if any("–" in numbers for *_, numbers in self.rows):
                lines += [_UNKNOWN, ""]
        return "\n".join(lines)


def entry_of(changes: Changes, *, tag: str | None = None, since: str | None = None) -> Entry:
    """Return the entry of a release; without a tag, of what is not released yet, since the last tag if there is one."""
    title = tag or (f"since {since}" if since else _UNTAGGED)
    told = [split for split in changes.splits if changes.is_first or not split.is_same]
    return Entry(
        title=title,
        is_first=changes.is_first,
        rows=tuple((_name(split.config), _name(split.split), _numbers(split, changes)) for split in told),
        new=() if changes.is_first else tuple(_sentences(changes)),
    )


def with_changes(card_text: str, previous_card: str | None, entry: Entry, *, notes: list[str] | None = None) -> str:
    """Return a card with the block of changes: this entry and those of the card that was published before.

    An entry of the same tag is replaced, and so is what was not tagged. One that says that nothing changed, without a
    tag, is left out; where it does not say since when, what was not tagged then stays. Without markers in the card the
    block goes to its end. `notes` receives what a person should know of the older entries.

    Raises:
        RecipeError: the markers of the card are no pair.
    """
    found = list(_MARKER.finditer(card_text, len(card_text) - len(split_front_matter(card_text)[1])))
    if [match["which"] for match in found] not in ([], ["begin", "end"]):
        hint = "one begin and, below it, one end; or neither"
        message = "this marker of the changes has no partner, or stands twice"
        lines = [card_text.count("\n", 0, match.start()) + 1 for match in found]
        raise RecipeError(
            [Mistake(file="README.md", line=line, key="", message=message, hint=hint) for line in lines]
        )
    older = _entries_of(previous_card or "", [] if notes is None else notes)
    if entry.is_tagged or not entry.is_empty or entry.title != _UNTAGGED:
        older = [one for one in older if one.is_tagged and one.title != entry.title]
    entries = ([] if entry.is_empty and not entry.is_tagged else [entry]) + older
    if not entries:
        block = ""
    else:
        block = "\n".join((CHANGES_BEGIN, "", "## Changes", "", *map(str, entries), CHANGES_END))
    if found:
        return card_text[: found[0].start()] + (block or "\n".join((CHANGES_BEGIN, CHANGES_END))) + card_text[found[1].end() :]
    if not block:
        return card_text
    gap = "" if card_text.endswith("\n\n") else ("\n" if card_text.endswith("\n") or not card_text else "\n\n")
    return f"{card_text}{gap}{block}\n"
