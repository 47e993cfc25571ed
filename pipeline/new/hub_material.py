"""A dataset of a hub as material: annotation files are downloaded; of Parquet files the first rows alone are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.hub_files import HubFiles, hub_target
from pipeline.errors import SourceError, UsageError
from pipeline.new.endings import ANNOTATIONS, ending_of, is_archive_name, media_kind_of
from pipeline.new.material import Annotations, Material, check_count
from pipeline.new.places import Place
from pipeline.printable import escaped
from pipeline.sources.hub import snapshot
from pipeline.workspace import holding

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.sources.hub import HubRepo

HEAD_ROWS = 64
"""Rows of a Parquet file that are looked at."""
MAX_BYTES = 1 << 30
"""Bytes of annotation files that are downloaded to look at them."""
BUFFER = 1 << 20
_HUB = re.compile(r"(?:huggingface|modelscope):")
_NUMBER = re.compile(r"-[0-9]{5}-of-[0-9]{5}(?=\.)")


def repository_of(text: str) -> HubRepo | None:
    """Return the repository that `huggingface:OWNER/NAME@REVISION` names; None: that is no such name.

    Raises:
        UsageError: it names a hub, and no repository.
    """
    if not _HUB.match(text):
        return None
    repo = hub_target(text)
    if repo is None:
        raise UsageError(f"{escaped(text)} names no repository", allowed="huggingface:OWNER/NAME[@REVISION]")
    return repo


def hub_material(repo: HubRepo, cache: Path, scratch: Path) -> Material:
    """Return what a dataset repository holds.

    Raises:
        UsageError: its annotations are too many or too large to be looked at.
        SourceError: it cannot be read.
    """
    files = HubFiles(repo)
    sizes = files.sizes()
    texts = [name for name in sizes if ending_of(name) in ANNOTATIONS - {"parquet"}]
    series: dict[str, list[str]] = {}
    for name in (name for name in sizes if ending_of(name) == "parquet"):
        series.setdefault(_NUMBER.sub("-*", name), []).append(name)
    check_count(repo.id, [*texts, *series])
    found = _downloaded(repo, texts, sizes, cache) if texts else []
    for number, (pattern, names) in enumerate(series.items()):
        path = scratch / f"{number}.parquet"
        _write_head(files, names[0], path)
        found.append(Annotations(name=names[0], path=path, whole=False, patterns=(pattern,)))
    source = {repo.hub: repo.id} | ({"revision": repo.revision} if repo.revision else {})
    others = [name for name in sizes if is_archive_name(name)]
    return Material(
        title=files.shown,
        name=repo.id.partition("/")[2],
        home=Place(title=files.shown, source=source, listing=lambda: sizes),
        files=tuple(found),
        media=sum(media_kind_of(name) is not None for name in sizes),
        others=tuple(others),
    )


def _downloaded(repo: HubRepo, names: list[str], sizes: dict[str, int], cache: Path) -> list[Annotations]:
    """Download annotation files to where the build keeps what it has of the repository."""
    total = sum(sizes[name] for name in names)
    if total > MAX_BYTES:
        raise UsageError(
            f"{escaped(repo.id)} has {total:,} bytes of annotations; at most {MAX_BYTES:,} are fetched for a look",
            hint="download it, and name the folder",
        )
    folder = cache.absolute() / "hub" / repo.hub / repo.id.replace("/", "--")
    with holding(folder / "lock"):
        taken = snapshot(repo, names, folder)
    return [Annotations(name=name, path=taken.folder / name) for name in names]


def _write_head(files: HubFiles, name: str, path: Path) -> None:
    """Write the first rows of a Parquet file of a hub into a file of its own; only what they need is fetched."""
    try:
        with files.open(name) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER)
            batches = parquet.iter_batches(batch_size=HEAD_ROWS, row_groups=[0], use_threads=False)
            first = next(batches, None) if parquet.metadata.num_row_groups else None
            table = pa.Table.from_batches([] if first is None else [first], schema=parquet.schema_arrow)
            pq.write_table(table, path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{files.shown}: {escaped(name)} is no readable Parquet file: {escaped(str(error))}"
        ) from error
