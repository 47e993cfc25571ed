"""Archives from strangers: taken whole, or refused with nothing left behind.

    <parent>/.<name>.unpacking/   while it is being unpacked; a killed run leaves it, the next run removes it
    <parent>/<name>/              the finished folder, renamed into place at the very end

One run at a time may unpack to a destination. Everything is checked while the bytes stream by: names, kinds of members,
sizes, checksums, and how much comes out of how little. Permissions, owners and times are not taken over. Members that
stay in the archive are checked and hashed like that as well, and not written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.errors import SourceError, WorkspaceError
from pipeline.sources.in_place import StayingMembers
from pipeline.sources.members import REPACK, RefusedError, folded
from pipeline.sources.streams import DECODERS, Stream, all_streams, blocks
from pipeline.sources.tar_members import BLOCK, is_tar_header, tar_members
from pipeline.sources.zip_members import zip_members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.sources.members import Member

FORMATS = "zip, tar, tar.gz (tgz), tar.bz2, tar.xz, tar.zst"
SUFFIXES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
}
ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")
COMPRESSED_MAGIC = {
    b"\x1f\x8b\x08": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x50\x2a\x4d\x18": "zst",  # the skippable frame that pzstd starts with
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """How much may come out of one archive."""

    max_members: int = 1_000_000
    """Files, folders and skipped members together."""
    max_bytes: int = 1 << 40
    """Bytes of all files together."""
    max_ratio: int = 200
    """Unpacked bytes for each byte of the archive; text reaches 20, a bomb thousands."""
    ratio_floor_bytes: int = 64 << 20
    """The ratio is not looked at before this many bytes came out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpackReport:
    """What came out of an archive."""

    format: str
    """zip, tar, tar.gz, tar.bz2, tar.xz or tar.zst."""
    files: int
    """Files written."""
    bytes: int
    """Bytes written."""
    junk: int
    """Members skipped: `__MACOSX/`, `.DS_Store`, `Thumbs.db`."""
    staying: StayingMembers = field(default_factory=StayingMembers, compare=False)
    """Members that are read where they lie in the archive."""


