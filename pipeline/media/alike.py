"""Finding rows whose media look alike, without comparing all with all.

A row stays unless it looks like an earlier one that stays. Rows are halved again and again: the later half is held
against those that stay of the earlier one, and what is left of it against itself. Only rows are compared whose first
media have an equal piece of their hashes (`hash_pieces`), which all have that differ in few enough bits. So a thousand
copies of a picture are a thousand comparisons, and not half a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.media.hash_pieces import ALIKE_SHAPES, hash_pieces, pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_SINGLE = 4
"""Bits that may differ so that single pieces are long enough to be rare; for more, pairs of pieces are."""
_ALL_WITH_ALL = 64
"""Rows that are simply compared all with all."""
_NOT_ALIKE = 255


@dataclass(frozen=True, kw_only=True)
class LookOfMedia:
    """What different media look like, each as up to so many pictures."""

    hashes: np.ndarray
    """Media x pictures x 2 numbers of 64 bits."""
    there: np.ndarray
    """Media x pictures: whether there is such a hash; of each medium there is one at least."""
    needed: np.ndarray
    """How many pictures must have a hash on both sides, so that two media can be alike."""
    shapes: np.ndarray
    """Logarithms of width by height."""
    kinds: np.ndarray
    """Only media of one kind are alike."""

    def apart(self, mine: np.ndarray, theirs: np.ndarray, distance: int) -> np.ndarray:
        """Return by how many bits pairs of media differ in the picture that differs most, or _NOT_ALIKE."""
        both = self.there[mine] & self.there[theirs]
        bits = np.bitwise_count(self.hashes[mine] ^ self.hashes[theirs]).sum(axis=2, dtype=np.uint8)
        most = np.where(both, bits, 0).max(axis=1)
        alike = (most <= distance) & (both.sum(axis=1) >= np.maximum(self.needed[mine], self.needed[theirs]))
        alike &= self.kinds[mine] == self.kinds[theirs]
        alike &= np.abs(self.shapes[mine] - self.shapes[theirs]) <= ALIKE_SHAPES
        return np.where(alike, most, _NOT_ALIKE).astype(np.uint8)


class AlikeRows:
    """The rows of a dataset, each with some media, and which of them look like earlier ones."""

    def __init__(self, look: LookOfMedia, media: np.ndarray, offsets: np.ndarray, distance: int) -> None:
        """The media of row n are `media[offsets[n]:offsets[n + 1]]`, one at the least."""
        self._look, self._media, self._starts, self._distance = look, media, offsets[:-1], distance
        self._counts = np.diff(offsets)
        rows = len(self._starts)
        self._alike = np.full(rows, -1, np.int64)
        self._apart = np.zeros(rows, np.uint8)
        first = media[self._starts] if rows else np.array([], np.int64)
        self._there = look.there[first]
        hashes = look.hashes[first]
        count, bits = (distance + 1, 32) if distance <= _SINGLE else (distance + 2, 16)
        self._pieces = [hash_pieces(hashes[:, picture], count, bits) for picture in range(hashes.shape[1])]

    def find(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each row the earliest one that stays and looks like it, or -1; and by how many bits."""
        self._staying(np.arange(len(self._starts)))
        return self._alike, self._apart

    def _staying(self, rows: np.ndarray) -> np.ndarray:
        """Return which of some rows stay, in order; of the others is noted which one they look like."""
        if len(rows) <= _ALL_WITH_ALL:
            return self._staying_of_few(rows)
        half = len(rows) // 2
        early = self._staying(rows[:half])
        late = rows[half:]
        self._note(early, late, self._candidates(early, late))
        return np.concatenate([early, self._staying(late[self._alike[late] < 0])])

    def _staying_of_few(self, rows: np.ndarray) -> np.ndarray:
        theirs, mine = np.triu_indices(len(rows), 1)
        apart = self._apart_of(rows[mine], rows[theirs])
        near = np.flatnonzero(apart != _NOT_ALIKE)
        for place in near[np.lexsort((theirs[near], mine[near]))]:
            one, other = rows[mine[place]], rows[theirs[place]]
            if self._alike[one] < 0 and self._alike[other] < 0:
                self._alike[one], self._apart[one] = other, apart[place]
        staying: np.ndarray = rows[self._alike[rows] < 0]
        return staying

    def _note(self, early: np.ndarray, late: np.ndarray, candidates: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        """Note for each of the late rows the earliest one that it looks like."""
        nobody = len(early)
        best = np.full(len(late), nobody)
        apart = np.zeros(len(late), np.uint8)
        for mine, theirs in candidates:
            found = self._apart_of(late[mine], early[theirs])
            near = np.flatnonzero((found != _NOT_ALIKE) & (theirs < best[mine]))
            # written from the latest to the earliest, so that the earliest is what stays written
            near = near[np.argsort(-theirs[near], kind="stable")]
            best[mine[near]], apart[mine[near]] = theirs[near], found[near]
        alike = best < nobody
        self._alike[late[alike]], self._apart[late[alike]] = early[best[alike]], apart[alike]

    def _candidates(self, early: np.ndarray, late: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield places of late and of early rows of which a piece is equal."""
        for picture, pieces in enumerate(self._pieces):
            ours, others = self._there[late, picture].nonzero()[0], self._there[early, picture].nonzero()[0]
            if not len(ours) or not len(others):
                continue
            for key_of in _keys(pieces, pairs=self._distance > _SINGLE):
                keys = key_of(early[others])
                order = np.argsort(keys, kind="stable")
                keys = keys[order]
                wanted = key_of(late[ours])
                starts = np.searchsorted(keys, wanted, "left")
                counts = np.searchsorted(keys, wanted, "right") - starts
                some = np.flatnonzero(counts)
                for mine, theirs in pairs_of(some, starts[some], counts[some]):
                    yield ours[mine], others[order[theirs]]

    def _apart_of(self, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Return by how many bits pairs of rows differ in the medium that differs most, or _NOT_ALIKE."""
        apart = np.full(len(mine), _NOT_ALIKE, np.uint8)
        same = np.flatnonzero(self._counts[mine] == self._counts[theirs])
        apart[same] = 0
        place = 0
        while len(same):
            ones, others = (self._media[self._starts[rows[same]] + place] for rows in (mine, theirs))
            apart[same] = np.maximum(apart[same], self._look.apart(ones, others, self._distance))
            place += 1
            same = same[(apart[same] != _NOT_ALIKE) & (self._counts[mine[same]] > place)]
        return apart


def _keys(pieces: list[np.ndarray], *, pairs: bool) -> Iterator[_Key]:
    for chosen in combinations(pieces, 2 if pairs else 1):
        yield _Key(chosen)


@dataclass(frozen=True, slots=True)
class _Key:
    """One piece of hashes, or two of them side by side."""

    pieces: tuple[np.ndarray, ...]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        key: np.ndarray = self.pieces[0][rows]
        for piece in self.pieces[1:]:
            key = key.astype(np.uint32) << np.uint32(16) | piece[rows]
        return key
