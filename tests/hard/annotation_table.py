"""The table of real annotation files: what is right for each, as `annotations.yaml` has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ANNOTATIONS = Path(__file__).parents[1] / "data" / "annotations"
TABLE = Path(__file__).with_name("annotations.yaml")

_BY_ENDING = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One file, how it is read, and what is right."""

    file: str
    """Below `tests/data/annotations`."""
    why: str
    """Why that is right."""
    options: dict[str, Any] = field(default_factory=dict)
    """What a recipe says of it."""
    format: str
    """What it is found to be."""
    records: list[int]
    """The lines on which its records start."""
    bad: list[tuple[int, str]]
    """Line and code of each record that cannot be read."""
    refused: str | None = None
    """Words of the error when the file cannot be used as a whole."""
    holds: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Place of a record -> the record."""

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.file}[{options}]" if options else self.file

    @property
    def path(self) -> Path:
        """Where the file is."""
        return ANNOTATIONS / self.file


def readings() -> list[Reading]:
    """Return the table."""
    entries = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return [_reading(**entry) for entry in entries]


def _reading(
    *, file: str, records: str | list[int] = "", bad: str | list[tuple[int, str]] = "", **more: Any
) -> Reading:
    lines = _span(records) if isinstance(records, str) else records
    if isinstance(bad, str):
        span, _, code = bad.partition(" ")
        bad = [(line, code) for line in _span(span)]
    more = {"format": _BY_ENDING[Path(file).suffix], **more}
    return Reading(file=file, records=lines, bad=[(line, code) for line, code in bad], **more)


def _span(text: str) -> list[int]:
    """Read `2-13` as the lines from 2 to 13."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if text else []
