"""What is known of the rows of a split before any is read: small, and the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.checks.media_sources import Source
    from pipeline.column_type import ColumnType
    from pipeline.rows.conversation_view import View
    from train.feed.decoded_image import Picture
    from train.feed.frame_sampling import FrameSampling
    from train.feed.index import IndexedShard


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which rows of which files become examples, and how."""

    root: Path
    shards: tuple[IndexedShard, ...]
    groups: tuple[tuple[int, ...], ...]
    """Rows of each row group of each shard."""
    sources: tuple[Source, ...]
    """The columns of media that are looked at; the number of each is its place here."""
    types: dict[str, ColumnType | None]
    """Of the columns without media that are looked at."""
    view: View
    frames: FrameSampling
    longest_side: int | None
    id_column: str | None
    picture: Picture | None
    """What frames are kept as, or None."""
    cache: Path
    """Where frames are kept."""

    def plain(self) -> list[Any]:
        """Return all that decides what rows become, apart from the rows, for fingerprints."""
        media = [[source.name, source.kind, source.is_list] for source in self.sources]
        return [self.view.plain(), media, self.frames.plain(), self.longest_side, self.picture]


@dataclass(frozen=True, slots=True)
class RowPlace:
    """Where a row lies."""

    shard: int
    row: int
    """In the shard."""
    group: int
    """In the shard."""
    row_of_group: int


class RowPlaces:
    """Where the rows of a split lie, by their numbers."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        self._groups = [_starts(rows) for rows in groups]
        self.shards = _starts([sum(rows) for rows in groups])
        """The number of the first row of each shard, and behind them that of all rows."""

    def of(self, number: int) -> RowPlace:
        """Return where a row lies.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= number < self.shards[-1]:
            raise IndexError(f"row {number} of {self.shards[-1]:,}")
        shard = int(np.searchsorted(self.shards, number, "right")) - 1
        row = number - int(self.shards[shard])
        starts = self._groups[shard]
        group = int(np.searchsorted(starts, row, "right")) - 1
        return RowPlace(shard, row, group, row - int(starts[group]))


def _starts(rows: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(rows, np.int64))])
