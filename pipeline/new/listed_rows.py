"""What has no annotation file: tars of samples (WebDataset), and pictures in folders that are called like their class.

Both are listed as the build lists them, into a scratch folder, and then looked at as any records.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.new.endings import ending_of, media_kind_of
from pipeline.new.file_names import split_of
from pipeline.new.places import Place
from pipeline.readers.record import MAX_RECORD_BYTES
from pipeline.sources.archive import ArchiveLimits, members_of
from pipeline.sources.listing import files_listed, write_listing
from pipeline.sources.local import name_matcher
from pipeline.sources.webdataset import field_of, samples_listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_SHARDS = 20
"""Tars that are looked into."""
MAX_TEXTS = 512 << 20
"""Bytes of texts out of one tar."""
LOOKED_AT = 1_000
"""Members by which a tar of samples is told from other tars."""
MOST = 0.9
MAX_CLASSES = 1_000
_NUMBER = re.compile(r"[0-9]+(?=\.tar\Z)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ListedRows:
    """Rows of a listing."""

    name: str
    """What people call it; its words for splits count."""
    patterns: tuple[str, ...]
    """As `files` in the recipe."""
    format: str
    """`folder` or `webdataset`."""
    path: Path
    """The listing."""


def is_of_samples(tar: Path) -> bool:
    """Tell whether a tar holds samples: several files of one name, most of them."""
    keys: Counter[str] = Counter()
    fields: set[str] = set()
    try:
        for number, member in enumerate(members_of(tar, ArchiveLimits())):
            found = field_of("/".join(member.parts))
            if found is not None:
                keys[found[0]] += 1
                fields.add(found[1].rpartition(".")[2])
            if number >= LOOKED_AT:
                break
    except SourceError:
        return False
    several = sum(count > 1 for count in keys.values())
    return bool(keys) and several >= MOST * (len(keys) - 1) and any(media_kind_of(f"x.{field}") for field in fields)


def list_samples(root: Path, names: Sequence[str], scratch: Path) -> tuple[list[ListedRows], set[str], bool]:
    """List tars of samples below a folder, those that differ by a number together.

    Returns the listings, the names that their media have there, and whether all tars were looked into.
    """
    series: dict[str, list[str]] = {}
    for name in names:
        series.setdefault(_NUMBER.sub("", name), []).append(name)
    rows = []
    media: set[str] = set()
    whole = True
    for number, (key, tars) in enumerate(series.items()):
        path = scratch / f"{number}.jsonl"
        looked = tars[:MAX_SHARDS]
        whole = whole and looked == tars
        write_listing(path, (line for tar in looked for line in _samples(root, tar, media)))
        rows.append(ListedRows(name=key, patterns=_patterns(tars, names), format="webdataset", path=path))
    return rows, media, whole


def _samples(root: Path, tar: str, media: set[str]) -> Iterator[bytes]:
    """Yield the lines of the samples of one tar; the names of its files go to `media`."""
    texts: dict[str, bytes] = {}
    members: list[str] = []
    left = MAX_TEXTS
    for member in members_of(root / tar, ArchiveLimits()):
        name = "/".join(member.parts)
        members.append(name)
        if media_kind_of(name) is None and member.size <= min(left, MAX_RECORD_BYTES):
            texts[name] = b"".join(member.chunks)
            left -= member.size
    media |= {f"{tar}/{name}" for name in members}
    yield from samples_listed(tar, members, texts.get)[1]


def _patterns(tars: list[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return what a recipe calls tars that differ by a number: all of them by one pattern, if it matches no other."""
    if len(tars) == 1:
        return (tars[0],)
    pattern = _NUMBER.sub("*", tars[0])
    fits = name_matcher(pattern)
    return (pattern,) if [name for name in names if fits(name)] == tars else tuple(tars)


def list_classes(home: Place, scratch: Path) -> list[ListedRows]:
    """List images or videos that lie in folders called like their classes; nothing where they do not."""
    assert home.folder is not None
    files = [name.split("/") for name in home.media]
    splits = {parts[0]: split_of(parts[0]) for parts in files if len(parts) > 1}
    if not (splits and all(splits.values()) and all(len(parts) > 1 for parts in files)):
        splits = {}
    depth = 1 if splits else 0
    if not files or any(len(parts) != depth + 2 for parts in files):
        return []
    if not 1 < len({parts[depth] for parts in files}) <= MAX_CLASSES:
        return []
    endings = sorted({ending for parts in files if (ending := parts[-1][len(parts[-1].rpartition(".")[0]) + 1 :])})
    rows = []
    for number, top in enumerate(sorted(splits) or [""]):
        below = f"{top}/" if top else ""
        here = {parts[-1].rpartition(".")[2] for parts in files if not top or parts[0] == top}
        patterns = [f"{below}*/*.{ending}" for ending in endings if ending in here]
        path = scratch / f"{number}.jsonl"
        write_listing(path, files_listed(home.folder, patterns))
        rows.append(ListedRows(name=top or ".", patterns=tuple(patterns), format="folder", path=path))
    return rows


def shards_among(names: Sequence[str], root: Path) -> list[str]:
    """Return the names of tars of samples, if the first of some tars is one."""
    tars = sorted(name for name in names if ending_of(name) == "tar")
    return tars if tars and is_of_samples(root / tars[0]) else []


def place_of_samples(root: Path, media: set[str]) -> Place:
    """Return a folder with tars of samples as a place of what is in them."""
    return Place(title=str(root), source={"path": root.resolve()}, listing=lambda: media)
