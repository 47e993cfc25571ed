"""The folder against the build behind it: rows in = rows out + rejects, shard hashes, media, and changed values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.checks.dataset import REBUILD
from pipeline.checks.problem import Problem
from pipeline.content_hash import ContentHash
from pipeline.media.probe import hash_bytes, hash_file
from pipeline.row_file import read_rows, take_rows
from pipeline.stages.card import rejected_of, shards_of
from pipeline.stages.changes import overlay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.stages.changes import Overlay


def check_rows(build: Build) -> Iterator[Problem]:
    """Rows in = rows out + rejects, config by config, counted in the files themselves."""
    stages = build.manifest.stages
    rejected: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    for batch in pq.ParquetFile(build.workspace.rejected).iter_batches(columns=["config", "reason"]):
        for config, reason in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rejected[config] += 1
            reasons.setdefault(config, Counter())[reason] += 1
    for config in build.recipe.configs:
        rows_in = stages["convert"]["configs"][config]["rows_in"]
        names = [name for name in stages["shard"]["shards"] if name.startswith(f"{config}/")]
        rows_out = sum(_rows(build.workspace.out / name) for name in names)
        if rows_in != rows_out + rejected[config]:
            message = f"{rows_in:,} rows in, {rows_out:,} rows out and {rejected[config]:,} rejects"
            yield Problem(code="SW801", config=config, message=message, hint=REBUILD)
        yield from _check_changed(build, config)
        counted = rejected_of(build, config)
        if counted != dict(reasons.get(config, {})):
            message = f"the card counts {counted}, rejected.parquet holds {dict(reasons.get(config, {}))}"
            yield Problem(code="SW801", config=config, message=message, hint=REBUILD)


def _check_changed(build: Build, config: str) -> Iterator[Problem]:
    """What curation counts as changed stands in changed.parquet."""
    counted = build.manifest.stages["curate"]["configs"][config].get("changed", {})
    noted: Counter[str] = Counter()
    for batch in pq.ParquetFile(build.workspace.changed).iter_batches(columns=["config", "step"]) if counted else ():
        chosen = batch.filter(pc.equal(batch.column("config"), config))
        noted.update(chosen.column("step").to_pylist())
    if dict(noted) != {step: sum(columns.values()) for step, columns in counted.items()}:
        message = f"curation counts {counted}, changed.parquet holds {dict(noted)}"
        yield Problem(code="SW804", config=config, message=message, hint=REBUILD)


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0  # reported as SW301


@dataclass(frozen=True, kw_only=True)
class ShardCheck:
    """Everything a worker needs to prove one shard against the plan."""

    name: str
    path: Path
    sha256: str
    bytes: int
    columns: tuple[tuple[str, bool], ...]
    """Media columns that are embedded, and whether each is a list."""
    media: tuple[tuple[str, ...], ...]
    """Row by row, the hashes that the plan says, column by column."""
    changes: Path
    """What curation changed, if that file is there."""
    changed: np.ndarray = field(repr=False)
    """Rows of the shard that were changed, and in the same order where they stand in there."""
    places: np.ndarray = field(repr=False)


def check_shards(build: Build) -> Iterator[Problem]:
    """Every shard has the hash of the manifest, and every medium in it the hash of the plan."""
    shards = build.manifest.stages["shard"]["shards"]
    checks = _shard_checks(build, shards)
    work = sum(shard["bytes"] for shard in shards.values())
    for problems in build.executor.map(prove_shard, checks, work_bytes=work):
        yield from problems
    for name, file in build.manifest.stages["shard"]["beside"].items():
        path = build.workspace.out / name
        if not path.is_file() or hash_file(path) != (file["sha256"], file["bytes"]):
            yield Problem(
                code="SW802", file=name, message="this file is missing or not the one that was built", hint=REBUILD
            )


def _shard_checks(build: Build, shards: dict[str, Any]) -> Iterator[ShardCheck]:
    for config in build.recipe.configs.values():
        samples = read_rows(build.workspace.kept(config.name, "split"))
        changes = overlay(build.workspace.changes(config.name))
        columns = tuple((column.name, column.is_list) for column in config.schema.media_columns)
        for number, split in enumerate(config.splits):
            chosen = samples.filter(pc.equal(samples.column("split"), number))
            start = 0
            for name in shards_of(build, config.name, split):
                shard = shards[name]
                mine = chosen.slice(start, shard["rows"])
                media = mine.column("media").to_pylist()
                start += shard["rows"]
                changed, places = _changed(changes, mine)
                yield ShardCheck(
                    name=name,
                    path=build.workspace.out / name,
                    sha256=shard["sha256"],
                    bytes=shard["bytes"],
                    columns=columns if build.recipe.embedded else (),
                    media=tuple(tuple(hashes) for hashes in media),
                    changes=changes.path,
                    changed=changed,
                    places=places,
                )


def _changed(changes: Overlay, samples: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some samples were changed, and where they stand among the changes."""
    numbers, rows = samples.column("file").to_numpy(), samples.column("row").to_numpy()
    found = [(np.array([], np.int64),) * 2]
    for number in np.unique(numbers) if len(changes) else ():
        mine = np.flatnonzero(numbers == number)
        known, places = changes.places(int(number), rows[mine])
        found.append((mine[known], places))
    return np.concatenate([rows for rows, _ in found]), np.concatenate([places for _, places in found])


