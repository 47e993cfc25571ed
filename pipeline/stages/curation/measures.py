"""What a step of curation measures of rows and media, kept so that its distribution can be told."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

QUANTILES = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
"""What is told of a distribution."""
_DIGITS = 6


class Measures:
    """The values that one step measured, by name: eight bytes each."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Note what one row or medium has."""
        self._values.setdefault(name, array("d")).append(value)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return of each measure how many values there are, and their quantiles, each a value that there is."""
        told = {}
        for name, values in self._values.items():
            found = np.quantile(np.frombuffer(values), list(QUANTILES.values()), method="lower").tolist()
            told[name] = {"values": len(values)} | {
                quantile: float(f"{value:.{_DIGITS}g}") for quantile, value in zip(QUANTILES, found, strict=True)
            }
        return told
