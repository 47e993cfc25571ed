"""Convert: raw records to rows of the schema, each with its line and the media it asks for.

One annotation file is one task, and its result is kept by content: a file whose bytes, recipe part and schema are
the same is not converted again. A records file has the schema's value columns, and

    __line              int64                            where the record starts
    __bytes             int64                            what its values weigh, for cutting shards
    __split             int16                            the first split whose `where` takes the record; -1: none
    __media.<column>    list<struct<value, object>>      what a media column asks for: a path as written, or
                                                         the hash of a medium that came inside the annotation
"""

from __future__ import annotations

import importlib.util
import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.build import AnnotationFile, sum_counts
from pipeline.column_type import Scalar
from pipeline.conform import MISSING, ColumnConformer, shown
from pipeline.conversation import compile_conversation
from pipeline.errors import RowRejected, SourceError
from pipeline.manifest import fingerprint
from pipeline.media.inline import inline_bytes
from pipeline.media.store import MediaStore
from pipeline.readers.read import detect_format, read
from pipeline.readers.record import BadRecord, Batch, ReadOptions
from pipeline.recipe import all_rows
from pipeline.rejects import RejectWriter
from pipeline.report import StageReport
from pipeline.template import Expression, Template
from pipeline.workspace import Workspace, read_json, remove_leftovers, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from pipeline.build import Build
    from pipeline.recipe import Config, Recipe
    from pipeline.recipe_spec import FieldSpec, MediaSpec, RowsSpec
    from pipeline.schema import Column, Schema

VERSION = 2
NAME = "convert"

ASK_TYPE = pa.list_(pa.struct({"value": pa.string(), "object": pa.string()}))
ROW_GROUP_BYTES = 32 << 20
"""Bytes of rows gathered before they are written: what a worker holds."""


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
    specs = {(config.name, split): rows for config in recipe.configs.values() for split, rows in all_rows(config)}
    build.files = [replace(f, key=_key(recipe, f, specs[f.config, f.split])) for f in build.files]
    tasks = {
        (file.config, file.key): ConvertTask(
            file=file,
            config=recipe.configs[file.config],
            rows=specs[file.config, file.split],
            recipe_folder=recipe.path.parent,
            workspace=workspace,
        )
        for file in build.files
        if not _is_done(build, file)
    }
    with build.display.stage(NAME, len(tasks), "files") as progress:
        work = sum(task.file.size for task in tasks.values())
        for _ in build.executor.map(convert_file, tasks.values(), work_bytes=work):
            progress.advance()
    _forget_old(build)
    counts = [read_json(counts_path(workspace, file)) for file in build.files]
    report = StageReport(stage=NAME, skipped=not tasks)
    report.rows_in = sum(count["rows_in"] for count in counts)
    report.rows_out = sum(count["rows_out"] for count in counts)
    report.rejected = sum_counts(count["rejected"] for count in counts)
    report.bytes = sum(file.size for file in build.files)
    configs = {}
    for name in recipe.configs:
        mine = [count for file, count in zip(build.files, counts, strict=True) if file.config == name]
        unused = sorted({column for count in mine for column in count["unused"]})
        if unused:
            report.notes.append(f"{name}: not in the schema, so not published: {', '.join(unused)}")
        configs[name] = {
            "rows_in": sum(count["rows_in"] for count in mine),
            "rows_out": sum(count["rows_out"] for count in mine),
            "rejected": sum_counts(count["rejected"] for count in mine),
            "unused": unused,
        }
    keys = [(file.config, file.split, file.source, file.name, file.key) for file in build.files]
    build.manifest.record(NAME, {"fingerprint": fingerprint(VERSION, keys), "configs": configs})
    return report


def records_path(workspace: Workspace, file: AnnotationFile) -> Path:
    """Return where the rows of an annotation file are."""
    return workspace.records(file.config) / f"{file.key}.parquet"


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
        file.sha256,
        file.source,
        file.name,
        file.split,
        rows.model_dump(mode="json", include=set(type(rows).model_fields) - {"files", "source"}),
        reader,
        {name: field.model_dump(mode="json") for name, field in config.fields.items()},
        {
            name: media.model_dump(mode="json", include={"source_column", "path"})
            for name, media in config.media.items()
        },
        config.schema.source,
        [split.where for split in config.splits.values()],
    )[:32]


def _is_done(build: Build, file: AnnotationFile) -> bool:
    """Tell whether a file was converted before, and the media that came inside of it are still in the store."""
    counts = read_json(counts_path(build.workspace, file))
    if counts is None:
        return False
    if not counts["inline"]:
        return True
    columns = [f"__media.{column.name}" for column in build.recipe.configs[file.config].schema.media_columns]
    for batch in pq.ParquetFile(records_path(build.workspace, file)).iter_batches(columns=columns):
        for column in batch.columns:
            for sha256 in pc.unique(column.flatten().field("object")).to_pylist():
                if sha256 is not None and not build.store.object_path(sha256).is_file():
                    return False
    return True


