"""Cache: find, hash and probe every medium that a row asks for, and write the plan.

A plan file belongs to one records file and has one row a record, in the same order:

    ok      bool     every medium could be had; else the row is among the rejects
    line    int64    where the record starts
    bytes   int64    what the row will weigh in a shard: its values, and its media when they are embedded
    media   list<struct>  each medium: column number, hash, size, where its bytes are, its published name, its facts;
                          origin: the hash of the video it was cut out of

Media in folders stay where they are; the store remembers their hash by path, size and times.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.build import add_up, sum_counts
from pipeline.errors import MediaMissingError, RowRejected
from pipeline.manifest import fingerprint
from pipeline.media.facts import MediaFacts
from pipeline.media.store import RACY_NS
from pipeline.network.remote_media import OFFLINE
from pipeline.network.urls import hide_secrets, looks_like_url, parse_url
from pipeline.rejects import writing_rejects
from pipeline.report import StageReport
from pipeline.row_file import read_batches, writing_rows
from pipeline.stages.find_media import Found, MediaFinder, Medium, find_all, state_of
from pipeline.workspace import read_json, remove_file, remove_leftovers, sizes_of, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.build import AnnotationFile, Build
    from pipeline.recipe import Config
    from pipeline.report import Progress
    from pipeline.schema import Column

VERSION = 4
NAME = "cache"

MISSING_SHOWN = 50
"""Rows that are named when media are missing."""
_CUT = {"copied": "clips copied", "encoded": "clips encoded anew", "sampled": "frames sampled"}
PATH_BYTES = 100
"""About what the published path of a medium beside the shards weighs."""
MAX_CELL_BYTES = 2**31 - 1 - (1 << 20)
"""Embedded media of one row and column: Arrow's binary type counts bytes in 32 bits."""

MEDIA_FIELDS = pa.struct(
    [
        ("column", pa.int16()),
        ("sha256", pa.string()),
        ("size", pa.int64()),
        ("path", pa.string()),
        ("name", pa.string()),
        ("origin", pa.string()),
        ("kind", pa.string()),
        ("format", pa.string()),
        ("codec", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int16()),
        ("frames", pa.int64()),
        ("fps", pa.float64()),
        ("duration", pa.float64()),
        ("audio", pa.bool_()),
        ("mode", pa.string()),
        ("animated", pa.bool_()),
    ]
)
PLAN_SCHEMA = pa.schema(
    [("ok", pa.bool_()), ("line", pa.int64()), ("bytes", pa.int64()), ("media", pa.list_(MEDIA_FIELDS))]
)
FACTS = tuple(known.name for known in fields(MediaFacts) if known.name in {field.name for field in MEDIA_FIELDS})
"""The facts that the plan holds."""