def is_archive(path: Path) -> bool:
    """Say whether a file is an archive by its content, or by its name when the content is damaged.

    A compressed file counts only if a tar is inside: `labels.json.gz` is not an archive. Formats built on zip (npz,
    xlsx) are, by their content.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return bool(_format_by_content(file) or _format_by_name(path))
    except OSError as error:
        raise SourceError(f"cannot read {path.name!r}: {error.strerror}", hint="check its permissions") from error


def unpack(
    archive: Path,
    destination: Path,
    limits: ArchiveLimits,
    *,
    name_encoding: str | None = None,
    stays: Callable[[str], bool] | None = None,
) -> UnpackReport:
    """Unpack `archive` into the new folder `destination`, whose parent exists.

    `name_encoding` is the codec of member names that are not UTF-8. `stays` says, by the path that it would get below
    the folder, whether a file may stay in the archive, and it does where the archive holds it as it is; its folder is
    made all the same. Raises `SourceError` when the archive is refused, and `WorkspaceError` when the disk is; neither
    leaves anything behind.
    """
    if destination.exists() or destination.is_symlink():
        raise WorkspaceError(f"{destination} exists already", hint="remove it, or unpack to another folder")
    temporary = destination.with_name(f".{destination.name}.unpacking")
    try:
        file = archive.open("rb") if archive.is_file() else None
    except OSError as error:
        raise SourceError(f"cannot read {archive.name!r}: {error.strerror}", hint="check its permissions") from error
    if file is None:
        raise SourceError(f"{archive.name!r} is not a file", allowed=FORMATS, hint=f"look for it in {archive.parent}")
    with file:
        try:
            _remove(temporary)
            temporary.mkdir()
            report = _unpack(file, archive, temporary, limits, name_encoding=name_encoding, stays=stays)
            temporary.rename(destination)
        except RefusedError as error:
            _remove(temporary)
            raise _refused(archive, error) from error
        except OSError as error:
            _remove(temporary)
            raise WorkspaceError(
                f"cannot unpack {archive.name!r} to {destination}: {error.strerror}",
                hint="check that the folder exists, can be written to and has room",
            ) from error
        except BaseException:
            _remove(temporary)
            raise
    return report


def _unpack(
    file: BinaryIO,
    archive: Path,
    folder: Path,
    limits: ArchiveLimits,
    *,
    name_encoding: str | None,
    stays: Callable[[str], bool] | None,
) -> UnpackReport:
    kind, members = _members(file, archive, limits, name_encoding)
    if kind not in {"zip", "tar"}:
        stays = None
    tree = _Tree(folder)
    staying = StayingMembers()
    files = written = total = junk = 0
    for seen, member in enumerate(members, 1):
        if seen > limits.max_members:
            raise RefusedError("has more members than allowed", allowed=f"{limits.max_members:,} (max_members)")
        if _is_junk(member.parts):
            junk += 1
        elif member.folder:
            tree.add_folder(member.parts, member.name)
        else:
            if member.size > limits.max_bytes - total:
                raise RefusedError(
                    f"declares {member.size:,} bytes, more than is left of the limit",
                    member=member.name,
                    allowed=f"{limits.max_bytes:,} bytes in all files together (max_bytes)",
                    hint="raise the limit if you trust the archive",
                )
            total += member.size
            path = tree.add_file(member.parts, member.name)
            if stays is not None and member.offset is not None and stays(path):
                staying.add(path, offset=member.offset, size=member.size, sha256=_hash(member))
                continue
            _write(tree.create(path), member)
            files += 1
            written += member.size
    return UnpackReport(format=kind, files=files, bytes=written, junk=junk, staying=staying)


def _members(
    file: BinaryIO, archive: Path, limits: ArchiveLimits, name_encoding: str | None
) -> tuple[str, Iterator[Member]]:
    """Return the format of an archive, and its members from front to back."""
    kind = _format_by_content(file) or _format_by_name(archive)
    ratio = _Ratio(limits, os.fstat(file.fileno()).st_size)
    file.seek(0)
    if kind == "zip":
        return kind, zip_members(file, name_encoding=name_encoding, count=ratio.count, max_members=limits.max_members)
    if kind:
        return kind, tar_members(Stream(ratio.counted(_plain(file, kind))), name_encoding)
    raise RefusedError("is not an archive by its content", allowed=FORMATS, hint="fetch the archive again")


def members_of(archive: Path, limits: ArchiveLimits, *, name_encoding: str | None = None) -> Iterator[Member]:
    """Yield the files of an archive from front to back, without writing any; each is read before the next, or not.

    Raises:
        SourceError: the archive cannot be read, or is refused.
    """
    try:
        with archive.open("rb") as file:
            for seen, member in enumerate(_members(file, archive, limits, name_encoding)[1], 1):
                if seen > limits.max_members:
                    raise RefusedError("has more members than allowed", allowed=f"{limits.max_members:,} (max_members)")
                if not member.folder and not _is_junk(member.parts):
                    yield member
    except RefusedError as error:
        raise _refused(archive, error) from error
    except OSError as error:
        raise SourceError(f"cannot read {archive.name!r}: {error.strerror}", hint="check its permissions") from error


def _refused(archive: Path, error: RefusedError) -> SourceError:
    member = f"member {_shown(error.member)} " if error.member else ""
    return SourceError(f"archive {_shown(archive.name)}: {member}{error.why}", allowed=error.allowed, hint=error.hint)


def _hash(member: Member) -> bytes:
    digest = hashlib.sha256()
    for chunk in member.chunks:
        digest.update(chunk)
    return digest.digest()


def _write(descriptor: int, member: Member) -> None:
    with os.fdopen(descriptor, "wb") as out:
        for chunk in member.chunks:
            out.write(chunk)


def _format_by_content(file: BinaryIO) -> str:
    """Return the format that the first bytes of a file show, or an empty string."""
    file.seek(0)
    head = file.read(BLOCK)
    if head.startswith(ZIP_MAGIC):
        return "zip"
    if is_tar_header(head):
        return "tar"
    for magic, compression in COMPRESSED_MAGIC.items():
        if head.startswith(magic):
            file.seek(0)
            try:
                inner = Stream(all_streams(DECODERS[compression], blocks(file))).read(BLOCK)
            except RefusedError:
                return ""
            return f"tar.{compression}" if is_tar_header(inner) else ""
    return ""


def _format_by_name(path: Path) -> str:
    """Return the format that a file name promises, or an empty string."""
    name = path.name.lower()
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), "")


def _plain(file: BinaryIO, kind: str) -> Iterator[bytes]:
    _, _, compression = kind.partition(".")
    return all_streams(DECODERS[compression], blocks(file)) if compression else blocks(file)


def _is_junk(parts: tuple[str, ...]) -> bool:
    return "__MACOSX" in parts[:1] or (bool(parts) and parts[-1] in {".DS_Store", "Thumbs.db"})


def _shown(name: str) -> str:
    """Quote a name for a message: control characters escaped, and not longer than a line."""
    return repr(name if len(name) <= 200 else f"{name[:200]}...")


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


class _Ratio:
    """How much has come out of the archive, against its own size on disk."""

    def __init__(self, limits: ArchiveLimits, packed: int) -> None:
        self._limit = max(limits.ratio_floor_bytes, limits.max_ratio * packed)
        self._ratio = limits.max_ratio
        self._bytes = 0

    def count(self, size: int) -> None:
        """Count bytes that came out, before they are used."""
        self._bytes += size
        if self._bytes > self._limit:
            raise RefusedError(
                "unpacks to far more than its own size: a bomb is built so",
                allowed=f"{self._ratio} bytes for each byte of the archive (max_ratio)",
                hint=f"if you trust it, raise the limit, or {REPACK}",
            )

    def counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Count each chunk that passes."""
        for chunk in chunks:
            self.count(len(chunk))
            yield chunk


