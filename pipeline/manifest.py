"""The manifest: what was built from what.

No clock times, no absolute paths: an identical rebuild gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.workspace import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
ORDER = ("download", "convert", "cache", "curate", "split", "shard", "card", "validate", "publish")
"""The stages in the order in which each builds on the ones before."""


def fingerprint(*inputs: Any) -> str:
    """Return the sha256 of plain values: the same inputs, the same fingerprint, on every machine."""
    text = json.dumps(inputs, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(kw_only=True)
class Manifest:
    """The manifest of one dataset, in memory."""

    path: Path
    name: str
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Stage -> its fingerprint and what it found: counts, files, shards."""

    @classmethod
    def load(cls, path: Path, name: str) -> Manifest:
        """Read a manifest; a missing, damaged or foreign one is an empty one, so that everything is built anew."""
        value = read_json(path)
        if not isinstance(value, dict) or value.get("version") != VERSION or value.get("name") != name:
            return cls(path=path, name=name)
        return cls(path=path, name=name, stages=value.get("stages", {}))

    def record(self, stage: str, entry: dict[str, Any]) -> None:
        """Note what a stage did and write the manifest.

        What later stages did before stays: each says by its fingerprint what it was made from.
        """
        assert stage in ORDER
        if self.stages.get(stage) == entry:
            return
        self.stages[stage] = entry
        write_json(self.path, {"version": VERSION, "name": self.name, "stages": self.stages})