def run(build: Build) -> StageReport:
    """Write a plan file for each annotation file whose records or media changed.

    Raises:
        MediaMissingError: media that the recipe calls indispensable cannot be had.
    """
    skipped = True
    metas = []
    converted = sum(config["rows_out"] for config in build.manifest.stages["convert"]["configs"].values())
    with build.display.stage(NAME, converted, "rows") as progress:
        for file in build.files:
            config = build.recipe.configs[file.config]
            meta = read_json(meta_path(build, file))
            if meta is None or not _is_whole(build, file, meta) or meta["state"] != state_of(build, config, file):
                # a kill from here on must not leave counts beside a plan of another state
                remove_file(meta_path(build, file))
                fresh = _plan(build, config, file, progress)
                skipped = skipped and meta is not None and meta["plan"] == fresh["plan"]
                meta = fresh
                write_json(meta_path(build, file), meta, sync=False)
            else:
                progress.advance(meta["rows_in"])
            metas.append(meta)
    if build.remote.missing:
        missing = build.remote.missing
        shown = "\n".join(f"  {text}" for text in missing[:MISSING_SHOWN])
        more = f"\n  and {len(missing) - MISSING_SHOWN:,} more" if len(missing) > MISSING_SHOWN else ""
        raise MediaMissingError(
            f"{len(missing):,} rows want media that are not in the cache, and this build is offline:\n{shown}{more}",
            hint="run it once without --offline",
        )
    _forget_old(build)
    size = {name: sum(meta[name] for meta in metas) for name in ("media", "bytes")}
    report = StageReport(stage=NAME, skipped=skipped, **add_up(metas), **size)
    configs = {}
    for name in build.recipe.configs:
        mine = [meta for file, meta in zip(build.files, metas, strict=True) if file.config == name]
        without = sum_counts(meta["without"] for meta in mine)
        for reason, count in without.items():
            report.notes.append(f"{name}: {count:,} rows kept without a medium ({reason})")
        cut = sum_counts(meta["cut"] for meta in mine)
        if cut:
            told = ", ".join(f"{count:,} {_CUT[how]}" for how, count in cut.items())
            report.notes.append(f"{name}: {told} out of longer videos")
        configs[name] = {**add_up(mine), "kept_without": without, "cut": cut}
    plans = [(file.config, file.key, meta["plan"]) for file, meta in zip(build.files, metas, strict=True)]
    build.manifest.record(NAME, {"fingerprint": fingerprint(VERSION, plans), "configs": configs})
    return report


def plan_path(build: Build, file: AnnotationFile) -> Path:
    """Return where the plan of an annotation file is."""
    return build.workspace.plan(file.config) / f"{file.key}.arrow"


def meta_path(build: Build, file: AnnotationFile) -> Path:
    """Return where the counts of a plan file are; written last."""
    return build.workspace.plan(file.config) / f"{file.key}.json"


def rejects_path(build: Build, file: AnnotationFile) -> Path:
    """Return where the rows are whose media could not be had."""
    return build.workspace.plan(file.config) / f"{file.key}.rejects.parquet"


def _is_whole(build: Build, file: AnnotationFile, meta: dict[str, Any]) -> bool:
    """Tell whether a plan is all there, was made of media that had not just changed, and has the pieces it had cut."""
    sizes = sizes_of([plan_path(build, file), rejects_path(build, file)])
    if not meta["settled"] or meta["sizes"] != sizes:
        return False
    if not meta["cut"]:
        return True
    for batch in read_batches(plan_path(build, file), ["media"]):
        media = batch.column("media").flatten()
        pieces = media.field("sha256").filter(media.field("origin").is_valid()).unique().to_pylist()
        if not all(build.store.object_path(sha256).is_file() for sha256 in pieces):
            return False
    return True


def _forget_old(build: Build) -> None:
    keep = {path(build, file) for file in build.files for path in (plan_path, meta_path, rejects_path)}
    for config in build.recipe.configs:
        remove_leftovers(build.workspace.plan(config), keep)


