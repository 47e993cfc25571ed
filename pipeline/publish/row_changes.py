"""What changed between two releases of a dataset, row by row: per config and split, rows added, removed and changed.

Shards with the same content on both sides are not read: their rows are the same, whatever the shards are called. Of all
others every row is compared, as one of a multiset, so that rows may stand in any order and in any shard.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.checks.dataset import read_dataset
from pipeline.checks.hub_files import HubFiles
from pipeline.errors import SourceError, UsageError
from pipeline.executor import InProcess
from pipeline.media.probe import hash_file
from pipeline.publish.multisets import are_unique, compare, compare_by_key
from pipeline.publish.shard_digests import Digests, Shard
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pipeline.checks.files import DatasetFiles
    from pipeline.executor import Advance, Executor

Place = tuple[str, str]
"""A config and a split."""
KEY = "id"
"""The column that tells rows apart where no other is named, and this one can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitChange:
    """What became of the rows of a split."""

    config: str
    split: str
    before: int | None
    """Rows; None: there was no such split."""
    after: int | None
    """Rows; None: there is no such split any more."""
    added: int
    removed: int
    changed: int | None
    """Rows with the same key and other values; None: no column tells rows apart, so that a changed row counts as one
    removed and one added."""

    @property
    def is_same(self) -> bool:
        """Whether nothing became of them."""
        return self.before is not None and self.after is not None and not (self.added or self.removed or self.changed)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What changed between two releases; between nothing and one, where `is_first`."""

    is_first: bool
    splits: tuple[SplitChange, ...]
    """All of both, those that are gone at the end."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was compared."""

    @property
    def is_empty(self) -> bool:
        """Whether all rows are the same."""
        return all(split.is_same for split in self.splits)

    @property
    def new_configs(self) -> list[str]:
        """Configs that were not there before."""
        before = {split.config for split in self.splits if split.before is not None}
        return list(dict.fromkeys(split.config for split in self.splits if split.config not in before))

    @property
    def gone_configs(self) -> list[str]:
        """Configs that are not there any more."""
        after = {split.config for split in self.splits if split.after is not None}
        return list(dict.fromkeys(split.config for split in self.splits if split.config not in after))


