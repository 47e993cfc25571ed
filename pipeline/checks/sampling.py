"""Which row groups are looked at: all of them, or a sample that is spread evenly over each split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.checks.dataset import Dataset
    from pipeline.checks.options import Options


def chosen_groups(dataset: Dataset, options: Options) -> tuple[dict[str, list[int]], str]:
    """Return the row groups to be looked at, by shard, and what to say of them.

    `full` looks at all. `sampled` does so too while the shards have no more than `sample_bytes`; beyond, each split
    gets its part of these bytes, and gives whole row groups, at equal distances from its start to its end.
    """
    everything: dict[str, list[int]] = {}
    sizes: dict[str, list[int]] = {}
    for split in dataset.splits:
        for name in split.shards:
            footer = dataset.footer(name)
            if footer is not None and name not in everything:
                sizes[name] = [group.bytes for group in footer.groups]
                everything[name] = [number for number, group in enumerate(footer.groups) if group.rows]
    total = sum(map(sum, sizes.values()))
    if options.look == "full" or total <= options.sample_bytes:
        return everything, "every row was looked at"
    chosen: dict[str, list[int]] = {}
    for split in dataset.splits:
        groups = [(name, number) for name in split.shards for number in everything.get(name, ())]
        weight = sum(sizes[name][number] for name, number in groups)
        wanted = max(1, int(len(groups) * options.sample_bytes / max(total, 1))) if weight else len(groups)
        for place in np.unique(np.linspace(0, len(groups) - 1, min(wanted, len(groups))).astype(int)):
            name, number = groups[place]
            if number not in chosen.setdefault(name, []):
                chosen[name].append(number)
    seen = sum(_rows(dataset, name, numbers) for name, numbers in chosen.items())
    rows = sum(_rows(dataset, name, numbers) for name, numbers in everything.items())
    note = f"{seen:,} of {rows:,} rows were looked at, evenly spread over the splits; --full looks at all"
    return chosen, note


def _rows(dataset: Dataset, name: str, numbers: list[int]) -> int:
    footer = dataset.footer(name)
    return sum(footer.groups[number].rows for number in numbers) if footer is not None else 0