def _plan(build: Build, config: Config, file: AnnotationFile, progress: Progress) -> dict[str, Any]:
    """Write the plan of one annotation file; returns its counts."""
    started_ns = time.time_ns()
    finder = MediaFinder(build, config, file)
    rows_in = rows_out = media = size = 0
    without: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    indispensable: list[str] = []
    digest = hashlib.sha256()
    with (
        writing_rejects(rejects_path(build, file), config=config.name, stage=NAME, sync=False) as rejects,
        writing_rows(plan_path(build, file), PLAN_SCHEMA, sync=False) as plan,
    ):
        for batch in finder.batches():
            rows_in += batch.num_rows
            if not finder.columns:
                plan.write(_plan_without_media(batch))
                rows_out += batch.num_rows
                progress.advance(batch.num_rows)
                continue
            asked = finder.asked(batch)
            rows = _PlanRows(embedded=build.recipe.embedded)
            # a row is done when the last of its media is; what is shown comes near to that
            asks = sum(len(asks or ()) for column in asked for asks in column)
            shown = _Shown(progress, rows=batch.num_rows, media=asks)
            lines, weights = batch.column("__line").to_pylist(), batch.column("__bytes").to_pylist()
            found = find_all(build, finder, asked, lines=lines, advance=shown.advance)
            for position, (line, weight) in enumerate(zip(lines, weights, strict=True)):
                try:
                    row = _row(finder, [column[position] for column in asked], found, without, indispensable)
                    rows.add(line, weight, row)
                    rows_out += 1
                except _MediumRejected as rejected:
                    rows.add(line, weight, None)
                    if rejected.code == OFFLINE:
                        build.remote.missing.append(f"{config.name}, {file.name}:{line}: {rejected.message}")
                    rejects.add(
                        split=file.split,
                        source=file.source,
                        file=file.name,
                        line=line,
                        reason=rejected.code,
                        message=rejected.message,
                        media=rejected.value,
                    )
            plan.write(rows.table())
            media += len(rows.media)
            size += sum(medium.size for medium in rows.media)
            cut.update(medium.how for medium in rows.media if medium.how is not None)
            digest.update(rows.identity())
            shown.finish()
    if indispensable:
        shown_media = "\n".join(f"  {text}" for text in indispensable[:50])
        more = f"\n  and {len(indispensable) - 50:,} more" if len(indispensable) > 50 else ""
        raise MediaMissingError(
            f"{len(indispensable):,} media cannot be had, and the recipe says `missing: fail`:\n{shown_media}{more}",
            hint="put them back, or say `missing: reject`",
        )
    return {
        "rows_in": rows_in,
        "rows_out": rows_out,
        "rejected": dict(sorted(rejects.counts.items())),
        "media": media,
        "bytes": size,
        "without": dict(sorted(without.items())),
        "cut": dict(sorted(cut.items())),
        "plan": digest.hexdigest(),
        "state": finder.state,
        "sizes": sizes_of([plan_path(build, file), rejects_path(build, file)]),
        "settled": finder.newest_ns < started_ns - RACY_NS and not finder.open_ended,
    }


class _Shown:
    """Shows the rows of a batch as done while its media are examined."""

    def __init__(self, progress: Progress, *, rows: int, media: int) -> None:
        self._progress, self._rows, self._media = progress, rows, max(media, 1)
        self._examined = self._advanced = 0

    def advance(self, media: int) -> None:
        """Show that so many media more were examined."""
        self._examined = min(self._examined + media, self._media)
        rows = self._rows * self._examined // self._media - self._advanced
        self._advanced += rows
        self._progress.advance(rows)

    def finish(self) -> None:
        """Show all of the batch; media that were known, or that rows share, were not examined."""
        self._progress.advance(self._rows - self._advanced)


def _plan_without_media(batch: pa.RecordBatch) -> pa.Table:
    count = batch.num_rows
    media = pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], MEDIA_FIELDS))
    everything = pa.array(np.ones(count, bool))
    return pa.table([everything, batch.column("__line"), batch.column("__bytes"), media], schema=PLAN_SCHEMA)


