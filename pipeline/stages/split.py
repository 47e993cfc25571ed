"""Split: decide which side each sample is on, so that no picture or clip (or other group) stands on two.

Splits with files of their own keep them. The others are cut out of a seeded order of groups: each group lies
where the middle of its rows falls, so sizes are as wanted to within half a group, and new rows move few old ones.
With strata, every stratum is cut that way by itself, by quotas that add up to those of the splits and are within one
row of the stratum's own share.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.build import sum_counts
from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.rejects import writing_rejects
from pipeline.row_file import read_rows, write_rows
from pipeline.samples import draw, identities, iter_values, media_groups
from pipeline.stages.per_config import run_per_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.build import Build
    from pipeline.recipe import Config
    from pipeline.report import StageReport

VERSION = 3
NAME = "split"


def run(build: Build) -> StageReport:
    """Write the samples with the number of their split, config by config.

    Raises:
        SourceError: a split would be empty.
    """
    curated = build.manifest.stages["curate"]["fingerprint"]
    rules = {name: _rules(config) for name, config in build.recipe.configs.items()}
    keys = {name: fingerprint(VERSION, curated, rule) for name, rule in rules.items()}
    report, configs = run_per_config(build, NAME, keys, _split)
    for name, config in configs.items():
        if config["shared_groups"]:
            report.notes.append(
                f"{name}: {config['shared_groups']:,} groups stand on two sides, as `leaks: keep` allows"
            )
    build.manifest.record(NAME, {"fingerprint": fingerprint(VERSION, curated, rules), "configs": configs})
    return report


def _rules(config: Config) -> list[Any]:
    splits = {name: split.model_dump(mode="json") for name, split in config.splits.items()}
    return [config.name, list(splits), splits, config.group, config.stratify, config.seed, config.leaks]


def _split(build: Build, config: Config) -> dict[str, Any]:
    samples = read_rows(build.workspace.kept(config.name, "curate"))
    groups, keys = _groups(build, config, samples)
    sides = _fixed_sides(build, config, samples)
    _divide(build, config, samples, groups=groups, keys=keys, sides=sides)
    names = list(config.splits)
    nowhere = sides == -1
    leaked = np.zeros(len(sides), bool)
    shared = 0
    if config.group != "none":
        leaked[~nowhere], shared = _leaks(sides[~nowhere], groups[~nowhere], len(names))
    if config.leaks == "keep":
        leaked[:] = False
    else:
        shared = 0
    files = build.files_of(config.name)
    with writing_rejects(build.workspace.rejects(NAME, config.name), config=config.name, stage=NAME) as rejects:
        for position in np.flatnonzero(leaked | nowhere):
            row = samples.slice(int(position), 1).to_pylist()[0]
            file = files[row["file"]]
            what = "its media" if config.group == "media" else f"its {config.group}"
            rejects.add(
                split=None if nowhere[position] else names[sides[position]],
                source=file.source,
                file=file.name,
                line=row["line"],
                reason="split.nowhere" if nowhere[position] else "split.leak",
                message="no split takes it"
                if nowhere[position]
                else f"{what} also stand in a smaller split, which keeps them",
            )
    stays = ~(leaked | nowhere)
    kept = samples.append_column("split", pa.array(sides, pa.int32())).filter(pa.array(stays))
    counts = {name: int((sides[stays] == number).sum()) for number, name in enumerate(names)}
    if not all(counts.values()):
        raise _empty(build, config, counts, rows=samples.num_rows, groups=len(np.unique(groups)))
    write_rows(build.workspace.kept(config.name, NAME), kept)
    return {
        "rows_in": samples.num_rows,
        "rows_out": kept.num_rows,
        "rejected": dict(sorted(rejects.counts.items())),
        "splits": counts,
        "shared_groups": shared,
    }


def _empty(build: Build, config: Config, counts: dict[str, int], *, rows: int, groups: int) -> SourceError:
    """Say why a split would be empty: what was there to divide, and what was left out before."""
    split = next(name for name, count in counts.items() if not count)
    stages = build.manifest.stages
    left_out = sum_counts(stages[stage]["configs"][config.name]["rejected"] for stage in ("convert", "cache", "curate"))
    of_groups = f" in {groups:,} groups" if config.group != "none" and rows else ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items()) or "none"
    return SourceError(
        f"config {config.name!r}: the split {split!r} would be empty: {rows:,} rows{of_groups} were to be divided "
        f"({', '.join(f'{name} {count:,}' for name, count in counts.items())}); left out before: {reasons}",
        hint=f"look into {build.workspace.rejected}"
        if left_out
        else "give it a larger share or a count, or let go of the group with `split_by: {group: none}`",
    )


def _groups(build: Build, config: Config, samples: pa.Table) -> tuple[np.ndarray, list[str]]:
    """Return a group number for each sample, and a name by which to draw its group: that of the group's first sample.

    A name stays the same when other rows come or go: a medium's hash, the column's value, or file and row.
    """
    names = list(identities(samples, build.files_of(config.name)))
    if config.group == "none":
        return np.arange(len(names)), names
    if config.group == "media":
        media = samples.column("media").to_pylist()
        return media_groups(samples), [min(row) if row else name for row, name in zip(media, names, strict=True)]
    texts = _texts(build, config, samples, config.group)
    # no value is no group: such rows stand alone
    keys = [name if text is None else f"value\0{text}" for text, name in zip(texts, names, strict=True)]
    return _numbered(keys), keys


def _texts(build: Build, config: Config, samples: pa.Table, column: str) -> list[str | None]:
    """Return the values of a column as text, None for null."""
    return [
        None if row[column] is None else json.dumps(row[column], ensure_ascii=False, sort_keys=True, default=str)
        for _, rows in iter_values(build, samples, config.name, [column])
        for row in rows
    ]


def _numbered(values: Iterable[str | None]) -> np.ndarray:
    """Number values by their first appearance."""
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _fixed_sides(build: Build, config: Config, samples: pa.Table) -> np.ndarray:
    """Return the split of each sample whose place is given by its file or position; -1 for the others."""
    names = list(config.splits)
    sides = np.full(samples.num_rows, -1, np.int32)
    numbers = samples.column("file").to_numpy()
    for number, file in enumerate(build.files_of(config.name)):
        if file.split is not None:
            sides[numbers == number] = names.index(file.split)
    if any(split.where is not None for split in config.splits.values()):
        for first, rows in iter_values(build, samples, config.name, ["__split"]):
            sides[first : first + len(rows)] = [row["__split"] for row in rows]
    for number, split in enumerate(config.splits.values()):
        if split.first is not None:
            sides[: split.first] = number
        if split.last is not None:
            sides[max(0, samples.num_rows - split.last) :] = number
    return sides


def _divide(
    build: Build, config: Config, samples: pa.Table, *, groups: np.ndarray, keys: list[str], sides: np.ndarray
) -> None:
    """Give every sample that has no side yet one: by count, share or as the rest."""
    free = np.flatnonzero(sides == -1)
    drawn = [split for split in config.splits.values() if split.share or split.count or split.rest]
    if not len(free) or not drawn:
        return
    # a group that a fixed side holds too is drawn like any other; the leak rule then keeps it on the smaller side
    _, firsts, group_of = np.unique(groups[free], return_index=True, return_inverse=True)
    sizes = np.bincount(group_of)
    places = np.array([draw(config.seed, config.name, keys[position]) for position in free[firsts]])
    order = np.argsort(places, kind="stable")
    splits, rows = _quotas(config, len(free), _shared_out(config, len(free), samples.num_rows))
    strata = np.zeros(len(order), np.int64)
    quotas = rows[np.newaxis]
    if config.stratify is not None:
        strata = _numbered(_texts(build, config, samples, config.stratify))[free[firsts]]
        _, strata = np.unique(strata, return_inverse=True)
        quotas = _spread(np.bincount(strata, weights=sizes).astype(np.int64), rows)
    side_of_group = np.empty(len(order), np.int32)
    owed = np.zeros(len(rows))  # rows by which the borders so far came too early
    for stratum in range(len(quotas)):
        members = order[strata[order] == stratum]
        ends = np.cumsum(quotas[stratum]) + owed
        middles = np.cumsum(sizes[members]) - sizes[members] / 2
        chosen = np.minimum(np.searchsorted(np.maximum.accumulate(ends), middles, side="right"), len(rows) - 1)
        side_of_group[members] = splits[chosen]
        owed = ends - np.cumsum(np.bincount(chosen, weights=sizes[members], minlength=len(rows)))
    _leave_none_empty(side_of_group, sizes, order, splits[rows > 0])
    sides[free] = side_of_group[group_of]


def _leave_none_empty(side_of_group: np.ndarray, sizes: np.ndarray, order: np.ndarray, splits: np.ndarray) -> None:
    """Give a split that large groups have squeezed out the smallest group of the split that has most rows."""
    for split in splits:
        if (side_of_group == split).any():
            continue
        givers = [other for other in splits if (side_of_group == other).sum() > 1]
        if not givers:
            return
        giver = max(givers, key=lambda other: int(sizes[side_of_group == other].sum()))
        members = order[side_of_group[order] == giver]
        side_of_group[members[np.argmin(sizes[members])]] = split


def _spread(strata: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return stratum by split how many rows it gives: whole numbers within one of its share, adding up both ways.

    The rows left over by rounding down are given to the splits that lack most, stratum by stratum (Gale and Ryser).
    """
    ideal = strata[:, np.newaxis] * rows / rows.sum()
    quotas: np.ndarray = np.floor(ideal + 1e-9).astype(np.int64)
    lacking = rows - quotas.sum(axis=0)
    for stratum in np.argsort(quotas.sum(axis=1) - strata, kind="stable"):
        left = strata[stratum] - quotas[stratum].sum()
        chosen = np.argsort(-lacking, kind="stable")[:left]
        quotas[stratum, chosen] += 1
        lacking[chosen] -= 1
    assert not lacking.any()
    return quotas


def _shared_out(config: Config, free: int, total: int) -> int:
    """Return the rows that shares are shares of: all, or with `where` those that no `where` takes."""
    return free if any(split.where is not None for split in config.splits.values()) else total


def _quotas(config: Config, free: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the splits that divide the free rows, and how many each gets; they add up to `free`."""
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
    whole = np.floor(rows + 1e-9).astype(np.int64)
    missing = max(0, free - int(whole.sum()))
    whole[np.argsort(-(rows - whole), kind="stable")[:missing]] += 1
    ends = np.minimum(np.cumsum(whole), free)
    assert ends[-1] == free
    return np.array([number for number, _ in wanted], np.int32), np.diff(ends, prepend=0)


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