class _Tree:
    """The folder being filled, and what is in it by the names that a case-insensitive disk compares."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._made = {""}
        self._folders: set[str] = set()
        self._files: dict[str, str] = {}

    def add_folder(self, parts: tuple[str, ...], member: str) -> None:
        """Make a folder and those above it; one that is there is fine."""
        path = "/".join(parts)
        if path in self._made:
            return
        self.add_folder(parts[:-1], member)
        key = folded(path)
        if key in self._files:
            raise RefusedError(f"needs a folder where {_shown(self._files[key])} is a file", member=member, hint=REPACK)
        Path(self._root, path).mkdir(exist_ok=True)
        self._made.add(path)
        self._folders.add(key)

    def add_file(self, parts: tuple[str, ...], member: str) -> str:
        """Take up a file that is not there, make the folders above it, and return its path below the root."""
        if not parts:
            raise RefusedError("is a file without a name", member=member, hint=REPACK)
        self.add_folder(parts[:-1], member)
        path = "/".join(parts)
        key = folded(path)
        why = ""
        if self._files.get(key) == path:
            why = "stands in the archive twice"
        elif key in self._files:
            why = f"and member {_shown(self._files[key])} are one file on a disk that ignores case and normal form"
        elif key in self._folders:
            why = "is a file where another member needs a folder"
        if why:
            hint = "rename or remove one of the two and pack the archive again"
            raise RefusedError(why, member=member, allowed="one member for each name, whatever its case", hint=hint)
        self._files[key] = path
        return path

    def create(self, path: str) -> int:
        """Create a file that was taken up and return its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(f"{self._root}/{path}", flags, 0o666)
