"""What is looked at: annotation files of one source, and where else their media may lie."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.errors import SourceError, UsageError
from pipeline.new.endings import ANNOTATIONS, ending_of, is_archive_name, media_kind_of
from pipeline.new.listed_rows import list_classes, list_samples, place_of_samples, shards_among
from pipeline.new.lists_of_datasets import list_of_datasets
from pipeline.new.places import archive_place, folder_place
from pipeline.printable import escaped
from pipeline.sources.archive import ArchiveLimits, is_archive, members_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.new.listed_rows import ListedRows
    from pipeline.new.lists_of_datasets import DatasetList
    from pipeline.new.places import Place

MAX_FILES = 200
"""Annotation files that are looked at; more are one file a sample, as a rule."""
MAX_ARCHIVES = 20
MAX_UNPACKED = 2 << 30
"""Bytes of annotation files that are taken out of an archive to look at them."""


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """One annotation file."""

    name: str
    """POSIX path in its source."""
    path: Path
    """Where it lies now."""
    whole: bool = True
    """Whether it is all there, or only its first rows."""
    format: str | None = None
    """What it is, where that must be said."""
    patterns: tuple[str, ...] = ()
    """What the recipe calls it, if not by its name."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What was named on the command line."""

    title: str
    """As people call it."""
    name: str
    """What the dataset could be called."""
    home: Place
    """The source of the annotation files."""
    files: tuple[Annotations, ...]
    archives: tuple[Place, ...] = ()
    """Archives beside them."""
    listed: DatasetList | None = None
    """The list of datasets that says what the files are, if there is one."""
    media: int = 0
    """Images and videos in the source."""
    others: tuple[str, ...] = field(default=())
    """Names of files that are none of these."""


@contextmanager
def material_of(target: Path) -> Iterator[Material]:
    """Give what a file, a folder or an archive of this machine holds.

    Raises:
        UsageError: there is nothing of this name, or far too much in it.
        SourceError: an archive is refused.
    """
    if target.is_dir():
        path = target / "dataset_info.json"
        listed = list_of_datasets(path) if path.is_file() else None
        if listed is not None:
            yield _of_list(path, listed)
            return
        with TemporaryDirectory(prefix="shardwright-new-") as folder:
            yield _of_folder(target, Path(folder))
    elif not target.is_file():
        raise UsageError(
            f"there is no file or folder {escaped(str(target))}",
            allowed="an annotation file, a folder, an archive, or huggingface:OWNER/NAME or modelscope:OWNER/NAME",
        )
    elif is_archive(target):
        with TemporaryDirectory(prefix="shardwright-new-") as folder:
            if shards_among([target.name], target.parent):
                yield _of_samples(target, target.parent, [target.name], Path(folder))
            else:
                yield _of_archive(target, Path(folder))
    elif (listed := list_of_datasets(target)) is not None:
        yield _of_list(target, listed)
    else:
        home = folder_place(target.parent)
        path = target.absolute()
        archives = _archives(target.parent, (one.name for one in _listed(target.parent)))
        yield Material(
            title=target.name,
            name=target.stem,
            home=home,
            files=(Annotations(name=target.name, path=path),),
            archives=archives,
        )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _archives(folder: Path, names: Iterator[str]) -> tuple[Place, ...]:
    return tuple(archive_place(folder / name) for name in names if is_archive_name(name))[:MAX_ARCHIVES]


def _of_folder(target: Path, scratch: Path) -> Material:
    home = folder_place(target)
    names = sorted(home.names)
    shards = shards_among(names, target)
    if shards:
        return _of_samples(target, target, shards, scratch)
    files = [name for name in names if ending_of(name) in ANNOTATIONS]
    if not files and (classes := list_classes(home, scratch)):
        return Material(title=f"{target.name}/", name=target.resolve().name, home=home, files=_listings(classes))
    check_count(target.name, files)
    return Material(
        title=f"{target.name}/",
        name=target.resolve().name,
        home=home,
        files=tuple(Annotations(name=name, path=target / name) for name in files),
        archives=_archives(target, (name for name in names if is_archive_name(name))),
        media=sum(media_kind_of(name) is not None for name in names),
        others=tuple(
            name
            for name in names
            if ending_of(name) not in ANNOTATIONS and media_kind_of(name) is None and not is_archive_name(name)
        ),
    )


def _of_samples(target: Path, root: Path, shards: list[str], scratch: Path) -> Material:
    rows, media, whole = list_samples(root, shards, scratch)
    return Material(
        title=target.name,
        name=target.resolve().name.partition(".")[0],
        home=place_of_samples(root, media),
        files=_listings(rows, whole=whole),
    )


def _listings(rows: list[ListedRows], *, whole: bool = True) -> tuple[Annotations, ...]:
    return tuple(
        Annotations(name=one.name, path=one.path, whole=whole, format=one.format, patterns=one.patterns) for one in rows
    )


def _of_list(target: Path, listed: DatasetList) -> Material:
    names = dict.fromkeys(name for entry in listed.entries for name in entry.files)
    return Material(
        title=target.name,
        name=target.absolute().parent.name if target.name == "dataset_info.json" else target.stem,
        home=folder_place(listed.base),
        files=tuple(Annotations(name=name, path=listed.base / name) for name in names),
        listed=listed,
    )


def check_count(title: str, files: list[str]) -> None:
    """Raise UsageError for more annotation files than are looked at."""
    if len(files) > MAX_FILES:
        raise UsageError(
            f"{escaped(title)} holds {len(files):,} annotation files; at most {MAX_FILES} are looked at",
            hint="name one of them, or the folder of those that belong together",
        )


def _of_archive(target: Path, scratch: Path) -> Material:
    """Take the annotation files out of an archive, and note what else is in it."""
    names: list[str] = []
    files: list[Annotations] = []
    left = MAX_UNPACKED
    for member in members_of(target, ArchiveLimits()):
        name = "/".join(member.parts)
        names.append(name)
        if ending_of(name) not in ANNOTATIONS or len(files) > MAX_FILES:
            continue
        left -= member.size
        if left < 0:
            raise SourceError(
                f"{target.name} holds more than {MAX_UNPACKED >> 30} GiB of annotations",
                hint="unpack it, and name the folder",
            )
        path = scratch / f"{len(files)}.{ending_of(name)}"
        with path.open("wb") as out:
            for chunk in member.chunks:
                out.write(chunk)
        files.append(Annotations(name=name, path=path))
    check_count(target.name, [file.name for file in files])
    place = archive_place(target)
    place.__dict__["names"] = frozenset(names)  # where it keeps them once they are read
    return Material(
        title=target.name,
        name=target.name.partition(".")[0],
        home=place,
        files=tuple(files),
        media=sum(media_kind_of(name) is not None for name in names),
    )
