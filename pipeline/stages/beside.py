"""Media beside the shards: as files, or in tar archives, for recipes that do not embed them.

    media/<config>/ab/<sha256>.mp4                     `shards: {media: files}`
    media/<config>-00000.tar                           `shards: {media: archive}`, members <sha256>.mp4

A shard's column then holds the path as text: `media/<config>/ab/<sha256>.mp4`, or
`media/<config>-00000.tar/<sha256>.mp4` (archive, then member).
"""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.cutting import cut
from pipeline.manifest import fingerprint
from pipeline.media.location import location_of
from pipeline.media.probe import hash_file
from pipeline.media.store import MediaStore
from pipeline.samples import media_facts
from pipeline.workspace import writing

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.report import StageReport

ENDINGS = {"jpeg": "jpg", "matroska": "mkv", "mpeg": "mpg", "mpegts": "ts", "tiff": "tif"}
"""File endings of formats whose name is not the usual one."""


@dataclass(frozen=True, kw_only=True)
class BesideTask:
    """One file beside the shards: a medium, or an archive of media."""

    name: str
    path: Path
    cache: Path
    members: tuple[tuple[str, str, str, int], ...] = field(repr=False)
    """(member name, hash, where its bytes are, size); a lone file has one."""
    archive: bool = False

    @property
    def key(self) -> str:
        """What it is made of."""
        return fingerprint(self.name, [[name, sha256] for name, sha256, _, _ in self.members])

    @property
    def size(self) -> int:
        """Bytes of media."""
        return sum(size for _, _, _, size in self.members)


def beside_tasks(build: Build, config: str, samples: pa.Table) -> tuple[dict[str, str], list[BesideTask]]:
    """Return hash -> published path for a config's media, and the files to write."""
    media: dict[str, tuple[str, str, int]] = {}
    for _, rows in media_facts(build, samples, config):
        for row in rows:
            for medium in row:
                ending = _ending(medium)
                media.setdefault(medium["sha256"], (f"{medium['sha256']}.{ending}", medium["path"], medium["size"]))
    out, cache = build.workspace.out.absolute(), build.workspace.cache
    if build.recipe.spec.shards.media == "files":
        paths = {sha256: media_path(config, sha256, name) for sha256, (name, _, _) in media.items()}
        tasks = [
            BesideTask(name=paths[sha256], path=out / paths[sha256], cache=cache, members=((name, sha256, path, size),))
            for sha256, (name, path, size) in media.items()
        ]
        return paths, tasks
    paths, tasks = {}, []
    hashes = list(media)
    weights = np.array([media[sha256][2] for sha256 in hashes], np.int64)
    for number, (start, end) in enumerate(cut(weights, build.recipe.spec.shards.max_bytes)):
        archive = f"media/{config}-{number:05d}.tar"
        members = tuple((media[h][0], h, media[h][1], media[h][2]) for h in hashes[start:end])
        paths.update({sha256: f"{archive}/{name}" for name, sha256, _, _ in members})
        tasks.append(BesideTask(name=archive, path=out / archive, cache=cache, members=members, archive=True))
    return paths, tasks


def _ending(medium: dict[str, Any]) -> str:
    """Return the file ending that fits a medium; that of its own name when nobody looked what it is."""
    known: str = medium["format"]
    if known != "unknown":
        return ENDINGS.get(known, known)
    ending: str = medium["name"].rpartition(".")[2].lower()
    return ending if re.fullmatch(r"[a-z0-9]{1,8}", ending) else "bin"


def media_path(config: str, sha256: str, name: str) -> str:
    """Return where a medium lies inside the dataset."""
    return f"media/{config}/{sha256[:2]}/{name}"


def write_beside(build: Build, tasks: list[BesideTask], report: StageReport) -> dict[str, Any]:
    """Write what is not there yet; returns name -> hash and size of every file beside the shards."""
    before = build.manifest.stages.get("shard", {}).get("beside", {})
    result: dict[str, Any] = {}
    todo = []
    for task in tasks:
        old = before.get(task.name)
        result[task.name] = old
        if (
            old is None
            or old["key"] != task.key
            or not build.store.is_unchanged(task.path, old["sha256"], old["bytes"])
        ):
            todo.append(task)
    report.skipped = report.skipped and not todo
    for written in build.executor.map(write_one, todo, work_bytes=sum(task.size for task in todo)):
        result[written["name"]] = {name: value for name, value in written.items() if name != "name"}
    build.store.adopt([(task.path, task.path.stat(), result[task.name]["sha256"]) for task in todo])
    return result


def write_one(task: BesideTask) -> dict[str, Any]:
    """Write one medium or archive, each medium checked against its hash (a worker's task)."""
    with MediaStore(task.cache) as store, writing(task.path) as temporary:
        if task.archive:
            with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
                for name, sha256, path, size in task.members:
                    member = tarfile.TarInfo(name)
                    member.size = size
                    archive.addfile(member, io.BytesIO(_read(store, sha256, path, size)))
        else:
            ((_, sha256, path, size),) = task.members
            temporary.write_bytes(_read(store, sha256, path, size))
        digest, length = hash_file(temporary)
    return {"name": task.name, "key": task.key, "sha256": digest, "bytes": length}


def _read(store: MediaStore, sha256: str, path: str, size: int) -> bytearray:
    data = bytearray(size)
    store.read_into(sha256, location_of(path), memoryview(data))
    return data
