"""What a check finds: a stable code, a place, what is wrong with both numbers, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something wrong with a dataset."""

    code: str
    """Stable: SW1xx card and shards, SW2xx loading, SW3xx shard health, SW4xx the build behind it."""
    severity: Literal["error", "warning"] = "error"
    place: str
    """File, config, split, row or key."""
    message: str
    """What is wrong, with both numbers."""
    hint: str = ""
    """What to do."""

    def __str__(self) -> str:
        hint = f"\n       next: {self.hint}" if self.hint else ""
        return f"{self.code} {self.severity:<7} {self.place}: {self.message}{hint}"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