def _forget_old(build: Build) -> None:
    """Remove the results of files that are no longer read."""
    keep = set()
    for file in build.files:
        keep |= {path(build.workspace, file) for path in (records_path, rejects_path, counts_path)}
    remove_leftovers(build.workspace.work / "records", keep)


def convert_file(task: ConvertTask) -> None:
    """Convert one annotation file (a worker's task)."""
    file, workspace = task.file, task.workspace
    with (
        MediaStore(workspace.cache) as store,
        RejectWriter(rejects_path(workspace, file), config=file.config, stage=NAME) as rejects,
        _RecordsWriter(records_path(workspace, file), task.config.schema) as records,
    ):
        converter = _Converter(task, store)
        rows_in = 0
        for part in _records(task):
            if isinstance(part, BadRecord):
                rows_in += 1
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
            bad: dict[int, RowRejected] = {}
            records.write(converter.batch(part, bad))
            for position, error in sorted(bad.items()):
                rejects.add(
                    split=file.split,
                    source=file.source,
                    file=file.name,
                    line=part.lines[position],
                    reason=error.code,
                    message=error.message,
                )
    counts = {
        "rows_in": rows_in,
        "rows_out": records.rows,
        "rejected": dict(sorted(rejects.counts.items())),
        "unused": converter.unused(),
        "inline": any(column.inline for column in converter.media),
    }
    write_json(counts_path(workspace, file), counts)


def _records(task: ConvertTask) -> Iterator[Batch | BadRecord]:
    rows = task.rows
    if rows.reader is not None:
        return _custom_records(task)
    return read(task.file.path, read_options(rows))


def read_options(rows: RowsSpec) -> ReadOptions:
    """Return how to read the files of `rows`."""
    return ReadOptions(
        format=rows.format,
        encoding=rows.encoding,
        delimiter=rows.delimiter,
        quote=rows.quote,
        escape=rows.escape,
        header=tuple(rows.header) if isinstance(rows.header, list) else rows.header,
        records=rows.records,
        key=rows.key,
    )


