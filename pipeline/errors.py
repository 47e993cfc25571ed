"""Every error a user can meet, in one tree.

    ShardwrightError            exit code, what was wrong, what is allowed, what to do next
    ├── UsageError         (2)  a wrong option or argument
    ├── RecipeError        (2)  mistakes in a recipe, schema or card: all of them, each with its line
    ├── SourceError        (3)  a source file, folder or archive that cannot be used
    ├── DatasetError       (3)  a finished dataset whose rows cannot be had, or not as they were asked for
    ├── RejectsError       (3)  more rows were rejected than the recipe allows
    ├── MediaMissingError  (3)  media that a recipe calls indispensable (`missing: fail`)
    ├── WorkspaceError     (3)  work, output or cache folder: locked, full, read-only
    └── ProblemsFound      (1)  a check ran to its end and found something wrong

    RowRejected                 one row that is left out, with a code and a message; never ends a build

`assert` is for our own bugs. User input raises one of these.
"""

from __future__ import annotations

from dataclasses import dataclass


class ShardwrightError(Exception):
    """An error the user can act on: what was wrong and where, what is allowed, what to do next."""

    exit_code = 3

    def __init__(self, what: str, *, allowed: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.allowed = allowed
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if self.hint:
            lines.append(f"  next: {self.hint}")
        return "\n".join(lines)


class UsageError(ShardwrightError):
    """A wrong option or argument on the command line."""

    exit_code = 2


class SourceError(ShardwrightError):
    """A source file, folder or archive that cannot be used."""


class DatasetError(ShardwrightError):
    """A finished dataset whose rows cannot be had, or not as they were asked for: of which config, split or column."""


class RejectsError(ShardwrightError):
    """More rows were rejected than `rejects.max_share` allows."""


class MediaMissingError(ShardwrightError):
    """Media that the recipe calls indispensable could not be had."""


class WorkspaceError(ShardwrightError):
    """The work, output or cache folder cannot be used: locked, full, read-only."""


class ProblemsFound(ShardwrightError):
    """A check ran to its end and found something wrong."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One mistake in a recipe, schema or card."""

    file: str
    """The file, as the user named it."""
    line: int
    """1-based line of the key or value at fault."""
    key: str
    """Dotted path of the key, e.g. `configs.real.splits.train`."""
    message: str
    """What is wrong, with the value."""
    hint: str = ""
    """What is allowed, or the nearest valid key."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{key}{self.message}{hint}"


class RecipeError(ShardwrightError):
    """Mistakes in a recipe, schema or card, all of them at once."""

    exit_code = 2

    def __init__(self, mistakes: list[Mistake]) -> None:
        ordered = sorted(set(mistakes), key=lambda m: (m.file, m.line, m.key, m.message))
        count = len(ordered)
        heading = f"{count} mistake{'s' if count != 1 else ''}:"
        super().__init__("\n".join([heading, *(f"  {mistake}" for mistake in ordered)]))
        self.mistakes = ordered


class RowRejected(Exception):
    """One row that is left out of the dataset; carries a stable code and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[RowRejected], tuple[str, str]]:
        """Keep both arguments when the exception crosses a process border."""
        return (type(self), (self.code, self.message))
