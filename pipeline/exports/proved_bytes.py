"""The bytes of a medium, for formats that hold them inside of their own files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from pipeline.rows.canonical import Medium


def proved_bytes(medium: Medium) -> bytes:
    """Return the bytes of a medium.

    Raises:
        RowRejected: they are not those that were found before.
    """
    data = medium.read()
    # bytes that do not lie in a file of their own were hashed where they are
    if medium.location is not None and hashlib.sha256(data).hexdigest() != medium.sha256:
        raise RowRejected("media.changed", f"{medium.column}: its file changed while it was exported")
    return data
