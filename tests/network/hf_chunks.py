"""The storage of chunks (Xet) as a folder: which contents its client put there, and their bytes."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

END = b"\xff" * 32
ENTRY = 48
"""Bytes of a record of a shard."""
HAS_VERIFICATION, HAS_METADATA = 1 << 31, 1 << 30


class Chunked(NamedTuple):
    """A content in the storage."""

    name: str
    """What the storage calls it."""
    size: int


class ChunkStore:
    """A folder that the client takes for the storage itself, given as `local://<folder>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"local://{folder}"

    def contents(self) -> dict[str, Chunked]:
        """Return what was stored by its SHA-256, which the client writes beside the list of a file's chunks."""
        found = {}
        for path in self.folder.glob("**/xorbs/shards/*.mdb"):
            data, at = path.read_bytes(), ENTRY
            while data[at : at + 32] != END:
                name, (flags, count) = data[at : at + 32], struct.unpack_from("<II", data, at + 32)
                pieces = range(at + ENTRY, at + ENTRY * (count + 1), ENTRY)
                size = sum(struct.unpack_from("<I", data, piece + 36)[0] for piece in pieces)
                at += ENTRY * (1 + count) + (ENTRY * count if flags & HAS_VERIFICATION else 0)
                if flags & HAS_METADATA:
                    found[_shown(data[at : at + 32])] = Chunked(_shown(name), size)
                    at += ENTRY
        return found

    def rebuilt(self, wanted: dict[str, Chunked]) -> dict[str, bytes]:
        """Put contents together again; whoever sends them may still hold the storage, so a copy of it is read."""
        import hf_xet

        with tempfile.TemporaryDirectory() as scratch:
            copy, out = Path(scratch) / "copy", Path(scratch) / "out"
            shutil.copytree(self.folder, copy, copy_function=_copied)
            out.mkdir()
            with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{copy}") as group:
                for sha256, chunked in wanted.items():
                    group.start_download_file(hf_xet.XetFileInfo(chunked.name, chunked.size), str(out / sha256))
            return {sha256: (out / sha256).read_bytes() for sha256 in wanted}


def _copied(source: str, to: str) -> None:
    """Copy the index, which one process locks; nothing else of the storage is ever written again."""
    if source.endswith(".redb"):
        shutil.copyfile(source, to)
    else:
        os.link(source, to)


def _shown(name: bytes) -> str:
    """Write a hash as the storage does: eight bytes at a time, from the last to the first."""
    return b"".join(name[at : at + 8][::-1] for at in range(0, 32, 8)).hex()
