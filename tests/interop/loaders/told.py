"""What a loader says of the rows that it found: one JSON line each, on the file that it was given."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256(path: str) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Told:
    """The rows found so far."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  (the process ends with it)

    def row(self, file: str, turns: list[tuple[str, str]], *, images: list[str], videos: list[str]) -> None:
        """Note a row: who says what, with tags where media stand, and the hashes of these."""
        self.any({"file": file, "turns": turns, "images": images, "videos": videos})

    def any(self, value: dict[str, Any]) -> None:
        """Note a row in another form."""
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()
