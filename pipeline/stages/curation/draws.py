"""Rows drawn with a seed: so many of a config or of a group, a share, or a multiple of a number."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import RejectsError
from pipeline.samples import draw, identities, iter_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures

_DRAWN_FROM = 1 << 63
"""One more than the last place in a draw."""
_SHOWN = 80


def limit(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, measures: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples that are drawn last, over the limit: of all, or of each group of `per`."""
    assert spec.limit is not None
    if spec.per is not None:
        yield from _over_group_limit(build, config, samples, spec, measures)
    elif samples.num_rows > spec.limit:
        over = np.argsort(_places(build, config, samples, spec), kind="stable")[spec.limit :]
        for position in np.sort(over).tolist():
            yield position, "curate.limit", f"over the limit of {spec.limit:,} rows"


def _over_group_limit(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, measures: Measures
) -> Iterator[tuple[int, str, str]]:
    assert spec.limit is not None
    numbers: dict[str, int] = {}
    groups = np.fromiter(
        (numbers.setdefault(name, len(numbers)) for name in _group_names(build, config, samples, spec.per or "")),
        np.int64,
        samples.num_rows,
    )
    names = list(numbers)
    for count in np.bincount(groups).tolist():
        measures.add("rows_per_group", count)
    order = np.lexsort((_places(build, config, samples, spec), groups))
    starts = np.searchsorted(groups[order], groups[order])
    over = order[np.arange(len(order)) - starts >= spec.limit]
    for position in np.sort(over).tolist():
        group = names[groups[position]]
        shown = group if len(group) <= _SHOWN else f"{group[:_SHOWN]}…"
        yield position, "curate.limit", f"over the limit of {spec.limit:,} rows where {spec.per} is {shown}"


def _group_names(build: Build, config: Config, samples: pa.Table, column: str) -> Iterator[str]:
    """Yield the group of each sample: the value of a column, or the media in it."""
    media = [one.name for one in config.schema.media_columns]
    if column not in media:
        for _, rows in iter_values(build, samples, config.name, [column]):
            for row in rows:
                yield json.dumps(row[column], ensure_ascii=False, sort_keys=True, default=str)
        return
    number = media.index(column)
    for hashes, columns in zip(samples.column("media").to_pylist(), samples.column("columns").to_pylist(), strict=True):
        yield " ".join(sha256 for sha256, place in zip(hashes, columns, strict=True) if place == number) or "null"


def sample(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, _: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples whose own draw leaves them out of the share."""
    assert spec.sample is not None
    places = _places(build, config, samples, spec)
    for position in np.flatnonzero(places >= spec.sample * _DRAWN_FROM).tolist():
        yield (
            position,
            "curate.sample",
            f"drawn {places[position] / _DRAWN_FROM:.6f}, and the sample is {spec.sample:g}",
        )


def multiple_of(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, _: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples that are drawn last and are too many for a multiple: in each split that has files of its own.

    Raises:
        RejectsError: there are fewer rows than one multiple.
    """
    assert spec.multiple_of is not None
    files = build.files_of(config.name)
    numbers = samples.column("file").to_numpy()
    places = _places(build, config, samples, spec)
    for split in dict.fromkeys(file.split for file in files):
        of_split = [number for number, file in enumerate(files) if file.split == split]
        mine = np.flatnonzero(np.isin(numbers, of_split))
        kept = len(mine) // spec.multiple_of * spec.multiple_of
        where = f"{config.name}, {split}" if split is not None else config.name
        if len(mine) and not kept:
            raise RejectsError(
                f"{where}: {len(mine):,} rows are left, fewer than `multiple_of: {spec.multiple_of}`",
                hint="keep more rows, or leave the step out",
            )
        for position in np.sort(mine[np.argsort(places[mine], kind="stable")[kept:]]).tolist():
            message = f"{len(mine):,} rows are not a multiple of {spec.multiple_of:,}; {kept:,} are kept"
            yield position, "curate.multiple_of", message


def at_least(
    _build: Build, config: Config, samples: pa.Table, spec: CurateSpec, _: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield nothing.

    Raises:
        RejectsError: fewer rows are left than are wanted.
    """
    assert spec.at_least is not None
    if samples.num_rows < spec.at_least:
        raise RejectsError(
            f"{config.name}: {samples.num_rows:,} rows are left, and `at_least` wants {spec.at_least:,}",
            hint="look at `shardwright curate` for what each step leaves out, and loosen it, or take more rows in",
        )
    yield from ()


def _places(build: Build, config: Config, samples: pa.Table, spec: CurateSpec) -> np.ndarray:
    """Return the place of each sample in the step's draw."""
    names = identities(samples, build.files_of(config.name))
    return np.fromiter((draw(spec.seed, config.name, name) for name in names), np.int64, samples.num_rows)
