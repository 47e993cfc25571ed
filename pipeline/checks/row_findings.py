"""What the checks of rows find in one shard: problems one by one, and tallies of columns that are judged at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.checks.problem import Problem
from pipeline.checks.report import SHOWN
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is counted in a column of a split, and when it is told.

    What is usual in a dataset is no mistake in it, so only some shares of wrong values are told.
    """

    code: str
    message: str
    """`{wrong}`, `{looked}` and `{example}` are filled in; that of each single row where `each` is true."""
    hint: str
    each: bool = False
    """Whether every row is a problem of its own, instead of the whole column."""
    least: float = 0.0
    """The share of wrong values from which on they are told."""
    most: float = 1.0
    """The share up to which they are."""


@dataclass(slots=True)
class Tally:
    """How many values were looked at for a rule, and how many of them are wrong."""

    looked: int = 0
    wrong: int = 0
    first: list[tuple[str, int, str]] = field(default_factory=list)
    """File, row and example of the first wrong ones."""

    def merge(self, other: Tally) -> None:
        """Add what was counted in the next shard."""
        self.looked += other.looked
        self.wrong += other.wrong
        self.first += other.first[: SHOWN - len(self.first)]

    def problems(self, rule: Rule, config: str, split: str, key: str) -> tuple[list[Problem], int]:
        """Return the problems that are shown, and how many there are in all."""
        if not self.wrong or not rule.least * self.looked <= self.wrong <= rule.most * self.looked:
            return [], 0
        shown = []
        for file, row, example in self.first if rule.each else self.first[:1]:
            message = rule.message.format(wrong=f"{self.wrong:,}", looked=f"{self.looked:,}", example=example)
            place = {"file": file, "config": config, "split": split, "key": escaped(key)}
            shown.append(Problem(code=rule.code, row=row, message=message, hint=rule.hint, **place))
        return shown, self.wrong if rule.each else 1


@dataclass(kw_only=True)
class Findings:
    """What is found in one shard."""

    file: str
    config: str
    split: str
    problems: list[Problem] = field(default_factory=list)
    """The first SHOWN of each code."""
    counts: Counter[str] = field(default_factory=Counter)
    """Code -> how many there are in all."""
    tallies: dict[tuple[Rule, str], Tally] = field(default_factory=dict)
    """Rule and key -> the tally."""

    def add(self, *, code: str, row: int, key: str, message: str, hint: str) -> None:
        """Add a problem of one row."""
        self.counts[code] += 1
        if self.counts[code] <= SHOWN:
            place = {"file": self.file, "config": self.config, "split": self.split, "key": escaped(key)}
            self.problems.append(Problem(code=code, row=row, message=message, hint=hint, **place))

    def tally(
        self, rule: Rule, key: str, *, looked: int, rows: np.ndarray, example: Callable[[int], str] | None = None
    ) -> None:
        """Count values that were looked at, and those that are wrong: the row of each, and an example by its number."""
        tally = self.tallies.setdefault((rule, key), Tally())
        tally.looked += looked
        tally.wrong += len(rows)
        for number, row in enumerate(rows[: SHOWN - len(tally.first)]):
            tally.first.append((self.file, int(row), example(number) if example is not None else ""))

    def add_uncounted(self, code: str, count: int) -> None:
        """Add so many more of a code, beyond those that are kept one by one."""
        self.counts[code] += count

    @property
    def more(self) -> dict[str, int]:
        """Code -> how many there are beyond those that are kept."""
        return {code: count - SHOWN for code, count in self.counts.items() if count > SHOWN}
