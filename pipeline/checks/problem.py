"""What a check finds: a stable code, a place, what is wrong with both numbers, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.checks.codes import CODES
from pipeline.printable import escaped

if TYPE_CHECKING:
    from pipeline.checks.codes import Severity


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something wrong with a dataset. What is not known of its place is left empty."""

    code: str
    """One of `CODES`."""
    message: str
    """What is wrong, with both numbers."""
    hint: str = ""
    """What to do."""
    file: str = ""
    """POSIX path inside the dataset."""
    config: str = ""
    split: str = ""
    row: int | None = None
    """Counted from 0 in its file."""
    key: str = ""
    """A column, or a key of the card's front matter, e.g. `configs[0].config_name`."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return CODES[self.code].severity

    @property
    def place(self) -> str:
        """Where it is, in words."""
        side = f"{self.config}/{self.split}" if self.split else self.config
        where = self.file or side
        if self.file and side and not self.file.startswith(f"{side}-"):
            where = f"{self.file} ({side})"
        if self.row is not None:
            where += f" row {self.row}"
        return f"{where}: {self.key}" if where and self.key else where or self.key

    def __str__(self) -> str:
        hint = f"\n       next: {self.hint}" if self.hint else ""
        place = f"{self.place}: " if self.place else ""
        return f"{self.code} {self.severity:<7} {escaped(place + self.message)}{hint}"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        names = ("code", "severity", "file", "config", "split", "row", "key", "message", "hint")
        return {name: getattr(self, name) for name in names}
