"""What the parts of a mix may keep of their rows: caps first, then shares by weight, split by split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.samples import draw, identities

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.build import AnnotationFile, Build
    from pipeline.recipe import Config, Part

Kept = dict[str, int]
"""Source of a part -> rows of it that stay in a split."""
MANY = 1 << 62
"""More rows than there are."""
ROUNDING = 1e-9
"""What a product of floats may be below the whole number that it stands for."""


def kept_rows(parts: tuple[Part, ...], rows: dict[str, int]) -> Kept:
    """Return how many rows of each part stay, of those that a split has of each source.

    No part is repeated: the one that is smallest for its weight decides how many rows the weighted parts have together.
    A part without rows in the split has no say in it. Parts without a weight keep all that their caps leave them.
    """
    kept = {part.source: min(rows.get(part.source, 0), part.cap or MANY) for part in parts}
    weights = {part.source: part.weight for part in parts if part.weight is not None and kept[part.source]}
    scale = min((kept[source] / weight for source, weight in weights.items()), default=0.0)
    return kept | {source: math.floor(scale * weight + ROUNDING) for source, weight in weights.items()}


def over_shares(build: Build, config: Config, samples: pa.Table) -> Iterator[tuple[int, str, str]]:
    """Yield the samples of a mix that are over the share or the cap of their part, drawn with the seed."""
    files = build.files_of(config.name)
    places = np.array([draw(config.mix_seed, config.name, name) for name in identities(samples, files)])
    of_file = samples.column("file").to_numpy()
    left_out: list[tuple[int, str, str]] = []
    for split in dict.fromkeys(file.split for file in files):
        mine = {part.source: _positions(files, of_file, split, part.source) for part in config.parts}
        kept = kept_rows(config.parts, {source: len(positions) for source, positions in mine.items()})
        for part in config.parts:
            positions = mine[part.source]
            over = positions[np.argsort(places[positions], kind="stable")[kept[part.source] :]]
            capped = part.cap is not None and kept[part.source] == part.cap
            why = "the cap" if capped else f"the weight {part.weight:g}" if part.weight is not None else ""
            message = f"{part.source} keeps {kept[part.source]:,} of {len(positions):,} rows in {split} by {why}"
            left_out += [(int(position), "curate.mix", message) for position in over]
    yield from sorted(left_out)


def _positions(files: list[AnnotationFile], of_file: np.ndarray, split: str | None, source: str) -> np.ndarray:
    numbers = [number for number, file in enumerate(files) if (file.split, file.source) == (split, source)]
    return np.flatnonzero(np.isin(of_file, numbers))
