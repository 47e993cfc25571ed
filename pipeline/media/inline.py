"""Media that travel inside the annotation: bytes, the `datasets` struct {bytes, path}, and base64 `data:` URIs."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pipeline.errors import RowRejected

MAX_BYTES = 1 << 30
"""Bytes of one inline medium at the most."""


def inline_bytes(value: Any) -> bytes | None:
    """Return the medium's bytes, or None when the value is something else, such as a path.

    Raises:
        RowRejected: `media.inline`: a data URI that is broken or too large.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        data = value.get("bytes")
        return data if isinstance(data, bytes) else None
    if isinstance(value, str) and value[:5].lower() == "data:":
        head, comma, text = value.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise RowRejected("media.inline", f"{head[:60]!r} is no base64 data URI")
        if len(text) > MAX_BYTES * 4 // 3:
            raise RowRejected("media.inline", f"the data URI holds more than {MAX_BYTES:,} bytes")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RowRejected("media.inline", f"the data URI is not base64: {error}") from None
    return None
