"""The budget of a training: what every row costs a model family, and which rows cost more than allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.checks.columns import columns_of
from pipeline.checks.problem import Problem
from pipeline.checks.report import SHOWN
from pipeline.checks.row_costs import Prices
from pipeline.tokens.cost import characters_per_token, family_of

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.checks.dataset import Dataset, Split
    from pipeline.checks.options import Options
    from pipeline.checks.row_costs import Numbers, RowCosts

TOO_LONG = "shorten it, give it fewer or smaller media, leave it out, or allow more tokens"
REFUSED = "a training would stop at it: change the medium, or leave the row out"
POWERS = np.left_shift(np.int64(1), np.arange(63, dtype=np.int64))
"""Where the buckets of the histogram begin, behind the one for nothing at all."""


@dataclass(kw_only=True)
class _Sums:
    """What rows cost together."""

    looked_at: int = 0
    priced: int = 0
    vision: int = 0
    text: int = 0

    def add(self, costs: RowCosts) -> None:
        self.looked_at += len(costs.row)
        self.priced += int(costs.measured.sum())
        self.vision += int(costs.vision[costs.measured].sum())
        self.text += int(costs.text[costs.measured].sum())

    def of_an_epoch(self, rows: int) -> dict[str, Any]:
        """Return what so many rows cost, if the others are like those that have a price."""
        share = rows / self.priced if self.priced else 0.0
        vision, text = round(self.vision * share), round(self.text * share)
        told = {"rows": rows, "looked_at": self.looked_at, "tokens": vision + text, "vision_tokens": vision}
        return told | {"text_tokens": text, "estimated": self.priced != rows}


@dataclass(kw_only=True)
class _Budget:
    """What is known after some shards."""

    allowed: int | None
    whole: _Sums = field(default_factory=_Sums)
    over: int = 0
    refused: int = 0
    histogram: Numbers = field(default_factory=lambda: np.zeros(len(POWERS) + 1, dtype=np.int64))
    largest: dict[str, Any] | None = None
    problems: list[Problem] = field(default_factory=list)

    def add(self, name: str, split: Split | None, costs: RowCosts) -> None:
        """Add a shard."""
        self.whole.add(costs)
        total = np.where(costs.measured, costs.total, -1)
        buckets = np.searchsorted(POWERS, total[costs.measured], side="right")
        self.histogram += np.bincount(buckets, minlength=len(self.histogram))
        if costs.measured.any():
            self._note_largest(name, costs, int(total.argmax()))
        dear = np.flatnonzero(total > self.allowed).tolist() if self.allowed is not None else []
        self.over += len(dear)
        self.refused += int(costs.refused.sum())
        found = {place: (_too_much(costs, place, self.allowed), TOO_LONG) for place in dear[:SHOWN]}
        found |= {place: (what, REFUSED) for place, what in costs.reasons.items()}
        for place, (message, hint) in sorted(found.items())[: SHOWN - len(self.problems)]:
            where = {"config": split.config, "split": split.name} if split is not None else {}
            row = int(costs.row[place])
            self.problems.append(Problem(code="SW701", file=name, row=row, message=message, hint=hint, **where))

    def _note_largest(self, name: str, costs: RowCosts, place: int) -> None:
        tokens = int(costs.total[place])
        if self.largest is not None and self.largest["tokens"] >= tokens:
            return
        parts = {"vision_tokens": costs.vision, "text_tokens": costs.text}
        parts |= {"frames": costs.frames, "pixels": costs.pixels}
        each = {key: int(values[place]) for key, values in parts.items()}
        self.largest = {"file": name, "row": int(costs.row[place]), "tokens": tokens, **each}

    def facts(self) -> dict[str, Any]:
        """Return what is told of the whole dataset."""
        whole, priced = self.whole, self.whole.priced
        facts: dict[str, Any] = {"allowed": self.allowed, "rows": whole.looked_at, "over": self.over}
        facts |= {"refused": self.refused, "unmeasured": whole.looked_at - priced - self.refused}
        facts |= {"mean": round((whole.vision + whole.text) / priced, 1) if priced else None, "largest": self.largest}
        facts["histogram"] = [
            {"from": 1 << place - 1 if place else 0, "to": (1 << place) - 1, "rows": int(self.histogram[place])}
            for place in np.flatnonzero(self.histogram).tolist()
        ]
        return facts


def budget_of(
    dataset: Dataset, options: Options, rows: dict[str, pa.Table], media: dict[str, pa.Table]
) -> tuple[list[Problem], dict[str, Any]]:
    """Price every row that was looked at, by shard; returns the first that cost too much, and what all of them cost.

    Tokens of vision are those of the family's processor; those of text are an estimate from the number of characters.
    Of the problems no more are returned than are shown one by one: `over` and `refused` say how many rows there are.

    Raises:
        UsageError: there is no family of this name.
    """
    if options.budget is None:
        return [], {}
    prices = Prices(family_of(options.budget), characters_per_token(dataset.metadata.get("language")))
    budget = _Budget(allowed=options.max_tokens)
    sums = {split.place: _Sums() for split in dataset.splits}
    for name, splits in _shards(dataset, rows).items():
        footer = dataset.footer(name)
        columns = columns_of(footer.schema).media if footer is not None else ()
        costs = prices.of_rows(rows[name], media.get(name), columns)
        budget.add(name, splits[0] if splits else None, costs)
        for split in splits:
            sums[split.place].add(costs)
    facts = {"family": prices.family.name, "characters_per_text_token": prices.characters_per_token, **budget.facts()}
    facts["splits"] = {split.place: sums[split.place].of_an_epoch(_rows(dataset, split)) for split in dataset.splits}
    return budget.problems, facts


def _shards(dataset: Dataset, rows: dict[str, pa.Table]) -> dict[str, list[Split]]:
    """Return the shards with their splits, in the order of the splits; those of no split come last."""
    found: dict[str, list[Split]] = {}
    for split in dataset.splits:
        for name in split.shards:
            found.setdefault(name, []).append(split)
    return {
        name: found.get(name, []) for name in [*found, *(name for name in rows if name not in found)] if name in rows
    }


def _rows(dataset: Dataset, split: Split) -> int:
    footers = (dataset.footer(name) for name in split.shards)
    return sum(footer.rows for footer in footers if footer is not None)


def _too_much(costs: RowCosts, place: int, allowed: int | None) -> str:
    vision, text = int(costs.vision[place]), int(costs.text[place])
    if vision and text:
        told = f"{vision + text:,} tokens ({vision:,} of vision, about {text:,} of text)"
    else:
        told = f"{vision:,} tokens of vision" if vision else f"about {text:,} tokens of text"
    return f"{told}, and {allowed:,} are allowed"
