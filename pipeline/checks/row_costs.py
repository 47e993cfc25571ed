"""What the rows of a shard cost a model family: frames, pixels and tokens, as columns."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.checks.report import SHOWN
from pipeline.tokens.cost import CHARACTERS_PER_TOKEN, image_cost, video_cost
from pipeline.tokens.family import Refused, Spent, Unmeasured, VideoFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipeline.checks.columns import MediaColumn
    from pipeline.tokens.family import Family

    Numbers = NDArray[np.int64]

AT_ONCE = 65_536
"""Media that are taken out of a table at once; more memory than theirs is not needed."""
REMEMBERED = 65_536
"""Prices of media that are kept, since many have the same size and length."""
UNKNOWN = ""
"""The price of a medium that nobody measured; of one that is refused, it is the reason."""


@dataclass(kw_only=True)
class RowCosts:
    """What the rows of a shard cost, one by one."""

    row: Numbers
    """Counted from 0 in the shard."""
    text: Numbers
    vision: Numbers
    frames: Numbers
    pixels: Numbers
    measured: NDArray[np.bool_]
    """Which rows have a price: all of their media have."""
    refused: NDArray[np.bool_]
    """Which rows have none because the family's processor fails on a medium of theirs."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Place in these columns -> what it fails on and why, of the first such rows."""

    @property
    def total(self) -> Numbers:
        """All tokens of a row."""
        return self.vision + self.text


class Prices:
    """Prices of a family; those of media are remembered from shard to shard."""

    def __init__(self, family: Family, characters_per_token: int = CHARACTERS_PER_TOKEN) -> None:
        self.family = family
        self.characters_per_token = characters_per_token
        self._price = functools.lru_cache(maxsize=REMEMBERED)(functools.partial(_price, family))

    def of_rows(self, rows: pa.Table, media: pa.Table | None, columns: tuple[MediaColumn, ...]) -> RowCosts:
        """Price the rows of a shard, given its ROW_FACTS, its MEDIA_FACTS and its columns of media."""
        row = rows["row"].to_numpy()
        characters = np.maximum(rows["characters"].fill_null(0).to_numpy(), 0)
        none = np.zeros((3, len(row)), dtype=np.int64)
        costs = RowCosts(
            row=row,
            text=-(-characters // self.characters_per_token),
            vision=none[0],
            frames=none[1],
            pixels=none[2],
            measured=np.ones(len(row), dtype=np.bool_),
            refused=np.zeros(len(row), dtype=np.bool_),
        )
        order = np.argsort(row, kind="stable")
        for batch in media.to_batches(max_chunksize=AT_ONCE) if media is not None and len(row) else ():
            wanted = batch.column("row").to_numpy(zero_copy_only=False)
            near = order[np.minimum(np.searchsorted(row, wanted, sorter=order), len(row) - 1)]
            known = (row[near] == wanted).tolist()
            for place, is_known, medium in zip(near.tolist(), known, _media(batch), strict=True):
                if is_known:
                    self._add(costs, place, medium, columns)
        return costs

    def _add(self, costs: RowCosts, place: int, medium: tuple[Any, ...], columns: tuple[MediaColumn, ...]) -> None:
        """Add the price of a medium to that of its row."""
        number, width, height, *moving = medium
        column = columns[number] if number is not None and 0 <= number < len(columns) else None
        spent: Spent | str = UNKNOWN
        if column is not None:
            spent = self._price(width, height, *(moving if column.kind == "video" else ()))
        if isinstance(spent, Spent):
            costs.vision[place] += spent.tokens
            costs.frames[place] += spent.frames
            costs.pixels[place] += spent.pixels
            return
        costs.measured[place] = False
        costs.refused[place] |= bool(spent)
        if spent and column is not None and len(costs.reasons) < SHOWN:
            what = f"the {column.kind} of {width:,} x {height:,} pixels in {column.name!r}"
            costs.reasons.setdefault(place, f"{self.family.name} refuses {what}: {spent}")


def _media(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    names = ("column", "width", "height", "frames", "fps", "duration")
    return zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def _price(family: Family, width: int | None, height: int | None, *moving: Any) -> Spent | str:
    """Return what a medium costs, or why it has no price."""
    try:
        if not moving:
            return image_cost(family, width, height)
        frames, fps, duration = moving
        video = VideoFacts(width=width or 0, height=height or 0, frames=frames, fps=fps, duration=duration)
        return video_cost(family, video)
    except Refused as error:
        return str(error)
    except Unmeasured:
        return UNKNOWN
