"""The pass over rows: one task a shard reads its values without its media, batch by batch, and lets all checks look."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.columns import columns_of
from pipeline.checks.facts import ROW_FACTS
from pipeline.checks.problem import Problem
from pipeline.checks.row_batch import read_batch
from pipeline.checks.row_facts import facts_of
from pipeline.checks.row_findings import Findings, Tally
from pipeline.checks.row_schema import SchemaCheck, check_types, check_unique
from pipeline.checks.row_texts import check_texts
from pipeline.checks.row_turns import check_placeholders, check_turns, talk_of
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeline.checks.columns import Columns
    from pipeline.checks.dataset import Dataset, Footer
    from pipeline.checks.options import Options
    from pipeline.checks.row_findings import Rule
    from pipeline.checks.row_schema import Unique
    from pipeline.executor import Executor
    from pipeline.schema import Schema

BATCH_BYTES, BATCH_ROWS = 16 << 20, 16_384
"""Values of one batch at the most, as far as the first rows of a row group tell how large the others are."""
PROBED_ROWS = 32
BUFFER = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RowTask:
    """A shard whose rows are to be looked at."""

    name: str
    path: Path
    config: str
    split: str
    groups: tuple[int, ...]
    """The row groups to be read."""
    schema: Schema | None
    group: str | None
    """The column whose values must stay on one side."""


@dataclass(kw_only=True)
class ShardRows:
    """What is known of the rows of a shard that were looked at."""

    name: str
    config: str
    split: str
    rows: int = 0
    facts: pa.Table = field(default_factory=ROW_FACTS.empty_table)
    problems: list[Problem] = field(default_factory=list)
    """The first of each code."""
    more: dict[str, int] = field(default_factory=dict)
    """Code -> how many there are beyond those."""
    tallies: dict[tuple[Rule, str], Tally] = field(default_factory=dict)
    """What is judged when all shards of its split are known."""
    nulls: dict[str, int] = field(default_factory=dict)
    """Column -> how many of its rows are null."""
    unique: Unique = field(default_factory=dict)


def pass_over_rows(
    dataset: Dataset, options: Options, chosen: dict[str, list[int]], executor: Executor
) -> Iterator[ShardRows]:
    """Look at the rows of the chosen row groups, shard by shard; what is not on this machine is left out."""
    tasks: dict[str, RowTask] = {}
    for split in dataset.splits:
        for name in split.shards:
            path = dataset.files.path(name)
            if path is None or not chosen.get(name) or name in tasks:
                continue
            tasks[name] = RowTask(
                name=name,
                path=path,
                config=split.config,
                split=split.name,
                groups=tuple(sorted(chosen[name])),
                schema=(options.schemas or {}).get(split.config),
                group=options.group,
            )
    work = sum(_bytes_to_read(footer, task) for task in tasks.values() if (footer := dataset.footer(task.name)))
    yield from executor.map(look_at_rows, tasks.values(), work_bytes=work)


def _bytes_to_read(footer: Footer, task: RowTask) -> int:
    leaves = _leaves(footer.metadata, columns_of(footer.schema))
    groups = (footer.metadata.row_group(group) for group in task.groups)
    return sum(group.column(leaf).total_uncompressed_size for group in groups for leaf in leaves)


def _leaves(metadata: pq.FileMetaData, columns: Columns) -> list[int]:
    """Return the numbers of the Parquet columns to be read: all but those of media, and of these their paths."""
    media = tuple(f"{column.name}." for column in columns.media)
    flat = {column.name for column in columns.media}  # a column that only says that it holds media
    paths = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    return [
        number
        for number, path in enumerate(paths)
        if path not in flat and (not path.startswith(media) or path.endswith(".path"))
    ]


def look_at_rows(task: RowTask) -> ShardRows:
    """Look at the rows of one shard (a worker's task); where it is damaged, which is told elsewhere, it ends."""
    findings = Findings(file=task.name, config=task.config, split=task.split)
    found = ShardRows(name=task.name, config=task.config, split=task.split, tallies=findings.tallies)
    facts: list[pa.Table] = []
    try:
        with pq.ParquetFile(task.path, pre_buffer=False, buffer_size=BUFFER) as file:
            arrow = file.schema_arrow
            columns = columns_of(arrow)
            talk = talk_of(columns, arrow, task.schema)
            schema = SchemaCheck(arrow, task.schema) if task.schema is not None else None
            for start, rows in _batches(file, task.groups, columns):
                batch = read_batch(rows, columns, start=start)
                check_texts(batch, findings, roles=talk.roles)
                check_turns(batch, talk, findings)
                check_placeholders(batch, talk, findings)
                if schema is not None:
                    schema.check(batch, findings)
                    found.unique = schema.unique
                for name, count in batch.nulls.items():
                    found.nulls[name] = found.nulls.get(name, 0) + count
                found.rows += batch.rows
                facts.append(facts_of(batch, talk, task.group))
    except (pa.ArrowException, OSError, RecursionError):
        pass
    found.facts = pa.concat_tables(facts) if facts else found.facts
    found.problems, found.more = findings.problems, findings.more
    return found


def _batches(file: pq.ParquetFile, groups: tuple[int, ...], columns: Columns) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield batches of rows that are small in memory, each with the number of its first row."""
    metadata = file.metadata
    leaves = _leaves(metadata, columns)
    # by number, since a name with a dot could mean a column or a part of one
    read = partial(file.reader.iter_batches, column_indices=leaves, use_threads=False)
    starts = [0, *accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))]
    for group in groups:
        described = metadata.row_group(group)
        weight = sum(described.column(leaf).total_uncompressed_size for leaf in leaves) / max(described.num_rows, 1)
        # what repeats is stored once, so a look at the first rows tells more than the footer
        for probe in read(PROBED_ROWS, row_groups=[group]):
            weight = max(weight, probe.nbytes / max(probe.num_rows, 1))
            break
        rows = max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(weight, 1))))
        start = starts[group]
        for batch in read(rows, row_groups=[group]):
            yield start, batch
            start += batch.num_rows


def after_rows(
    dataset: Dataset, options: Options, collected: Sequence[ShardRows]
) -> tuple[list[Problem], dict[str, int]]:
    """Judge what only all shards together can tell; returns problems, and by code how many more there are."""
    problems: list[Problem] = []
    counts: Counter[str] = Counter()
    for config in dataset.configs:
        shards = [shard for shard in collected if shard.config == config]
        schema = (options.schemas or {}).get(config)
        if schema is not None:
            problems += _types(dataset, config, schema)
        problems += _all_null(config, shards)
        twice, more = check_unique(config, [(shard.name, shard.split, shard.unique) for shard in shards])
        problems += twice
        counts["SW402"] += more - len(twice)
        for split in dict.fromkeys(shard.split for shard in shards):
            for rule, key, tally in _merged(shard for shard in shards if shard.split == split):
                told, count = tally.problems(rule, config, split, key)
                problems += told
                counts[rule.code] += count - len(told)
    return problems, {code: count for code, count in counts.items() if count}


def _merged(shards: Iterable[ShardRows]) -> Iterator[tuple[Rule, str, Tally]]:
    merged: dict[tuple[Rule, str], Tally] = {}
    for shard in shards:
        for place, tally in shard.tallies.items():
            merged.setdefault(place, Tally()).merge(tally)
    for (rule, key), tally in merged.items():
        yield rule, key, tally


def _types(dataset: Dataset, config: str, schema: Schema) -> Iterator[Problem]:
    for split in dataset.splits_of(config):
        for name in split.shards:
            if (footer := dataset.footer(name)) is not None:
                for column, message in check_types(footer.schema, schema):
                    key, hint = escaped(column), "build the dataset again, or mend the schema"
                    yield Problem(code="SW401", file=name, config=config, key=key, message=message, hint=hint)
                return  # other shards that differ are reported as SW109


def _all_null(config: str, shards: list[ShardRows]) -> Iterator[Problem]:
    rows = sum(shard.rows for shard in shards)
    nulls: Counter[str] = Counter()
    for shard in shards:
        nulls.update(shard.nulls)
    for name, count in nulls.items():
        if rows and count == rows:
            message = f"null in all {rows:,} rows that were looked at"
            hint = "fill the column, or leave it out of the dataset"
            yield Problem(code="SW403", config=config, key=escaped(name), message=message, hint=hint)