def changes_between(
    before: DatasetFiles | None,
    after: DatasetFiles,
    *,
    keys: Mapping[str, str] | None = None,
    cache: Path | None = None,
    progress: Advance | None = None,
) -> Changes:
    """Compare two releases; `Comparison` says more, and how much must be read, before it reads."""
    return Comparison(before, after, keys=keys, cache=cache).changes(advance=progress)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A split that is on both sides."""

    place: Place
    left: tuple[Shard, ...]
    """Shards before, but for those whose content is there after as well."""
    right: tuple[Shard, ...]
    same: tuple[Shard, ...]
    """Those."""


class Comparison:
    """Two releases of which cards, listings and the footers that are not known are read, and no rows yet."""

    def __init__(
        self,
        before: DatasetFiles | None,
        after: DatasetFiles,
        *,
        keys: Mapping[str, str] | None = None,
        cache: Path | None = None,
        hashes_before: Mapping[str, str] | None = None,
        hashes_after: Mapping[str, str] | None = None,
    ) -> None:
        """Find out which shards must be read.

        `keys` names, by config, the column that tells rows apart; without, `id` is it where it can be. `cache` keeps
        digests of rows. The hashes are the SHA-256 of files by path, where they are known; those of files on this
        machine are taken otherwise, and those of a hub are listed by it.

        Raises:
            UsageError: a key is no column that can tell rows apart.
            SourceError: a dataset cannot be read, or is not all Parquet.
        """
        self._keys = dict(keys or {})
        self._digests = Digests(cache)
        after_shards = _shards(after, hashes_after)
        before_shards = _shards(before, hashes_before) if before is not None else {}
        self._is_first = before is None
        here = {shard.key: shard for shard in _all(before_shards, after_shards) if shard.is_here}
        self._before, self._after = (
            {place: tuple(here.get(shard.key, shard) for shard in shards) for place, shards in side.items()}
            for side in (before_shards, after_shards)
        )
        self._facts = self._digests.facts(_all(self._before, self._after))
        self._check_keys()
        self._pairs = [
            _pair(place, shards, self._after[place]) for place, shards in self._before.items() if place in self._after
        ]
        self._tasks = self._digests.missing(self._wanted())

    @property
    def bytes_to_read(self) -> int:
        """Bytes that must be fetched over a network, at the most."""
        return sum(task.shard.size for task in self._tasks if not task.shard.is_here)

    @property
    def bytes_here(self) -> int:
        """Bytes of shards on this machine that must be read, at the most."""
        return sum(task.shard.size for task in self._tasks if task.shard.is_here)

    def changes(self, *, executor: Executor | None = None, advance: Advance | None = None) -> Changes:
        """Read what must be read, and compare; `advance` is called with bytes.

        Raises:
            SourceError: a shard cannot be read.
        """
        self._digests.read(self._tasks, executor or InProcess(), advance)
        notes: list[str] = []
        compared = {pair.place: self._compared(pair, notes) for pair in self._pairs}
        splits = []
        for place in [*self._after, *(place for place in self._before if place not in self._after)]:
            before, after = (
                sum(self._facts[shard.key].rows for shard in side[place]) if place in side else None
                for side in (self._before, self._after)
            )
            added, removed, changed = compared.get(place, (after or 0, before or 0, 0))
            splits.append(
                SplitChange(
                    config=place[0],
                    split=place[1],
                    before=before,
                    after=after,
                    added=added,
                    removed=removed,
                    changed=changed,
                )
            )
        return Changes(is_first=self._is_first, splits=tuple(splits), notes=tuple(dict.fromkeys(notes)))

    def keep(self, *, executor: Executor | None = None, advance: Advance | None = None) -> None:
        """Keep the digests of all shards of this release that lie here, so that the next one need not fetch them.

        Raises:
            SourceError: a shard cannot be read.
        """
        wanted: dict[str, tuple[Shard, set[str | None]]] = {}
        for place, shards in self._after.items():
            for shard in shards:
                if shard.is_here:
                    wanted.setdefault(shard.key, (shard, set()))[1].update({None, self._key(place, shards)})
        self._digests.read(self._digests.missing(wanted), executor or InProcess(), advance)

    def _check_keys(self) -> None:
        for config, key in self._keys.items():
            places = [place for place in self._after if place[0] == config]
            if not places:
                allowed = ", ".join(dict.fromkeys(map(shown, (config for config, _ in self._after))))
                raise UsageError(
                    f"there is no config {shown(config)} whose rows a key could tell apart", allowed=allowed
                )
            for place in places:
                if self._key(place, self._after[place]) is None:
                    columns = self._common_columns(self._after[place])
                    what = f"{shown(key)} is no column of {'/'.join(place)} that could tell rows apart"
                    raise UsageError(what, allowed=", ".join(map(shown, sorted(columns)[:20])) or "none")

    def _common_columns(self, shards: Sequence[Shard]) -> frozenset[str]:
        columns = [self._facts[shard.key].columns for shard in shards]
        return frozenset.intersection(*columns) if columns else frozenset()

    def _key(self, place: Place, shards: Sequence[Shard]) -> str | None:
        """Return the column that may tell apart the rows of shards; None: there is none."""
        key = self._keys.get(place[0], KEY)
        return key if key in self._common_columns(shards) else None

    def _wanted(self) -> dict[str, tuple[Shard, set[str | None]]]:
        """Return the shards of which digests are needed, by their keys: of all rows, of a column, or of both."""
        wanted: dict[str, tuple[Shard, set[str | None]]] = {}
        for pair in self._pairs:
            if not self._must_be_read(pair):
                continue
            key = self._key(pair.place, (*pair.left, *pair.right, *pair.same))
            for shard in (*pair.left, *pair.right):
                wanted.setdefault(shard.key, (shard, set()))[1].add(None)
            for shard in (*pair.left, *pair.right, *pair.same) if key else ():
                wanted.setdefault(shard.key, (shard, set()))[1].add(key)
        return wanted

    def _rows(self, shards: Iterable[Shard]) -> int:
        return sum(self._facts[shard.key].rows for shard in shards)

    def _must_be_read(self, pair: _Pair) -> bool:
        """Tell whether rows were both put in and taken out; else their number says it all."""
        return bool(self._rows(pair.left) and self._rows(pair.right))

    def _compared(self, pair: _Pair, notes: list[str]) -> tuple[int, int, int | None]:
        """Return how many rows of a split were added, removed and changed."""
        if not self._must_be_read(pair):
            return self._rows(pair.right), self._rows(pair.left), 0
        left, right = (self._of(shards, None) for shards in (pair.left, pair.right))
        key = self._key(pair.place, (*pair.left, *pair.right, *pair.same))
        if key is not None:
            left_keys, right_keys, same_keys = (self._of(shards, key) for shards in (pair.left, pair.right, pair.same))
            if all(are_unique(np.concatenate([keys, same_keys])) for keys in (left_keys, right_keys)):
                return compare_by_key(left_keys, left, right_keys, right)
        if pair.place[0] in self._keys:
            why = "is not there on both sides" if key is None else "names some rows twice"
            notes.append(f"{shown(self._keys[pair.place[0]])} {why} in {'/'.join(pair.place)}: no rows are told apart")
        added, removed = compare(left, right)
        return added, removed, None if added and removed else 0

    def _of(self, shards: Sequence[Shard], column: str | None) -> np.ndarray:
        found = [self._digests.of(shard, column) for shard in shards]
        return np.concatenate([np.zeros((0, 2), np.uint64), *found])


def _pair(place: Place, before: Sequence[Shard], after: Sequence[Shard]) -> _Pair:
    """Put aside the shards that are on both sides, each as often as on both."""
    common = Counter(shard.key for shard in before) & Counter(shard.key for shard in after)

    def apart(shards: Sequence[Shard]) -> tuple[list[Shard], list[Shard]]:
        left = Counter(common)
        others: list[Shard] = []
        same: list[Shard] = []
        for shard in shards:
            (same if left[shard.key] > 0 else others).append(shard)
            left[shard.key] -= 1
        return others, same

    (left, _), (right, same) = apart(before), apart(after)
    return _Pair(place=place, left=tuple(left), right=tuple(right), same=tuple(same))


def _all(*sides: Mapping[Place, Sequence[Shard]]) -> list[Shard]:
    return [shard for side in sides for shards in side.values() for shard in shards]


def _shards(files: DatasetFiles, hashes: Mapping[str, str] | None) -> dict[Place, list[Shard]]:
    """Return the shards of each split."""
    dataset, problems = read_dataset(files, footers=False)
    if dataset is None:
        raise SourceError(f"{files.shown}: {problems[0].message}", hint="mend its card, or see what changed by hand")
    found: dict[Place, list[Shard]] = {}
    known: dict[str, Shard] = {}
    for split in dataset.splits:
        if split.others or split.is_elsewhere:
            what = f"{split.place} of {files.shown} is not all Parquet, so its rows cannot be compared"
            raise SourceError(what, hint="convert it: build it with a recipe")
        for name in split.shards:
            if name not in known:
                sha256 = (hashes or {}).get(name) or _sha256(files, name)
                key = sha256 or f"{id(files)} {name}"
                known[name] = Shard(key=key, sha256=sha256, files=files, name=name, size=dataset.sizes[name])
        found[split.config, split.name] = [known[name] for name in split.shards]
    return found


def _sha256(files: DatasetFiles, name: str) -> str | None:
    if isinstance(files, HubFiles):
        return files.sha256(name)
    path = files.path(name)
    return hash_file(path)[0] if path is not None else None
