"""Every shard belongs to exactly one split, and none is a leftover of an earlier build."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.checks.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.dataset import Dataset

_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5,})-of-(?P<count>\d{5,})(?:-[0-9a-f]+)?\.parquet\Z")


def check_membership(dataset: Dataset) -> Iterator[Problem]:
    """Every shard belongs to exactly one split of a config, and to some config."""
    owners = {name for split in dataset.splits for name in split.files}
    twice = Counter(
        (config, name) for config in dataset.configs for split in dataset.splits_of(config) for name in split.shards
    )
    for name in dataset.shards:
        if name not in owners:
            hint = "name it in the card, or move it out of the dataset"
            yield Problem(code="SW105", file=name, message="this shard belongs to no split", hint=hint)
    for (config, name), count in twice.items():
        if count > 1:
            message = f"this shard belongs to {count} splits"
            hint = "its rows would be on both sides; correct the patterns of `data_files`"
            yield Problem(code="SW105", file=name, config=config, message=message, hint=hint)


def leftovers(dataset: Dataset) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield the splits whose numbered shards are not a whole set: config, split, what is wrong, and the odd ones."""
    there = Counter((match["stem"], int(match["count"])) for name in dataset.shards if (match := _NUMBERED.match(name)))
    for split in dataset.splits:
        sets: dict[tuple[str, int], list[str]] = {}
        for name in split.shards:
            if match := _NUMBERED.match(name):
                sets.setdefault((match["stem"], int(match["count"])), []).append(name)
        whole = {key for key, names in sets.items() if len(names) == key[1]}
        for (stem, count), names in sets.items():
            rivals = [other for other in sets if other[0] == stem and other[1] != count]
            if rivals:
                others = ", ".join(f"{len(sets[rival])} named -of-{rival[1]:05d}" for rival in rivals)
                odd = names if (stem, count) not in whole and any(rival in whole for rival in rivals) else []
                yield split.config, split.name, f"{len(names)} shards are named -of-{count:05d}, beside {others}", odd
            elif there[(stem, count)] != count:  # a config may name a part of the shards on purpose
                yield split.config, split.name, f"{len(names)} shards are named -of-{count:05d}", []


def check_leftovers(dataset: Dataset) -> Iterator[Problem]:
    """Numbered shards are whole sets: none is missing, and none is left from an earlier count."""
    for config, split, message, odd in leftovers(dataset):
        hint = (
            f"put {odd[0]} aside: `shardwright validate --fix`" if odd else "find the missing ones, or build it again"
        )
        yield Problem(code="SW110", config=config, split=split, message=message, hint=hint)
