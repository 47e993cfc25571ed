"""Facts of media on their way from the processes that decode them: packed, and then as a table of `MEDIA_FACTS`."""

from __future__ import annotations

import struct
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.checks.facts import MEDIA_FACTS
from pipeline.media.facts import MediaFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.media.look import Looked

_RECORD = struct.Struct("<qhi16s16sqiiqddB")
_FIELDS = np.dtype(
    [
        ("row", "<i8"),
        ("column", "<i2"),
        ("position", "<i4"),
        ("sha256", "V16"),
        ("look", "V16"),
        ("bytes", "<i8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("frames", "<i8"),
        ("fps", "<f8"),
        ("duration", "<f8"),
        ("known", "u1"),
    ]
)
_SHA256, _LOOK = 1, 2
_UNKNOWN = -1


def packed(place: tuple[int, int, int], looked: Looked | None = None, hashed: bytes | None = None) -> bytes:
    """Return what is known of a medium: its row, column and position, what was found out, its perceptual hash."""
    if looked is None:
        return _RECORD.pack(*place, b"", b"", *(_UNKNOWN,) * 4, nan, nan, 0)
    sha256, facts = looked.sha256, looked.facts
    numbers: tuple[Any, ...] = (*(_UNKNOWN,) * 3, nan, nan)
    if isinstance(facts, MediaFacts):
        numbers = (
            _or_unknown(facts.width),
            _or_unknown(facts.height),
            _or_unknown(facts.frames),
            nan if facts.fps is None else facts.fps,
            nan if facts.duration is None else facts.duration,
        )
    known = (_SHA256 if sha256 else 0) | (_LOOK if hashed else 0)
    return _RECORD.pack(
        *place, sha256[:16] if sha256 else b"", hashed or b"", _or_unknown(looked.size), *numbers, known
    )


def _or_unknown(number: int | None) -> int:
    return _UNKNOWN if number is None else number


def count_of(records: bytes) -> int:
    """Return how many media some records are about."""
    return len(records) // _RECORD.size


def table_of(records: Iterable[bytes]) -> pa.Table:
    """Return records as a table, in the order of rows, columns and positions."""
    found = np.frombuffer(b"".join(records), _FIELDS)
    found = found[np.lexsort((found["position"], found["column"], found["row"]))]
    columns = []
    for name, kind in zip(MEDIA_FACTS.names, MEDIA_FACTS.types, strict=True):
        values = np.ascontiguousarray(found[name])
        if name in ("sha256", "look"):
            known = (found["known"] & (_SHA256 if name == "sha256" else _LOOK)) != 0
            bits = pa.py_buffer(np.packbits(known, bitorder="little"))
            columns.append(pa.Array.from_buffers(kind, len(found), [bits, pa.py_buffer(values.tobytes())]))
        else:
            unknown = np.isnan(values) if values.dtype.kind == "f" else values < 0
            columns.append(pa.array(values, kind, mask=unknown))
    return pa.Table.from_arrays(columns, schema=MEDIA_FACTS)
