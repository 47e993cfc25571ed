"""Leaks: what stands on two sides of a config, or twice on one, and questions that are answered in different ways."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.checks.columns import columns_of
from pipeline.checks.near_pictures import near_pairs
from pipeline.checks.problem import Problem
from pipeline.checks.report import Report
from pipeline.checks.sides import media_of_config, rows_of_config
from pipeline.media.picture_hash import HASH_BITS
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.options import Options
    from pipeline.checks.sides import Media, Places, Rows

MOST_SIDES = 8
"""Sides of which all pairs are told where the same thing stands; there may be hundreds of splits."""
MANY, USUAL = 10, 0.05
"""Questions with several answers from which number, and from which share of all, on they are what the dataset is made
of, such as several captions of a picture. Class labels are never meant so."""


def check_leaks(
    dataset: Dataset, options: Options, rows: dict[str, pa.Table], media: dict[str, pa.Table]
) -> Iterator[Problem]:
    """Compare the facts of all rows (`ROW_FACTS` by shard) and media (`MEDIA_FACTS` by shard) of each config."""
    wants = Report(target="", look=options.look, select=options.select, ignore=options.ignore).wants
    for config in dataset.configs:
        if len(dataset.splits_of(config)) > 1 and wants("SW601", "SW602"):
            found = media_of_config(dataset, config, media)
            yield from _same_media(found)
            if wants("SW602"):
                yield from _near_pictures(found)
            del found
        if wants("SW603", "SW604", "SW605"):
            known = rows_of_config(dataset, config, rows, media)
            if options.group is not None:
                yield from _same_groups(known, options.group)
            yield from _same_rows(known)
            if wants("SW605"):
                yield from _different_answers(known, is_labels=_has_only_labels(dataset, config))


def _same_media(media: Media) -> Iterator[Problem]:
    """Media whose bytes stand on two sides."""
    chosen = np.flatnonzero(media.known)
    hint = "keep it on one side only: split by media or by a group, as `split_by` of a recipe does"
    for places in _on_several_sides(chosen, (media.sha256[chosen, 0], media.sha256[chosen, 1]), media.places.side):
        for first, second in combinations(places[:MOST_SIDES], 2):
            shard, row, split = media.places.where(first)
            message = f"the same medium stands in {split!r}: {shard} row {row}"
            yield _at(media.places, second, "SW601", message, hint)


def _near_pictures(media: Media) -> Iterator[Problem]:
    """Pictures that are nearly the same on two sides; the larger sides keep theirs."""
    chosen = np.flatnonzero(media.hashed)
    if not len(chosen):
        return
    sides = media.places.side[chosen]
    asked = sides != np.argmax(np.bincount(sides))
    leaked = _leaked(media)[chosen]
    found, partners, bits = near_pairs(media.look[chosen], sides, media.shape[chosen], asked & ~leaked)
    hint = "look at both: if they are one picture, keep it on one side only"
    for number, partner, apart in zip(chosen[found], chosen[partners], bits.tolist(), strict=True):
        shard, row, split = media.places.where(partner)
        message = f"nearly the same picture stands in {split!r}: {shard} row {row} ({apart} of {HASH_BITS} bits differ)"
        yield _at(media.places, number, "SW602", message, hint)


def _leaked(media: Media) -> np.ndarray:
    """Return which media stand on two sides, byte for byte."""
    order = np.lexsort((media.sha256[:, 1], media.sha256[:, 0]))
    words, sides = media.sha256[order], media.places.side[order]
    starts = np.flatnonzero(np.concatenate([[True], (words[1:] != words[:-1]).any(axis=1)]))
    several = np.minimum.reduceat(sides, starts) != np.maximum.reduceat(sides, starts)
    leaked = np.empty(len(order), np.bool_)
    leaked[order] = np.repeat(several, np.diff(np.append(starts, len(order))))
    leaked &= media.known
    return leaked


def _same_groups(rows: Rows, name: str) -> Iterator[Problem]:
    """Values of the column of groups that stand on two sides."""
    chosen = np.flatnonzero(rows.grouped)
    for places in _on_several_sides(chosen, (rows.group[chosen],), rows.places.side):
        for first, second in combinations(places[:MOST_SIDES], 2):
            shard, row, split = rows.places.where(first)
            message = f"its {escaped(name)!r} is that of a row in {split!r}: {shard} row {row}"
            hint = f"keep all rows of one {escaped(name)!r} on one side, as `split_by: {{group: …}}` of a recipe does"
            yield _at(rows.places, second, "SW603", message, hint, key=escaped(name))


def _same_rows(rows: Rows) -> Iterator[Problem]:
    """Rows of one side with the same values and the same media."""
    chosen = np.flatnonzero(rows.known)
    side = rows.places.side[chosen]
    order = np.lexsort((rows.media[chosen], rows.values[chosen], side))
    same, starts = _runs(rows.media[chosen][order], rows.values[chosen][order], side[order])
    chosen = chosen[order]
    again = np.sort(np.flatnonzero(~same))
    first = chosen[starts[np.searchsorted(starts, again, "right") - 1]] if len(again) else again
    for number, before in sorted(zip(chosen[again].tolist(), first.tolist(), strict=True)):
        shard, row, _ = rows.places.where(before)
        message = f"the row is the same as {shard} row {row}, in every value and medium"
        yield _at(rows.places, number, "SW604", message, "leave it out, unless it is meant to weigh twice")


def _different_answers(rows: Rows, *, is_labels: bool) -> Iterator[Problem]:
    """Rows that answer the same question about the same media in different ways."""
    chosen = np.flatnonzero(rows.known & rows.asks & (rows.count > 0))
    order = np.lexsort((rows.answer[chosen], rows.question[chosen], rows.media[chosen]))
    chosen = chosen[order]
    _, asked = _runs(rows.media[chosen], rows.question[chosen])
    answered, _ = _runs(rows.media[chosen], rows.question[chosen], rows.answer[chosen])
    answers = np.add.reduceat(answered.astype(np.int64), asked) if len(asked) else asked
    several = np.flatnonzero(answers > 1)
    if not is_labels and len(several) >= MANY and len(several) > USUAL * len(asked):
        return
    ends = np.append(asked, len(chosen))
    told = []
    for run in several.tolist():
        mine = np.arange(ends[run], ends[run + 1])
        # the first row of each answer
        numbers = sorted(chosen[mine[answered[mine]]].tolist())
        told += [(number, numbers[0]) for number in numbers[1:]]
    what = "the labels differ from those" if is_labels else "the answer differs from that"
    for number, before in sorted(told):
        shard, row, split = rows.places.where(before)
        message = f"{what} of {shard} row {row} ({split!r}), which asks the same about the same media"
        yield _at(rows.places, number, "SW605", message, "look at both, and keep the one that is right")


def _on_several_sides(chosen: np.ndarray, keys: tuple[np.ndarray, ...], side: np.ndarray) -> Iterator[list[int]]:
    """Yield the first places on each side of what stands on several, by its keys, in the order of the second places."""
    sides = side[chosen]
    order = np.lexsort((sides, *keys))
    ordered = [key[order] for key in keys]
    _, starts = _runs(*ordered)
    first_on_side, _ = _runs(*ordered, sides[order])
    places = chosen[order[first_on_side]]
    counts = np.add.reduceat(first_on_side.astype(np.int64), starts) if len(starts) else starts
    begins = np.cumsum(counts) - counts
    several = np.flatnonzero(counts > 1)
    for run in several[np.argsort(places[begins[several] + 1], kind="stable")].tolist():
        yield places[begins[run] : begins[run] + counts[run]].tolist()


def _runs(*ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some ordered things are the first of their run of equal ones, and where the runs start."""
    first = np.full(len(ordered[0]), False)
    first[:1] = True
    for key in ordered:
        first[1:] |= key[1:] != key[:-1]
    return first, np.flatnonzero(first)


def _at(places: Places, number: int, code: str, message: str, hint: str, *, key: str = "") -> Problem:
    split = places.splits[places.side[number]]
    shard, row, _ = places.where(number)
    return Problem(
        code=code, message=message, hint=hint, file=shard, config=split.config, split=split.name, row=row, key=key
    )


def _has_only_labels(dataset: Dataset, config: str) -> bool:
    """Tell whether the answers of a config are class labels."""
    for split in dataset.splits_of(config):
        for name in split.shards:
            if (footer := dataset.footer(name)) is not None:
                columns = columns_of(footer.schema)
                return bool(columns.labels) and columns.conversation is None
    return False
