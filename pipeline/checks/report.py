"""What was checked, and what was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.checks.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.checks.codes import Look
    from pipeline.checks.problem import Problem

SHOWN = 10
"""Problems of one code that are kept one by one; the rest are counted."""


@dataclass(kw_only=True)
class Report:
    """The result of checking one dataset."""

    target: str
    look: Look
    select: tuple[str, ...] = ()
    """Beginnings of the codes that are wanted; none: all."""
    ignore: tuple[str, ...] = ()
    """Beginnings of those that are not."""
    problems: list[Problem] = field(default_factory=list)
    """The first SHOWN of each code, in the order of the checks."""
    counts: Counter[str] = field(default_factory=Counter)
    """Code -> how many there are in all."""
    notes: list[str] = field(default_factory=list)
    """What was looked at, what was not, and why."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was measured on the way, e.g. rows and the budget of tokens."""

    def wants(self, *codes: str) -> bool:
        """Tell whether any of these codes is asked for."""
        return any(self._is_wanted(code) for code in codes)

    def _is_wanted(self, code: str) -> bool:
        return (not self.select or code.startswith(self.select)) and not (self.ignore and code.startswith(self.ignore))

    def add(self, problems: Iterable[Problem], *, count: int = 1) -> None:
        """Add what a check found, as far as it is asked for; each stands for `count`."""
        for problem in problems:
            if self._is_wanted(problem.code):
                if self.counts[problem.code] < SHOWN:
                    self.problems.append(problem)
                self.counts[problem.code] += count

    def add_uncounted(self, more: dict[str, int]) -> None:
        """Add more of some codes, which are not kept one by one."""
        for code, count in more.items():
            if count and self._is_wanted(code):
                self.counts[code] += count

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(count for code, count in self.counts.items() if CODES[code].severity == "error")

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return sum(self.counts.values()) - self.errors

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings are not counted."""
        return not self.errors

    def __str__(self) -> str:
        lines = []
        for code in dict.fromkeys(problem.code for problem in self.problems):
            mine = [problem for problem in self.problems if problem.code == code]
            lines += [str(problem) for problem in mine]
            if more := self.counts[code] - len(mine):
                lines.append(f"{code} {mine[0].severity:<7} and {more:,} more of this code")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "target": self.target,
            "look": self.look,
            "ok": self.ok,
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": dict(sorted(self.counts.items())),
            "problems": [problem.as_json() for problem in self.problems],
            "notes": self.notes,
            "facts": self.facts,
        }
