"""Pointers of Git LFS, which lie in place of the files in a clone that was made without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.checks.files import DatasetFiles

BEGINNING = b"version https://git-lfs.github.com/spec/v1\n"
MOST_BYTES = 1024
"""Pointers are smaller than this, by their specification."""
LFS_POINTER = "this is a pointer of Git LFS, and the file itself is not there"
LFS_PULL = "run `git lfs pull` in the repository; in CI, check it out with LFS"


def is_lfs_pointer(files: DatasetFiles, name: str, size: int) -> bool:
    """Tell whether a file is a pointer to where its content would be."""
    if not len(BEGINNING) < size < MOST_BYTES:
        return False
    try:
        with files.open(name) as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False
