"""The jobs that `BoundedProcesses` is given for media of shards; nothing heavy is loaded before it is told how."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def _jobs() -> Any:
    # a thread for each processor, and a gigabyte asked for in advance, would count as the process's memory
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    from pipeline.checks import look_at_media
    from pipeline.without_pandas import leave_pandas_out

    leave_pandas_out()
    return look_at_media


def look(*arguments: Any) -> Any:
    """Look at media of a row group."""
    return _jobs().look(*arguments)


def places(*arguments: Any) -> Any:
    """Count the places for media in a row."""
    return _jobs().places(*arguments)


def first_texts(*arguments: Any) -> Any:
    """Return the first texts of some columns."""
    return _jobs().first_texts(*arguments)
