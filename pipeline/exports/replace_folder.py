"""One folder in place of another, at once: whoever looks sees the old one or the new one, never half of either."""

from __future__ import annotations

import ctypes
import os
import shutil
from typing import TYPE_CHECKING

from pipeline.workspace import TEMPORARY, disk_errors

if TYPE_CHECKING:
    from pathlib import Path

_OLD = f"{TEMPORARY}old-"
_AT_FDCWD, _EXCHANGE = -100, 2
"""Of Linux's `renameat2`."""


def replace_folder(new: Path, place: Path) -> None:
    """Put a folder in the place of another, which is removed; both lie in the same folder.

    Raises:
        WorkspaceError: the disk is read-only or forbidden.
    """
    with disk_errors(place):
        if not place.exists():
            new.rename(place)
            return
        if _exchanged(new, place):
            shutil.rmtree(new)
            return
        old = place.with_name(f"{_OLD}{place.name}")
        place.rename(old)
        new.rename(place)
        shutil.rmtree(old)


def tidy_up(parent: Path) -> None:
    """Remove what killed processes left in a folder that nobody else is writing to now.

    Where two folders cannot be exchanged at once, an old one may stand aside while there is no new one yet: it is put
    back.
    """
    with disk_errors(parent):
        for leftover in parent.glob(f"{TEMPORARY}*"):
            name = leftover.name.removeprefix(_OLD)
            if name != leftover.name and not (parent / name).exists():
                leftover.rename(parent / name)
            elif leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders at once; says no where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0)