def prove_shard(check: ShardCheck) -> list[Problem]:
    """Prove one shard (a worker's task)."""
    try:
        if hash_file(check.path) != (check.sha256, check.bytes):
            return [
                Problem(code="SW803", file=check.name, message="the file is not the one that was built", hint=REBUILD)
            ]
        problems = []
        row = 0
        with pq.ParquetFile(check.path) as file:
            for group in range(file.metadata.num_row_groups if check.columns else 0):
                # a row group at a time, and hashed where Arrow holds it: what bounds memory
                table = file.read_row_group(group, columns=[name for name, _ in check.columns])
                for found in zip(
                    *(_hashes(table.column(name), is_list) for name, is_list in check.columns), strict=True
                ):
                    if tuple(sha256 for column in found for sha256 in column) != check.media[row]:
                        message = "its media are not the ones that were cached"
                        problems.append(Problem(code="SW802", file=check.name, row=row, message=message, hint=REBUILD))
                    row += 1
            problems += _wrong_values(check, file)
    except (pa.ArrowException, OSError) as error:
        message = f"the shard cannot be read: {' '.join(str(error).split())[:300]}"
        return [Problem(code="SW301", file=check.name, message=message, hint=REBUILD)]
    return problems


def _wrong_values(check: ShardCheck, file: pq.ParquetFile) -> Iterator[Problem]:
    """Yield a row group whose changed values are not those that curation wrote, with its first changed row."""
    columns = list(overlay(check.changes).columns)
    first = 0
    for group in range(file.metadata.num_row_groups if len(check.changed) else 0):
        last = first + file.metadata.row_group(group).num_rows
        here = (check.changed >= first) & (check.changed < last)
        if here.any():
            table = file.read_row_group(group, columns=columns).select(columns)
            found, wanted = ContentHash(), ContentHash()
            rows = check.changed[here]
            for name in columns:
                found.add(name, table.column(name).take(pa.array(rows - first)))
            for part in take_rows(check.changes, check.places[here], columns):
                for name in columns:
                    wanted.add(name, part.column(name))
            if found.hexdigest() != wanted.hexdigest():
                message = "the values that curation changed are not these, in this row or behind it"
                yield Problem(code="SW804", file=check.name, row=int(rows[0]), message=message, hint=REBUILD)
        first = last


def _hashes(column: pa.ChunkedArray, is_list: bool) -> Iterator[list[str]]:
    """Yield the hashes of the media of each row of a media column."""
    for chunk in column.chunks:
        items = chunk.values if is_list else chunk
        offsets = chunk.offsets.to_pylist() if is_list else range(len(chunk) + 1)
        data = items.field("bytes")
        present = items.is_valid().to_pylist()
        for start, end in pairwise(offsets):
            yield [hash_bytes(data[position].as_buffer()) for position in range(start, end) if present[position]]
