"""What the stages of one build share: recipe, folders, media store, executor, and what was found so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from pipeline.executor import Executor
    from pipeline.manifest import Manifest
    from pipeline.media.examiners import Examiners
    from pipeline.media.store import MediaStore
    from pipeline.network.remote_media import RemoteMedia
    from pipeline.readers.record import Part, ReadOptions
    from pipeline.recipe import Recipe
    from pipeline.report import Display
    from pipeline.sources.in_place import ArchiveInPlace, ShardInPlace
    from pipeline.workspace import Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationFile:
    """One annotation file that a config reads, or, once `convert` has looked at it, a part of a large one."""

    config: str
    split: str | None
    """The split whose own file it is; None when splits divide the config's rows."""
    source: str
    name: str
    """POSIX path inside the source: what rejects and the manifest say."""
    path: Path
    """Where it is; for rows that stand in no file, where they are listed."""
    sha256: str
    size: int
    """Bytes of the whole file."""
    part: Part | None = None
    """The piece of it that this is; None: the whole file."""
    first_row: int = 0
    """Rows that the pieces before it have become; set by `convert`."""
    key: str = ""
    """What its records are called: a fingerprint of the file and of everything that decides how it is converted."""

    @property
    def read_sha256(self) -> str:
        """The hash of what is read: the part, or the whole file."""
        return self.part.sha256 if self.part is not None else self.sha256

    @property
    def read_bytes(self) -> int:
        """The bytes of what is read."""
        return self.part.end - self.part.start if self.part is not None else self.size


@dataclass(kw_only=True)
class Build:
    """One build of one recipe."""

    recipe: Recipe
    workspace: Workspace
    store: MediaStore
    executor: Executor
    examiners: Examiners
    remote: RemoteMedia
    display: Display
    manifest: Manifest
    roots: dict[str, Path] = field(default_factory=dict)
    """Source -> the folder its files are in; found by `download`."""
    archives: dict[str, ArchiveInPlace] = field(default_factory=dict)
    """Source -> the archive that it is, where members stayed in it; found by `download`."""
    shards: dict[str, ShardInPlace] = field(default_factory=dict)
    """Real path -> the WebDataset shard that it is; found by `download`."""
    files: list[AnnotationFile] = field(default_factory=list)
    """Every annotation file in the order of the rows; found by `download`, cut into parts and keyed by `convert`."""

    cuts: dict[tuple[Path, ReadOptions], Future[list[Part]]] = field(default_factory=dict)
    """The parts of large files that are new, which `download` lets be found while it hashes them."""
    models: dict[tuple[str, str | None], Any] = field(default_factory=dict)
    """Name and revision -> where a model lies that curation asks; found by `curate`."""

    def files_of(self, config: str) -> list[AnnotationFile]:
        """Return the annotation files of a config, in the order of its rows."""
        return [file for file in self.files if file.config == config]


def add_up(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up what several results say of rows_in, rows_out and rejected."""
    return {
        "rows_in": sum(result["rows_in"] for result in results),
        "rows_out": sum(result["rows_out"] for result in results),
        "rejected": sum_counts(result["rejected"] for result in results),
    }


def sum_counts(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Add up counts by reason, sorted by reason."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items()))
