"""The rows and media of a config, whatever side they are on, as columns of numbers: what leaks are found in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.checks.columns import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.checks.dataset import Dataset, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where some rows or media are."""

    splits: list[Split]
    shards: list[str]
    side: np.ndarray
    """Position in `splits`."""
    shard: np.ndarray
    """Position in `shards`."""
    row: np.ndarray

    def where(self, number: int) -> tuple[str, int, str]:
        """Return shard, row and split of one."""
        return self.shards[self.shard[number]], int(self.row[number]), self.splits[self.side[number]].name


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The media of a config."""

    places: Places
    known: np.ndarray
    """Whether its hash is known."""
    sha256: np.ndarray
    """Two numbers of 64 bits."""
    hashed: np.ndarray
    """Whether it has a perceptual hash."""
    look: np.ndarray
    """Two numbers of 64 bits."""
    shape: np.ndarray
    """The logarithm of width by height, or 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a config whose media are known."""

    places: Places
    values: np.ndarray
    question: np.ndarray
    answer: np.ndarray
    group: np.ndarray
    asks: np.ndarray
    """Whether there are question and answer."""
    grouped: np.ndarray
    """Whether there is a group."""
    known: np.ndarray
    """Whether all its media are known."""
    media: np.ndarray
    """A hash of all its media."""
    count: np.ndarray
    """How many media it has."""


def media_of_config(dataset: Dataset, config: str, tables: dict[str, pa.Table]) -> Media:
    """Return the media of a config; a shard that several splits name counts for the first."""
    splits, parts = dataset.splits_of(config), list(_tables(dataset, config, tables))
    whole = [table for _, _, table in parts]
    sha256, known = _binary(whole, "sha256")
    look, hashed = _binary(whole, "look")
    width, height = (np.maximum(_numbers(whole, name), 1).astype(np.float32) for name in ("width", "height"))
    return Media(
        places=_places(splits, parts),
        known=known,
        sha256=sha256,
        hashed=hashed & known,
        look=look,
        shape=np.log(width / height),
    )


def rows_of_config(dataset: Dataset, config: str, tables: dict[str, pa.Table], media: dict[str, pa.Table]) -> Rows:
    """Return the rows of a config; those of shards whose media were not looked at are not known."""
    splits, parts = dataset.splits_of(config), list(_tables(dataset, config, tables))
    whole = [table for _, _, table in parts]
    found = [_media_of_rows(table, media.get(name), _has_media(dataset, name)) for _, name, table in parts]
    hashes, counts, known = (
        np.concatenate([one[number] for one in found] or [np.zeros(0, kind)])
        for number, kind in enumerate((np.uint64, np.int64, np.bool_))
    )
    question, answer = (_present(whole, name) for name in ("question", "answer"))
    return Rows(
        places=_places(splits, parts),
        values=_numbers(whole, "values"),
        question=_numbers(whole, "question"),
        answer=_numbers(whole, "answer"),
        group=_numbers(whole, "group"),
        asks=question & answer,
        grouped=_present(whole, "group"),
        known=known,
        media=hashes,
        count=counts,
    )


def _has_media(dataset: Dataset, shard: str) -> bool:
    footer = dataset.footer(shard)
    return footer is not None and bool(columns_of(footer.schema).media)


def _media_of_rows(rows: pa.Table, media: pa.Table | None, has_media: bool) -> tuple[np.ndarray, ...]:
    """Return for each row the hash of its media, how many there are, and whether all of them are known."""
    size = rows.num_rows
    hashes, counts, known = np.zeros(size, np.uint64), np.zeros(size, np.int64), np.full(size, True)
    if media is None:
        return hashes, counts, known & (not has_media)
    numbers, row = _numbers([rows], "row"), _numbers([media], "row")
    order = np.argsort(numbers)
    at = np.searchsorted(numbers, row, sorter=order)
    here = (at < size) & (numbers[order[np.minimum(at, size - 1)]] == row) if size else np.zeros(len(row), np.bool_)
    at = order[at[here]]
    sha256, are_known = _binary([media], "sha256")
    place = _numbers([media], "column").astype(np.uint64) << np.uint64(32)
    place += _numbers([media], "position").astype(np.uint64) + np.uint64(1)
    # sums do not depend on the order, so the place is a part of each
    np.add.at(hashes, at, _mixed(sha256[here, 0] + _mixed(place[here])))
    counts += np.bincount(at, minlength=size)
    known[at[~are_known[here]]] = False
    return hashes, counts, known


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Spread the bits of numbers over all of theirs (the last step of SplitMix64)."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return found


def _tables(dataset: Dataset, config: str, tables: dict[str, pa.Table]) -> Iterator[tuple[int, str, pa.Table]]:
    done: set[str] = set()
    for side, split in enumerate(dataset.splits_of(config)):
        for name in split.shards:
            if name in tables and name not in done:
                done.add(name)
                yield side, name, tables[name]


def _places(splits: list[Split], parts: list[tuple[int, str, pa.Table]]) -> Places:
    sizes = [table.num_rows for _, _, table in parts]
    return Places(
        splits=splits,
        shards=[name for _, name, _ in parts],
        side=np.repeat(np.array([side for side, _, _ in parts], np.int16), sizes),
        shard=np.repeat(np.arange(len(parts), dtype=np.int32), sizes),
        row=_numbers([table for _, _, table in parts], "row"),
    )


def _chunks(tables: list[pa.Table], name: str) -> Iterator[pa.Array]:
    for table in tables:
        yield from table.column(name).chunks


def _numbers(tables: list[pa.Table], name: str) -> np.ndarray:
    """Return a column as numbers; null is 0."""
    found = [chunk.fill_null(0).to_numpy(zero_copy_only=False) for chunk in _chunks(tables, name)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _present(tables: list[pa.Table], name: str) -> np.ndarray:
    found = [chunk.is_valid().to_numpy(zero_copy_only=False) for chunk in _chunks(tables, name)]
    return np.concatenate(found) if found else np.zeros(0, np.bool_)


def _binary(tables: list[pa.Table], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column of 16 bytes as two numbers each, and whether they are there."""
    found = []
    for chunk in _chunks(tables, name):
        if len(chunk):
            words = np.frombuffer(chunk.buffers()[1], np.uint64).reshape(-1, 2)
            found.append(words[chunk.offset : chunk.offset + len(chunk)])
    return np.concatenate(found) if found else np.zeros((0, 2), np.uint64), _present(tables, name)
