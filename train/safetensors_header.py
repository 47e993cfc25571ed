"""What a safetensors file says of itself, without loading a tensor.

Format: 8 bytes, the header's length; the header, JSON: name -> dtype, shape, offsets; the tensors, without a gap
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

from train.example import TrainError

if TYPE_CHECKING:
    from pathlib import Path

MAX_HEADER_BYTES = 100_000_000
"""The library's own limit."""
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


def read_tensor_sizes(path: Path) -> dict[str, int]:
    """Return the bytes of each tensor of a file, by name.

    Raises:
        TrainError: the file is no safetensors file, or is cut off.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise TrainError(f"it has {size} bytes, and no header")
        (length,) = struct.unpack("<Q", start)
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise TrainError(f"it is cut off, or no safetensors file: {length:,} bytes of header in {size:,}")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_without_doubles)
        except (ValueError, RecursionError):
            raise TrainError("its header is no JSON") from None
    if not isinstance(header, dict):
        raise TrainError("its header is no JSON object")
    header.pop("__metadata__", None)
    places = sorted((_place(name, told), name) for name, told in header.items())
    end = 0
    for (begin, until), name in places:
        if begin != end:
            raise TrainError(f"{name!r} does not begin where the tensor before it ends")
        end = until
    if end != size - 8 - length:
        raise TrainError(f"its tensors take {end:,} bytes, and {size - 8 - length:,} are there")
    return {name: until - begin for (begin, until), name in places}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _place(name: str, told: Any) -> tuple[int, int]:
    """Return from where to where a tensor lies, behind the header."""
    try:
        bits = _BITS[told["dtype"]] * math.prod(told["shape"])
        begin, until = told["data_offsets"]
        whole = all(isinstance(value, int) and value >= 0 for value in (begin, until, *told["shape"]))
    except (KeyError, TypeError, ValueError):
        whole = False
        begin = until = bits = 0
    if not whole or (until - begin) * 8 != bits:
        raise TrainError(f"{name!r} is told wrongly: {str(told)[:100]}")
    return begin, until
