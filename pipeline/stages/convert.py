"""Convert: raw records to rows of the schema, each with its line and the media it asks for.

One annotation file, or part of a large one, is one task, and its result is kept by content: what has the same bytes,
recipe part and schema is not converted again. A records file has the schema's value columns, and

    __line              int64                            where the record starts
    __bytes             int64                            what its values weigh, for cutting shards
    __split             int16                            the first split whose `where` takes the record; -1: none
    __media.<column>    list<struct<value, object,       what a media column asks for: a path as written, or the hash
                        excerpt>>                        of a medium that came inside the annotation; and what of it
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.build import AnnotationFile, add_up
from pipeline.column_type import arrow_type
from pipeline.dialects.by_schema import reading_by_schema
from pipeline.dialects.dialect import CANONICAL
from pipeline.dialects.dialect import VERSION as DIALECTS_VERSION
from pipeline.dialects.registry import dialect
from pipeline.errors import RowRejected, SourceError
from pipeline.executor import tick
from pipeline.manifest import fingerprint
from pipeline.media.store import MediaStore
from pipeline.readers.options import read_options
from pipeline.readers.parts import PART_BYTES, cut_into_parts, is_large, is_part
from pipeline.readers.read import detect_format, read
from pipeline.readers.record import BATCH_ROWS, BadRecord, Batch, Part, PartsDoNotMeetError
from pipeline.recipe import all_rows, part_of
from pipeline.rejects import writing_rejects
from pipeline.report import StageReport
from pipeline.row_file import read_batches, writing_rows
from pipeline.stages.conversion import Converter
from pipeline.stages.media_columns import ASK_TYPE
from pipeline.stages.read_as import read_as
from pipeline.workspace import Workspace, read_json, remove_leftovers, sizes_of, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.recipe import Config, Recipe
    from pipeline.recipe_spec import RowsSpec
    from pipeline.schema import Schema

VERSION = 6
NAME = "convert"


@dataclass(frozen=True, kw_only=True)
class ConvertTask:
    """Everything a worker needs to convert one annotation file."""

    file: AnnotationFile
    config: Config
    rows: RowsSpec
    recipe_folder: Path
    workspace: Workspace


def run(build: Build) -> StageReport:
    """Convert every annotation file that is not converted yet; key `build.files`.

    Raises:
        SourceError: an annotation file cannot be used as a whole.
    """
    recipe, workspace = build.recipe, build.workspace
    specs = {
        (config.name, split, rows.source): rows
        for config in recipe.configs.values()
        for split, rows in all_rows(config)
    }
    whole = build.files
    converted = 0
    with build.display.stage(NAME, None, "rows") as progress:
        while True:
            build.files = [
                replace(part, key=_key(recipe, part, specs[file.config, file.split, file.source]))
                for file in whole
                for part in _parts(build, file, specs[file.config, file.split, file.source])
            ]
            tasks = {
                (file.config, file.key): ConvertTask(
                    file=file,
                    config=recipe.configs[file.config],
                    rows=specs[file.config, file.split, file.source],
                    recipe_folder=recipe.path.parent,
                    workspace=workspace,
                )
                for file in build.files
                if not _is_done(build, file)
            }
            converted += len(tasks)
            work = sum(task.file.read_bytes for task in tasks.values())
            results = build.executor.map(convert_file, tasks.values(), work_bytes=work, advance=progress.advance)
            wrongly_cut = [file for file in results if file is not None]
            if not wrongly_cut:
                break
            for file in wrongly_cut:
                write_json(_cut_path(build, _original(whole, file), specs[file.config, file.split, file.source]), [])
    for path, sha256, size in {(file.path, file.sha256, file.size) for file in build.files if file.part is not None}:
        if not build.store.is_unchanged(path, sha256, size):
            raise _changed(path)
    _forget_old(build, {_cut_path(build, file, specs[file.config, file.split, file.source]) for file in whole})
    counts = [read_json(counts_path(workspace, file)) for file in build.files]
    build.files = _with_first_rows(build.files, counts)
    report = StageReport(stage=NAME, skipped=not converted, **add_up(counts))
    report.bytes = sum(file.read_bytes for file in build.files)
    configs = {}
    for name in recipe.configs:
        mine = [count for file, count in zip(build.files, counts, strict=True) if file.config == name]
        unused = sorted({column for count in mine for column in count["unused"]})
        if unused:
            report.notes.append(f"{name}: not in the schema, so not published: {', '.join(unused)}")
        unread = sum(count["unread"] for count in mine)
        size = sum(file.read_bytes for file in build.files if file.config == name)
        configs[name] = {**add_up(mine), "bytes": size, "unread": unread, "unused": unused}
    keys = [(file.config, file.split, file.source, file.name, file.key) for file in build.files]
    build.manifest.record(NAME, {"fingerprint": fingerprint(VERSION, keys), "configs": configs})
    return report


def _original(files: list[AnnotationFile], part: AnnotationFile) -> AnnotationFile:
    return next(file for file in files if (file.config, file.split, file.path) == (part.config, part.split, part.path))


def _cut_path(build: Build, file: AnnotationFile, rows: RowsSpec) -> Path:
    """Return where it is noted how a file is cut."""
    return build.workspace.work / "parts" / f"{fingerprint(VERSION, PART_BYTES, file.sha256, _reading(rows))[:32]}.json"


def _reading(rows: RowsSpec) -> dict[str, Any]:
    """Return what decides how a file is read."""
    return rows.model_dump(mode="json", include=set(type(rows).model_fields) - {"files", "source"})


def _parts(build: Build, file: AnnotationFile, rows: RowsSpec) -> list[AnnotationFile]:
    """Return the parts of a file that is large enough to be cut, else the file."""
    if not is_large(file.size) or rows.reader is not None:
        return [file]
    path = _cut_path(build, file, rows)
    noted = read_json(path)
    if noted is None:
        options = read_options(rows)
        begun = build.cuts.get((file.path, options))
        noted = [asdict(part) for part in (begun.result() if begun else cut_into_parts(file.path, options))]
        write_json(path, noted)
    parts = [Part(**part) for part in noted]
    return [replace(file, part=part) for part in parts] or [file]


def _with_first_rows(files: list[AnnotationFile], counts: list[dict[str, Any]]) -> list[AnnotationFile]:
    """Say of each part how many rows came before it in its file."""
    result = []
    before = 0
    for file, count in zip(files, counts, strict=True):
        before = 0 if file.part is None or file.part.start == 0 else before
        result.append(replace(file, first_row=before))
        before += count["rows_out"]
    return result


def records_path(workspace: Workspace, file: AnnotationFile) -> Path:
    """Return where the rows of an annotation file are."""
    return workspace.records(file.config) / f"{file.key}.arrow"


def rejects_path(workspace: Workspace, file: AnnotationFile) -> Path:
    """Return where the rejects of an annotation file are."""
    return workspace.records(file.config) / f"{file.key}.rejects.parquet"


def counts_path(workspace: Workspace, file: AnnotationFile) -> Path:
    """Return where the counts of an annotation file are; written last, so its presence means done."""
    return workspace.records(file.config) / f"{file.key}.json"


def _key(recipe: Recipe, file: AnnotationFile, rows: RowsSpec) -> str:
    config = recipe.configs[file.config]
    reader = None
    if rows.reader is not None:
        reader = fingerprint((recipe.path.parent / rows.reader.partition(":")[0]).read_text(encoding="utf-8"))
    return fingerprint(
        VERSION,
        file.read_sha256,
        file.source,
        file.name,
        file.split,
        (file.part.first_line, file.part.start == 0, file.part.last) if file.part is not None else None,
        _reading(rows),
        DIALECTS_VERSION if rows.dialect is not None else None,
        reader,
        {name: field.model_dump(mode="json") for name, field in config.fields.items()},
        {
            name: media.model_dump(mode="json", include={"source_column", "path", "clip", "frames"})
            for name, media in config.media.items()
        },
        config.schema.source,
        [split.where for split in config.splits.values()],
    )[:32]


def _is_done(build: Build, file: AnnotationFile) -> bool:
    """Tell whether a file was converted before, and the media that came inside of it are still in the store."""
    counts = read_json(counts_path(build.workspace, file))
    paths = [records_path(build.workspace, file), rejects_path(build.workspace, file)]
    if counts is None or counts["sizes"] != sizes_of(paths):
        return False
    if not counts["inline"]:
        return True
    columns = [f"__media.{column.name}" for column in build.recipe.configs[file.config].schema.media_columns]
    for batch in read_batches(records_path(build.workspace, file), columns):
        for column in batch.columns:
            for sha256 in pc.unique(column.flatten().field("object")).to_pylist():
                if sha256 is not None and not build.store.object_path(sha256).is_file():
                    return False
    return True


def _forget_old(build: Build, cut: set[Path]) -> None:
    """Remove the results of files that are no longer read; `cut`: the notes that are."""
    keep = set()
    for file in build.files:
        keep |= {path(build.workspace, file) for path in (records_path, rejects_path, counts_path)}
    remove_leftovers(build.workspace.work / "records", keep)
    remove_leftovers(build.workspace.work / "parts", cut)


def convert_file(task: ConvertTask) -> AnnotationFile | None:
    """Convert one annotation file or part (a worker's task); returns a part that turns out to be wrongly cut."""
    try:
        _convert(task)
    except PartsDoNotMeetError:
        return task.file
    return None


def _convert(task: ConvertTask) -> None:
    file, workspace = task.file, task.workspace
    schema = _records_schema(task.config.schema)
    with (
        MediaStore(workspace.cache) as store,
        writing_rejects(rejects_path(workspace, file), config=file.config, stage=NAME, sync=False) as rejects,
        writing_rows(records_path(workspace, file), schema, sync=False) as records,
    ):
        often_empty = CANONICAL if _meaning(task) is not None else ()
        converter = Converter(task.config, task.file, store, untyped=_is_untyped(task), often_empty=often_empty)
        rows_in = unread = 0
        for part in _records(task):
            if isinstance(part, BadRecord):
                rows_in += 1
                unread += part.unread
                rejects.add(
                    split=file.split,
                    source=file.source,
                    file=file.name,
                    line=part.line,
                    reason=part.code,
                    message=f"{part.message}: {part.excerpt}" if part.excerpt else part.message,
                )
                continue
            rows_in += len(part.rows)
            tick(len(part.rows))
            bad: dict[int, RowRejected] = {}
            records.write(converter.batch(part, bad).cast(schema))
            for position, error in sorted(bad.items()):
                rejects.add(
                    split=file.split,
                    source=file.source,
                    file=file.name,
                    line=part.lines[position],
                    reason=error.code,
                    message=error.message,
                )
        if not _is_unchanged(file, store):
            # or its rows would be believed to be those of the bytes that were hashed
            raise _changed(file.path)
    counts = {
        "rows_in": rows_in,
        "rows_out": records.rows,
        "rejected": dict(sorted(rejects.counts.items())),
        "unread": unread,
        "unused": converter.unused(),
        "inline": any(column.inline for column in converter.media),
        "sizes": sizes_of([records_path(workspace, file), rejects_path(workspace, file)]),
    }
    write_json(counts_path(workspace, file), counts, sync=False)


def _changed(path: Path) -> SourceError:
    return SourceError(f"{path} changed while it was read", hint="run the build again")


def _is_unchanged(file: AnnotationFile, store: MediaStore) -> bool:
    """Tell whether what was read is still there; a part is looked at alone where times cannot be trusted."""
    if file.part is None:
        return store.is_unchanged(file.path, file.sha256, file.size)
    try:
        return store.known_file(file.path, file.path.stat()) == file.sha256 or is_part(file.path, file.part)
    except OSError:
        return False


def _is_untyped(task: ConvertTask) -> bool:
    rows = task.rows
    if rows.reader is not None:
        return False
    if task.file.part is not None:
        return False
    return (rows.format or detect_format(task.file.path, read_options(rows))) in ("csv", "tsv")


def _records(task: ConvertTask) -> Iterator[Batch | BadRecord]:
    if task.rows.reader is not None:
        records: Iterator[Batch | BadRecord] = _custom_records(task)
    else:
        records = read(task.file.path, replace(read_options(task.rows), part=task.file.part))
    reading = _meaning(task)
    return records if reading is None else read_as(records, reading)


def _meaning(task: ConvertTask) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """Return what turns a record into the one that it means, or None: it is what it is."""
    if task.rows.dialect is not None:
        return dialect(task.rows.dialect).read
    part = part_of(task.config, task.file.source)
    return reading_by_schema(part.schema) if part is not None else None


def _custom_records(task: ConvertTask) -> Iterator[Batch]:
    """Run the recipe's own reader: a function from a path to (line, row) pairs."""
    file, _, name = str(task.rows.reader).partition(":")
    path = task.recipe_folder / file
    batch, done = Batch(), 0
    try:
        for line, row in _function(path, name)(task.file.path):
            batch.lines.append(int(line))
            batch.rows.append(dict(row))
            done += 1
            if len(batch.rows) >= BATCH_ROWS:
                yield batch
                batch = Batch()
    except SourceError:
        raise
    except Exception as error:  # the recipe's own code may raise anything
        raise SourceError(
            f"{task.rows.reader} fails on {task.file.name} after {done:,} rows: {type(error).__name__}: {error}",
            allowed="a function from a path to (line, row) pairs, a row being a mapping",
            hint="-v shows where in the function",
        ) from error
    if batch.rows:
        yield batch


def _function(path: Path, name: str) -> Callable[[Path], Iterable[tuple[int, dict[str, Any]]]]:
    """Load a function out of a file of the recipe's."""
    spec = importlib.util.spec_from_file_location("shardwright_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"{path} has no function {name!r}", hint="mend `reader` in the recipe")
    found: Callable[[Path], Iterable[tuple[int, dict[str, Any]]]] = function
    return found


def _records_schema(schema: Schema) -> pa.Schema:
    fields = [pa.field(column.name, arrow_type(column.type)) for column in schema.value_columns]
    fields += [pa.field("__line", pa.int64()), pa.field("__bytes", pa.int64()), pa.field("__split", pa.int16())]
    fields += [pa.field(f"__media.{column.name}", ASK_TYPE) for column in schema.media_columns]
    return pa.schema(fields)