class _PlanRows:
    """Rows of a plan, gathered as columns."""

    def __init__(self, *, embedded: bool) -> None:
        self.embedded = embedded
        self.media: list[Medium] = []
        self._columns: list[int] = []
        self._names: list[str] = []
        self._ok: list[bool] = []
        self._lines: list[int] = []
        self._bytes: list[int] = []
        self._offsets = [0]

    def add(self, line: int, weight: int, media: list[tuple[int, str, Medium]] | None) -> None:
        """Add a row with its media: column number, published name, medium; None: it is left out."""
        self._ok.append(media is not None)
        self._lines.append(line)
        for column, name, medium in media or ():
            self._columns.append(column)
            self._names.append(name)
            self.media.append(medium)
            weight += medium.size if self.embedded else PATH_BYTES
        self._bytes.append(weight)
        self._offsets.append(len(self.media))

    def identity(self) -> bytes:
        """Return what the stages after this one depend on."""
        hashes = [medium.sha256 for medium in self.media]
        return json.dumps([self._ok, self._offsets, self._columns, self._names, hashes]).encode()

    def table(self) -> pa.Table:
        """Return the rows."""
        columns: dict[str, list[Any]] = {
            "column": self._columns,
            "sha256": [medium.sha256 for medium in self.media],
            "size": [medium.size for medium in self.media],
            "path": [medium.path for medium in self.media],
            "name": self._names,
            "origin": [medium.origin for medium in self.media],
            **{name: [getattr(medium.facts, name) for medium in self.media] for name in FACTS},
        }
        arrays = [pa.array(columns[field.name], field.type) for field in MEDIA_FIELDS]
        items = pa.StructArray.from_arrays(arrays, fields=list(MEDIA_FIELDS))
        media = pa.ListArray.from_arrays(pa.array(self._offsets, pa.int32()), items)
        return pa.table([pa.array(self._ok), pa.array(self._lines), pa.array(self._bytes), media], schema=PLAN_SCHEMA)


class _MediumRejected(Exception):
    """A row is left out because of one medium."""

    def __init__(self, error: RowRejected, column: str, value: str | None) -> None:
        super().__init__(error.message)
        self.code, self.message = error.code, f"{column}: {error.message}"
        self.value = None if value is None else hide_secrets(value)


def _row(
    finder: MediaFinder,
    asked: list[list[dict[str, Any]] | None],
    found: Found,
    without: Counter[str],
    indispensable: list[str],
) -> list[tuple[int, str, Medium]]:
    """Return the media of one row: column number, published name, medium.

    Raises:
        _MediumRejected: the row is to be left out.
    """
    row: list[tuple[int, str, Medium]] = []
    for number, (column, asks) in enumerate(zip(finder.columns, asked, strict=True)):
        spec = finder.config.media.get(column.name)
        missing = spec.missing if spec else "reject"
        weight = 0
        for ask in asks or []:
            media = found[number, ask["value"], ask["object"], ask["excerpt"]]
            if isinstance(media, RowRejected):
                if missing == "keep":
                    without[media.code] += 1
                    continue
                if missing == "fail":
                    indispensable.append(f"{column.name}: {media.message}")
                raise _MediumRejected(media, column.name, ask["value"])
            if spec is not None and spec.frames is not None:
                _expect_frames(column, len(media), ask["value"])
            for medium in media:
                weight += medium.size
                row.append((number, _published_name(ask, medium), medium))
        if finder.build.recipe.embedded and weight > MAX_CELL_BYTES:
            error = RowRejected(
                "media.too_large", f"{weight:,} bytes cannot be embedded; `shards: {{media: files}}` keeps them beside"
            )
            raise _MediumRejected(error, column.name, None)
    return row


def _expect_frames(column: Column, count: int, value: str | None) -> None:
    """Hold the frames of a row against the schema, which cannot be done before they are sampled.

    Raises:
        _MediumRejected: there are too few or too many.
    """
    least, most = column.rules.min_length, column.rules.max_length
    if (least is not None and count < least) or (most is not None and count > most):
        bound = f"at least {least}" if least is not None and count < least else f"at most {most}"
        error = RowRejected("schema.rule", f"{count} frames; {bound} are allowed")
        raise _MediumRejected(error, column.name, value)


def _published_name(ask: dict[str, Any], medium: Medium) -> str:
    """Return the name that is published with a medium: its own file name, never a path of this machine."""
    value = ask["value"] or ""
    if ask["object"] is None and looks_like_url(value):
        name = parse_url(value).name
    else:
        name = value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if medium.suffix:
        return f"{name.rpartition('.')[0] or name or (medium.origin or '')[:16]}{medium.suffix}"
    return name or f"{medium.sha256[:16]}.{medium.facts.format}"
