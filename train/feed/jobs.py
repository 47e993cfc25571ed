"""The jobs that `BoundedProcesses` is given for training; nothing heavy is loaded before it is told how."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _indexing() -> Any:
    _be_small()
    from train.feed import index_media

    return index_media


@cache
def _caching() -> Any:
    _be_small()
    from train.feed import cached_video

    return cached_video


def _be_small() -> None:
    import os

    # a thread for each processor, and a gigabyte asked for in advance, would count as the process's memory
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    from pipeline.without_pandas import leave_pandas_out

    leave_pandas_out()


def index_media(*arguments: Any) -> Any:
    """Look at media of a row group."""
    return _indexing().index_media(*arguments)


def look_at_file(*arguments: Any) -> Any:
    """Look at a file of its own."""
    return _indexing().look_at_file(*arguments)


def cached_video(*arguments: Any) -> Any:
    """Decode the chosen frames of a video, and encode them for the cache."""
    return _caching().cached_video(*arguments)
