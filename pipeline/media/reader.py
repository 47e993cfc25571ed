"""Reading media into Arrow: many at once into one buffer, each checked against its hash on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from pipeline.column_type import MEDIA_STRUCT
from pipeline.media.location import location_of

if TYPE_CHECKING:
    from types import TracebackType

    from pipeline.media.store import MediaStore

THREADS = 2
"""One waits for the disk while the other hashes."""


class MediaReader:
    """Reads the media of one row group after the other; a context manager.

    The memory of a column is kept for its next row group, since asking the system for it anew costs as much as reading.
    """

    def __init__(self, store: MediaStore) -> None:
        self._store = store
        self._buffers: dict[int, np.ndarray] = {}
        self._threads = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def read(self, column: int, media: list[dict[str, Any]]) -> pa.Array:
        """Return media (`sha256`, `size`, `path`, `name`) as `datasets` stores them: structs of bytes and path.

        What was read for the same column before must not be in use any more.

        Raises:
            SourceError: a medium changed or vanished since it was cached.
        """
        offsets = np.concatenate([[0], np.cumsum([medium["size"] for medium in media], dtype=np.int64)])
        size = int(offsets[-1])
        assert size <= 2**31 - 1, "row groups are cut, and single cells refused, so that this holds"
        buffer = self._buffers.get(column)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[column] = np.empty(size, np.uint8)
        view = memoryview(buffer.data)

        def read(numbers: range) -> None:
            """Read some media; reading and hashing let the other thread work."""
            for number in numbers:
                medium = media[number]
                place = view[offsets[number] : offsets[number + 1]]
                self._store.read_into(medium["sha256"], location_of(medium["path"]), place)

        for _ in self._threads.map(read, (range(first, len(media), THREADS) for first in range(THREADS))):
            pass
        data = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(buffer[:size])]
        names = pa.array([medium["name"] for medium in media], pa.string())
        return pa.StructArray.from_arrays(
            [pa.Array.from_buffers(pa.binary(), len(media), data), names], fields=list(MEDIA_STRUCT)
        )
