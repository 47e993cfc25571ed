"""The changes of a dataset in its card: a block between markers, an entry for each release, the newest first.

    <!-- shardwright:begin changes (…) -->

    ## Changes

    ### v1.1.0

    | config | split | rows | added | removed | changed |
    |---|---|---:|---:|---:|---:|
    | default | train | 1,010 | 10 | 0 | 2 |

    ### v1.0.0

    First release.

    | config | split | rows |
    |---|---|---:|
    | default | train | 1,000 |

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
    from collections.abc import Container, Iterator

    from pipeline.publish.row_changes import Changes, SplitChange

CHANGES_BEGIN = f"<!-- shardwright:begin changes ({NOTE}) -->"
CHANGES_END = "<!-- shardwright:end changes -->"
MAX_ENTRIES = 1_000
"""Entries that are taken over from an older card at the most."""

_MARKER = re.compile(r"<!-- shardwright:(?P<which>begin|end) changes[^\n]{0,200}?-->")
_UNSAFE = re.compile(r"[^\w .+=-]")
"""What is written as a number in names, so that none of them can end a cell, a line or the block, or be a link."""
_NAME = r"(?:[\w .+=-]|&#[0-9]{1,7};)+"
_TITLE = re.compile(_NAME)
_UNTAGGED = "not tagged yet"
_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})*"
_ROWS = {
    True: re.compile(rf"\| (?P<config>{_NAME}) \| (?P<split>{_NAME}) \| (?P<numbers>{_NUMBER}) \|"),
    False: re.compile(
        rf"\| (?P<config>{_NAME}) \| (?P<split>{_NAME}) \| (?P<numbers>(?:{_NUMBER} \| ){{3}}(?:{_NUMBER}|-)) \|"
    ),
}
_PLACE = rf"{_NAME}(?:/{_NAME})?"
_SENTENCE = re.compile(rf"(?:New|Gone) (?:config|split)s?: {_PLACE}(?:, {_PLACE})*")
_ABOVE = "\n\n## Changes\n\n"
_FIRST = "First release."
_SAME = "No row changed."
_NONE = "-"
_UNKNOWN = f"Where `changed` is {_NONE}, no column tells rows apart: a changed row counts as one removed and one added."
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
            lines += [f"| {config} | {split} | {' | '.join(numbers)} |" for config, split, numbers in self.rows]
            lines.append("")
            if any(_NONE in numbers for *_, numbers in self.rows):
                lines += [_UNKNOWN, ""]
        return "\n".join(lines)


def entry_of(changes: Changes, *, tag: str | None = None, since: str | None = None) -> Entry:
    """Return the entry of a release; without a tag, of what is not released yet, since the last tag if there is one."""
    title = _name(tag) if tag else f"since {_name(since)}" if since else _UNTAGGED
    told = [split for split in changes.splits if changes.is_first or not split.is_same]
    return Entry(
        title=title,
        is_first=changes.is_first,
        rows=tuple((_name(split.config), _name(split.split), _numbers(split, changes)) for split in told),
        new=() if changes.is_first else tuple(_sentences(changes)),
    )


def with_changes(
    card_text: str,
    previous_card: str | None,
    entry: Entry,
    *,
    tags: Container[str] | None = None,
    notes: list[str] | None = None,
) -> str:
    """Return a card with the block of changes: this entry and those of the card that was published before.

    An entry of the same tag is replaced, and so is what was not tagged. One that says that nothing changed, without a
    tag, is left out; where it does not say since when, what was not tagged then stays. Without markers in the card the
    block goes to its end. Entries of tags that are not among `tags`, where these are given, are not taken over. `notes`
    receives what a person should know of the older entries.

    Raises:
        RecipeError: the markers of the card are no pair.
    """
    found = list(_MARKER.finditer(card_text, len(card_text) - len(split_front_matter(card_text)[1])))
    if [match["which"] for match in found] not in ([], ["begin", "end"]):
        hint = "one begin and, below it, one end; or neither"
        message = "this marker of the changes has no partner, or stands twice"
        lines = [card_text.count("\n", 0, match.start()) + 1 for match in found]
        raise RecipeError([Mistake(file="README.md", line=line, key="", message=message, hint=hint) for line in lines])
    older = _entries_of(previous_card or "", [] if notes is None else notes)
    if tags is not None:
        older = [one for one in older if not one.is_tagged or one.title in tags]
    if entry.is_tagged or not entry.is_empty or entry.title != _UNTAGGED:
        older = [one for one in older if one.is_tagged and one.title != entry.title]
    entries = older if entry.is_empty and not entry.is_tagged else [entry, *older]
    inside = "".join((_ABOVE, *(f"{one}\n" for one in entries))) if entries else "\n"
    block = f"{CHANGES_BEGIN}{inside}{CHANGES_END}"
    if found:
        return f"{card_text[: found[0].start()]}{block}{card_text[found[1].end() :]}"
    if not entries:
        return card_text
    gap = "" if card_text.endswith("\n\n") else ("\n" if card_text.endswith("\n") or not card_text else "\n\n")
    return f"{card_text}{gap}{block}\n"


def _name(text: str) -> str:
    return _UNSAFE.sub(lambda match: f"&#{ord(match[0])};", text)


def _numbers(split: SplitChange, changes: Changes) -> tuple[str, ...]:
    """Return what stands in the columns of numbers."""
    rows = f"{split.after or 0:,}"
    if changes.is_first:
        return (rows,)
    return (rows, f"{split.added:,}", f"{split.removed:,}", _NONE if split.changed is None else f"{split.changed:,}")


def _sentences(changes: Changes) -> Iterator[str]:
    """Say which configs are new and gone, and which splits of those that stayed."""
    configs = {*changes.new_configs, *changes.gone_configs}
    stayed = [split for split in changes.splits if split.config not in configs]
    for what, names in (
        ("New config", map(_name, changes.new_configs)),
        ("Gone config", map(_name, changes.gone_configs)),
        ("New split", (f"{_name(one.config)}/{_name(one.split)}" for one in stayed if one.before is None)),
        ("Gone split", (f"{_name(one.config)}/{_name(one.split)}" for one in stayed if one.after is None)),
    ):
        if told := list(names):
            yield f"{what}{'s' if len(told) > 1 else ''}: {', '.join(told)}"


def _entries_of(card: str, notes: list[str]) -> list[Entry]:
    """Return the entries of a card that was published before, each once, but for those that this module never wrote."""
    body = split_front_matter(card)[1]
    markers = list(_MARKER.finditer(body))
    if not markers:
        return []
    if [match["which"] for match in markers] != ["begin", "end"]:
        notes.append("the changes in the card there are left out: their markers are no pair")
        return []
    first, *pieces = re.split(r"(?m)^(?=### )", body[markers[0].end() : markers[1].start()])
    entries: dict[str, Entry] = {}
    strange = [] if first == _ABOVE or not (first.strip() or pieces) else [first.strip() or "no heading"]
    for piece in pieces:
        entry = _parsed(piece) if len(entries) < MAX_ENTRIES else None
        if entry is None or entry.title in entries:
            strange.append(piece.partition("\n")[0])
        else:
            entries[entry.title] = entry
    if strange:
        count = f"{len(strange):,} parts are" if len(strange) > 1 else "a part is"
        notes.append(f"of the changes in the card there {count} left out, which nobody wrote so: {shown(strange[0])}")
    return list(entries.values())


def _parsed(piece: str) -> Entry | None:
    """Return an entry that is, to the byte, as it is written; None: it is not."""
    title, *lines = piece.split("\n")
    is_first = _FIRST in lines
    rows = [match for line in lines if (match := _ROWS[is_first].fullmatch(line))]
    entry = Entry(
        title=title.removeprefix("### "),
        is_first=is_first,
        rows=tuple((match["config"], match["split"], tuple(match["numbers"].split(" | "))) for match in rows),
        new=tuple(line for line in lines if _SENTENCE.fullmatch(line)),
    )
    return entry if _TITLE.fullmatch(entry.title) and f"{entry}\n" == piece else None
