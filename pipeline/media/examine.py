"""Hashing and probing media, in a bounded process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.media.location import FilePart, location_of
from pipeline.media.probe import hash_bytes, hash_file, probe

if TYPE_CHECKING:
    from pipeline.media.location import Location

IN_MEMORY_BYTES = 64 << 20
"""Images up to this size are read once, for their hash and for the probe."""
_DECODERS_FAULT = "the decoder fails"


def examine(path: str, kind: Any, depth: Any, sha256: str | None) -> tuple[Any, ...]:
    """Return the hash of a medium, and its facts or the code and message of why it is rejected."""
    try:
        location = location_of(path)
        source = _in_memory(path, location) if kind == "image" and depth != "none" else location
        if sha256 is None:
            sha256 = hash_bytes(source) if isinstance(source, bytes) else hash_file(source)[0]
    except OSError as error:
        return None, None, "media.missing", f"cannot be read: {error.strerror}"
    found = guarded(lambda: probe(source, kind, depth).to_json())
    return (sha256, None, found.code, found.message) if isinstance(found, RowRejected) else (sha256, found, None, None)


def _in_memory(path: str, location: Location) -> Location | bytes:
    if isinstance(location, FilePart):
        return location.read_bytes() if location.size <= IN_MEMORY_BYTES else location
    if os.stat(path).st_size > IN_MEMORY_BYTES:  # noqa: PTH116  (faster)
        return location
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (faster)
        return file.readall()


def guarded(work: Any) -> Any:
    """Return what some work with a decoder returns, or why it fails."""
    try:
        return work()
    except RowRejected as error:
        return error
    except MemoryError:
        return RowRejected("media.memory", "decoding it takes more memory than is allowed")
    except Exception as error:  # noqa: BLE001  (a decoder may raise anything at what strangers have made)
        return RowRejected("media.decode", f"{_DECODERS_FAULT}: {type(error).__name__}: {error}")
