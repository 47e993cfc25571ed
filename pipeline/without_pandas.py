"""Keeping pandas out of processes that have no use for it."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


def leave_pandas_out() -> None:
    """Let Arrow do without pandas in this process: for a process of our own, never for one that imports us.

    The first time `pyarrow.array` is given a list it imports pandas, to see whether the list may be a Series of it:
    a quarter of a second, and 50 MB. It tries that once.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(MetaPathFinder):
    """Finds no pandas, wherever it is."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        """Say that there is no such module."""
        if name == "pandas":
            raise ModuleNotFoundError("left out", name=name)
