"""Split: decide which side each sample is on, so that no picture or clip (or other group) stands on two.

Splits with files of their own keep them. The others are cut out of a seeded order of groups: each group lies
where the middle of its rows falls, so sizes are as wanted to within half a group, and new rows move few old ones.
With strata, groups are ordered by their place within their stratum first, which spreads every stratum evenly.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.rejects import RejectWriter
from pipeline.report import StageReport
from pipeline.samples import draw, identities, iter_values, media_groups, read_kept, write_kept
from pipeline.workspace import read_json, write_json

if TYPE_CHECKING:
    from pipeline.build import Build
    from pipeline.recipe import Config

VERSION = 1
NAME = "split"


def run(build: Build) -> StageReport:
    """Write the samples with the number of their split, config by config.

    Raises:
        SourceError: a split would be empty.
    """
    report = StageReport(stage=NAME, skipped=True)
    configs = {}
    curated = build.manifest.stages["curate"]["fingerprint"]
    rules = {name: _rules(config) for name, config in build.recipe.configs.items()}
    with build.display.stage(NAME, len(build.recipe.configs), "configs") as progress:
        for config in build.recipe.configs.values():
            key = fingerprint(VERSION, curated, rules[config.name])
            kept = build.workspace.kept(config.name, NAME)
            meta_file = kept.with_suffix(".json")
            meta = read_json(meta_file)
            if meta is None or meta["key"] != key or not kept.is_file():
                report.skipped = False
                meta = {"key": key, **_split(build, config)}
                write_json(meta_file, meta)
            configs[config.name] = {
                name: meta[name] for name in ("rows_in", "rows_out", "rejected", "splits", "shared_groups")
            }
            report.rows_in += meta["rows_in"]
            report.rows_out += meta["rows_out"]
            for reason, count in meta["rejected"].items():
                report.rejected[reason] = report.rejected.get(reason, 0) + count
            if meta["shared_groups"]:
                report.notes.append(
                    f"{config.name}: {meta['shared_groups']:,} groups stand on two sides, as `leaks: keep` allows"
                )
            progress.advance()
    build.manifest.record(NAME, {"fingerprint": fingerprint(VERSION, curated, rules), "configs": configs})
    return report


def _rules(config: Config) -> list[Any]:
    splits = {name: split.model_dump(mode="json") for name, split in config.splits.items()}
    return [config.name, list(splits), splits, config.group, config.stratify, config.seed, config.leaks]


def _split(build: Build, config: Config) -> dict[str, Any]:
    samples = read_kept(build.workspace.kept(config.name, "curate"))
    groups = _groups(build, config, samples)
    sides = _fixed_sides(build, config, samples)
    _divide(build, config, samples, groups, sides)
    names = list(config.splits)
    leaked = np.zeros(len(sides), bool)
    shared = 0
    if groups is not None:
        leaked, shared = _leaks(sides, groups, len(names))
    if config.leaks == "keep":
        leaked[:] = False
    else:
        shared = 0
    files = build.files_of(config.name)
    with RejectWriter(build.workspace.rejects(NAME, config.name), config=config.name, stage=NAME) as rejects:
        for position in np.flatnonzero(leaked):
            row = samples.slice(int(position), 1).to_pylist()[0]
            file = files[row["file"]]
            what = "its media" if config.group == "media" else f"its {config.group}"
            rejects.add(
                split=names[sides[position]],
                source=file.source,
                file=file.name,
                line=row["line"],
                reason="split.leak",
                message=f"{what} also stand in a smaller split, which keeps them",
            )
    kept = samples.append_column("split", pa.array(sides, pa.int32())).filter(pa.array(~leaked))
    counts = {name: int((sides[~leaked] == number).sum()) for number, name in enumerate(names)}
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise SourceError(
            f"config {config.name!r}: the split {empty[0]!r} would be empty; {samples.num_rows:,} rows"
            + (f" in {len(np.unique(groups)):,} groups" if groups is not None else "")
            + f" were to be divided over {', '.join(names)}; counts: {counts}",
            hint="give it a larger share or a count, or look into the rejects for rows that were left out",
        )
    write_kept(build.workspace.kept(config.name, NAME), kept)
    return {
        "rows_in": samples.num_rows,
        "rows_out": kept.num_rows,
        "rejected": dict(sorted(rejects.counts.items())),
        "splits": counts,
        "shared_groups": shared,
    }


def _groups(build: Build, config: Config, samples: pa.Table) -> np.ndarray | None:
    """Return a group number for each sample; None when every sample stands alone."""
    if config.group == "none":
        return None
    if config.group == "media":
        return media_groups(samples)
    return _codes(build, config, samples, config.group)


def _codes(build: Build, config: Config, samples: pa.Table, column: str) -> np.ndarray:
    """Number the values of a column by their first appearance."""
    codes = np.zeros(samples.num_rows, np.int64)
    numbers: dict[str, int] = {}
    for first, rows in iter_values(build, samples, config.name, [column]):
        for position, row in enumerate(rows):
            text = json.dumps(row[column], ensure_ascii=False, sort_keys=True, default=str)
            codes[first + position] = numbers.setdefault(text, len(numbers))
    return codes


def _fixed_sides(build: Build, config: Config, samples: pa.Table) -> np.ndarray:
    """Return the split of each sample whose place is given by its file or position; -1 for the others."""
    names = list(config.splits)
    sides = np.full(samples.num_rows, -1, np.int32)
    numbers = samples.column("file").to_numpy()
    for number, file in enumerate(build.files_of(config.name)):
        if file.split is not None:
            sides[numbers == number] = names.index(file.split)
    for number, split in enumerate(config.splits.values()):
        if split.first is not None:
            sides[: split.first] = number
        if split.last is not None:
            sides[max(0, samples.num_rows - split.last) :] = number
    return sides


def _divide(build: Build, config: Config, samples: pa.Table, groups: np.ndarray | None, sides: np.ndarray) -> None:
    """Give every sample that has no side yet one: by count, share or as the rest."""
    free = np.flatnonzero(sides == -1)
    if not len(free):
        return
    if groups is not None:
        # a group that a fixed side already holds goes there whole only through the leak rule, so it is not drawn
        labels, group_of = np.unique(groups[free], return_inverse=True)
        sizes = np.bincount(group_of)
        firsts = np.full(len(labels), len(free))
        np.minimum.at(firsts, group_of, np.arange(len(free)))
    else:
        group_of = np.arange(len(free))
        sizes, firsts = np.ones(len(free), np.int64), group_of
    names = list(identities(samples, build.files_of(config.name)))
    if groups is not None and config.group == "media":
        media = samples.column("media")
        first_media = [media[int(free[first])].as_py() for first in firsts]
        keys = [
            min(hashes) if hashes else names[int(free[first])]
            for hashes, first in zip(first_media, firsts, strict=True)
        ]
    else:
        keys = [names[int(free[first])] for first in firsts]
    order_key = np.array([draw(config.seed, config.name, key) for key in keys], np.float64)
    order = np.argsort(order_key, kind="stable")
    if config.stratify is not None:
        strata = _codes(build, config, samples, config.stratify)[free[firsts]]
        order = _spread(order, strata, sizes, config)
    quotas = _quotas(config, len(free), samples.num_rows)
    ends = np.cumsum([quota for _, quota in quotas])
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    chosen = np.minimum(np.searchsorted(ends, middles, side="right"), len(quotas) - 1)
    side_of_group = np.empty(len(order), np.int32)
    side_of_group[order] = np.array([number for number, _ in quotas])[chosen]
    sides[free] = side_of_group[group_of]


def _spread(order: np.ndarray, strata: np.ndarray, sizes: np.ndarray, config: Config) -> np.ndarray:
    """Order groups by their place within their stratum, so that each stratum is spread evenly over the whole."""
    place = np.empty(len(order), np.float64)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        offset = draw(config.seed, config.name, f"stratum\0{stratum}") / 2**63
        weights = sizes[members]
        place[members] = (np.cumsum(weights) - weights * offset) / weights.sum()
    return order[np.argsort(place[order], kind="stable")]


def _quotas(config: Config, free: int, total: int) -> list[tuple[int, int]]:
    """Return (split number, rows) for the splits that divide the free rows; the rows add up to `free`."""
    wanted: list[tuple[int, float]] = []
    rest = None
    for number, split in enumerate(config.splits.values()):
        if split.count is not None:
            wanted.append((number, float(split.count)))
        elif split.share is not None:
            wanted.append((number, split.share * total))
        elif split.rest:
            rest = number
    if rest is not None:
        wanted.append((rest, max(0.0, free - sum(rows for _, rows in wanted))))
    rows = np.array([rows for _, rows in wanted])
    floors = np.floor(rows + 1e-9).astype(int)
    missing = max(0, min(free, round(rows.sum())) - int(floors.sum()))
    for position in np.argsort(-(rows - floors), kind="stable")[:missing]:
        floors[position] += 1
    return [(number, int(floor)) for (number, _), floor in zip(wanted, floors, strict=True)]


def _leaks(sides: np.ndarray, groups: np.ndarray, splits: int) -> tuple[np.ndarray, int]:
    """Return which samples stand in a split although a smaller one holds their group, and how many groups do."""
    sizes = np.bincount(sides, minlength=splits)
    rank = np.empty(splits, np.int64)
    rank[np.argsort(sizes, kind="stable")] = np.arange(splits)
    ranks = rank[sides]
    labels, group_of = np.unique(groups, return_inverse=True)
    best = np.full(len(labels), splits)
    np.minimum.at(best, group_of, ranks)
    leaked = ranks > best[group_of]
    return leaked, len(np.unique(group_of[leaked]))