def _custom_records(task: ConvertTask) -> Iterator[Batch]:
    """Run the recipe's own reader: a function from a path to (line, row) pairs."""
    file, _, name = str(task.rows.reader).partition(":")
    path = task.recipe_folder / file
    spec = importlib.util.spec_from_file_location("shardwright_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Path], Iterable[tuple[int, dict[str, Any]]]] | None = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"{path} has no function {name!r}", hint="mend `reader` in the recipe")
    batch = Batch()
    for line, row in function(task.file.path):
        batch.lines.append(line)
        batch.rows.append(row)
        if len(batch.rows) >= 1_000:
            yield batch
            batch = Batch()
    if batch.rows:
        yield batch


class _Converter:
    """Turns batches of raw records into batches of rows."""

    def __init__(self, task: ConvertTask, store: MediaStore) -> None:
        self.schema = task.config.schema
        self.store = store
        rows = task.rows
        untyped = rows.reader is None and (rows.format or detect_format(task.file.path, read_options(rows))) in (
            "csv",
            "tsv",
        )
        self.values = [
            _ValueColumn(column, task.config.fields.get(column.name), untyped=untyped)
            for column in self.schema.value_columns
        ]
        self.media = [
            _MediaColumn(column, task.config.media.get(column.name), store) for column in self.schema.media_columns
        ]
        self.checks = _row_checks(self.schema)
        self.file = task.file
        self.wheres = [
            (number, Expression(split.where))
            for number, split in enumerate(task.config.splits.values())
            if split.where is not None
        ]
        used = {name for values in self.values for name in values.reads}
        used |= {name for media in self.media for name in media.reads}
        used |= {name for _, where in self.wheres for name in where.columns}
        self._used = used
        self._seen: set[str] = set()
        self._keys: set[tuple[str, ...]] = set()

    def unused(self) -> list[str]:
        """Return the raw columns, and keys inside of structs, that no column of the schema took."""
        inside = {name for column in self.values for name in column.conformer.unused}
        return sorted((self._seen - self._used) | inside)

    def batch(self, batch: Batch, bad: dict[int, RowRejected]) -> pa.Table:
        """Convert one batch; rows that are left out are named in `bad`."""
        for row in batch.rows:
            keys = tuple(row)
            if keys not in self._keys:
                if len(self._keys) < 10_000:
                    self._keys.add(keys)
                self._seen.update(keys)
        records = [
            {"source": self.file.source, "file": self.file.name, "line": line, "split": self.file.split}
            for line in batch.lines
        ]
        arrays = {column.name: column.convert(batch.rows, records, bad) for column in self.values}
        asks = {column.name: column.asks(batch.rows, records, bad) for column in self.media}
        splits = self._splits(batch.rows, records, bad)
        if self.checks:
            self._check_rows(arrays, asks, bad)
        lines = pa.array(batch.lines, pa.int64())
        names, columns = list(arrays), list(arrays.values())
        weights = _weights(columns, len(batch.rows))
        table = pa.Table.from_arrays(
            [*columns, lines, weights, splits, *(pa.array(values, ASK_TYPE) for values in asks.values())],
            names=[*names, "__line", "__bytes", "__split", *(f"__media.{name}" for name in asks)],
        )
        if bad:
            table = table.filter(pa.array([position not in bad for position in range(len(batch.rows))]))
        return table

    def _splits(
        self, rows: list[dict[str, Any]], records: list[dict[str, Any]], bad: dict[int, RowRejected]
    ) -> pa.Array:
        """Return for each row the first split whose `where` takes it, or -1."""
        chosen = [-1] * len(rows)
        for position, row in enumerate(rows) if self.wheres else ():
            try:
                for number, where in self.wheres:
                    if where.evaluate(row, record=records[position]):
                        chosen[position] = number
                        break
            except RowRejected as error:
                bad.setdefault(position, error)
        return pa.array(chosen, pa.int16())

    def _check_rows(self, arrays: dict[str, pa.Array], asks: dict[str, list[Any]], bad: dict[int, RowRejected]) -> None:
        """Run the checks that look at a whole row: placeholders and the conversation."""
        values = {name: array.to_pylist() for name, array in arrays.items()}
        lists = {column.column.name: column.column.is_list for column in self.media}
        count = len(next(iter(values.values()), next(iter(asks.values()), [])))
        for position in range(count):
            if position in bad:
                continue
            row = {name: column[position] for name, column in values.items()}
            for name, column in asks.items():
                asked = column[position]
                row[name] = asked if lists[name] else (asked[0] if asked else None)
            try:
                for check in self.checks:
                    check(row)
            except RowRejected as error:
                bad[position] = error


def _weights(columns: list[pa.Array], rows: int) -> pa.Array:
    """Return about how many bytes each row's values take: exact for texts, the batch's mean for the rest."""
    total = pa.array([0] * rows, pa.int64())
    for column in columns:
        if pa.types.is_string(column.type):
            total = pc.add(total, pc.fill_null(pc.cast(pc.binary_length(column), pa.int64()), 0))
        elif rows:
            total = pc.add(total, pa.scalar(-(-column.nbytes // rows), pa.int64()))
    return total


def _row_checks(schema: Schema) -> list[Callable[[dict[str, Any]], Any]]:
    """Return the checks of a whole row, leaving out what cannot fail."""
    checks: list[Callable[[dict[str, Any]], Any]] = []
    for rule in schema.placeholders:

        def placeholders(row: dict[str, Any], rule: Any = rule) -> None:
            asked = row[rule.media]
            media = len(asked) if isinstance(asked, list) else int(asked is not None)
            count = (row[rule.column] or "").count(rule.token)
            if count != media:
                raise RowRejected(
                    "conversation.placeholders",
                    f"{count} times {rule.token!r} in {rule.column!r} but {media} media in {rule.media!r}",
                )

        checks.append(placeholders)
    if schema.conversation is not None and not _cannot_fail(schema):
        checks.append(compile_conversation(schema.conversation))
    return checks


_PLAIN_COLUMN = re.compile(
    r"\s*\{\{\s*(?:row\[(['\"])(?P<quoted>[^'\"]+)\1\]|`(?P<ticked>[^`]+)`|(?P<plain>\w+))\s*\}\}\s*\Z"
)


def _cannot_fail(schema: Schema) -> bool:
    """Tell whether every template of the conversation is a plain text column that is never null."""
    if not isinstance(schema.conversation, list):
        return False
    for turn in schema.conversation:
        for part in turn.parts:
            if part.text is None or "{" not in part.text:
                continue
            match = _PLAIN_COLUMN.match(part.text)
            column = schema.columns.get(match["quoted"] or match["ticked"] or match["plain"]) if match else None
            if column is None or column.type != Scalar("string") or column.rules.nullable:
                return False
    return True


class _ValueColumn:
    """One column that holds no media: where its values come from, and how they get their type."""

    def __init__(self, column: Column, field: FieldSpec | None, *, untyped: bool) -> None:
        self.name = column.name
        self.template = Template(field.template) if field and field.template is not None else None
        self.source = (field.source_column if field else None) or column.name
        self.conformer = ColumnConformer(column, field, untyped=untyped and self.template is None)
        self.reads = self.template.columns if self.template else {self.source}

    def convert(
        self, rows: list[dict[str, Any]], records: list[dict[str, Any]], bad: dict[int, RowRejected]
    ) -> pa.Array:
        """Return the column of a batch."""
        if self.template is not None:
            values = [self._rendered(row, records[position], position, bad) for position, row in enumerate(rows)]
        else:
            source = self.source
            values = [row.get(source, MISSING) for row in rows]
        return self.conformer.conform(values, bad)

    def _rendered(self, row: dict[str, Any], record: dict[str, Any], position: int, bad: dict[int, RowRejected]) -> Any:
        assert self.template is not None
        try:
            return self.template.render(row, record=record)
        except RowRejected as error:
            bad.setdefault(position, RowRejected(error.code, f"{self.name}: {error.message}"))
            return None


class _MediaColumn:
    """One media column: the paths or bytes its rows ask for."""

    def __init__(self, column: Column, media: MediaSpec | None, store: MediaStore) -> None:
        self.column = column
        self.name = column.name
        self.store = store
        self.template = Template(media.path) if media and media.path is not None else None
        given = media.source_column if media else None
        self.source = given or column.name
        self.path_only = (
            self.template is not None
            and given is None
            and "item" not in self.template.source
            and self.source not in self.template.columns
        )
        """The path is made of other columns alone, so there is nothing to look up under the column's own name."""
        self.reads = set(self.template.columns if self.template else ()) | {self.source}
        self.inline = False
        """Did any medium come inside the annotation?"""

    def asks(
        self, rows: list[dict[str, Any]], records: list[dict[str, Any]], bad: dict[int, RowRejected]
    ) -> list[list[dict[str, Any]] | None]:
        """Return for each row of a batch the media it asks for."""
        result: list[list[dict[str, Any]] | None] = []
        for position, row in enumerate(rows):
            try:
                result.append(self._asked(row, records[position]))
            except RowRejected as error:
                bad.setdefault(position, RowRejected(error.code, f"{self.name}: {error.message}"))
                result.append(None)
        return result

    def _asked(self, row: dict[str, Any], record: dict[str, Any]) -> list[dict[str, Any]] | None:
        value = True if self.path_only else row.get(self.source)
        items = value if isinstance(value, list) else ([] if value is None or value == "" else [value])
        rules = self.column.rules
        if not self.column.is_list and len(items) > 1:
            raise RowRejected("media.type", f"{len(items)} media, but the schema allows one")
        if not items and not rules.nullable and not (self.column.is_list and isinstance(value, list)):
            raise RowRejected("media.null", "no medium is named, and the schema says there must be one")
        if self.column.is_list:
            if rules.min_length is not None and len(items) < rules.min_length:
                raise RowRejected("schema.rule", f"{len(items)} media; at least {rules.min_length} are allowed")
            if rules.max_length is not None and len(items) > rules.max_length:
                raise RowRejected("schema.rule", f"{len(items)} media; at most {rules.max_length} are allowed")
        if not items and value is None and self.column.is_list:
            return None
        return [self._ask(item, row, record) for item in items]

    def _ask(self, item: Any, row: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
        data = None if self.path_only else inline_bytes(item)
        if data is not None:
            self.inline = True
            name = item.get("path") if isinstance(item, dict) else None
            return {"value": name if isinstance(name, str) else None, "object": self.store.put(data)}
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            item = item["path"]
        path = self.template.render(row, item=item, record=record) if self.template else item
        if not isinstance(path, str):
            raise RowRejected("media.type", f"{shown(path)} is no path")
        try:
            path.encode()
        except UnicodeEncodeError:
            raise RowRejected("media.path_invalid", f"{shown(path)} is no path") from None
        return {"value": path, "object": None}


class _RecordsWriter:
    """Writes the rows of one annotation file, holding back what is too small for a row group."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path, self.schema = path, schema
        self.rows = 0
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        from pipeline.column_type import arrow_type

        fields = [pa.field(column.name, arrow_type(column.type)) for column in self.schema.value_columns]
        fields += [pa.field("__line", pa.int64()), pa.field("__bytes", pa.int64()), pa.field("__split", pa.int16())]
        fields += [pa.field(f"__media.{column.name}", ASK_TYPE) for column in self.schema.media_columns]
        self._arrow = pa.schema(fields)
        with ExitStack() as stack:
            temporary = stack.enter_context(writing(self.path))
            self._writer = stack.enter_context(pq.ParquetWriter(temporary, self._arrow, use_dictionary=False))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._flush()

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self.rows += table.num_rows
        self._bytes += table.nbytes
        self._waiting.append(table)
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        rows = sum(table.num_rows for table in self._waiting)
        if rows:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(self._arrow), row_group_size=rows)
        self._waiting.clear()
        self._bytes = 0
