"""Rejects: every row left out, with its file, line, stage and reason; and the share that stops a build."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RejectsError
from pipeline.printable import on_one_line
from pipeline.workspace import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REJECT_SCHEMA = pa.schema(
    [
        ("config", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("media", pa.string()),
    ]
)
"""A row left out: which one, by which stage, for which reason (a stable code), in words, and the medium at fault."""


@contextmanager
def writing_rejects(path: Path, *, config: str, stage: str, sync: bool = True) -> Iterator[Rejects]:
    """Give the rejects of one stage and config to add to; they are written to one file, whole or not at all.

    `sync` as `writing` has it.
    """
    with writing(path, sync=sync) as temporary, pq.ParquetWriter(temporary, REJECT_SCHEMA) as writer:
        rejects = Rejects(writer, config=config, stage=stage)
        yield rejects
        rejects.flush()


class Rejects:
    """The rows that one stage leaves out of one config, counted by reason."""

    BUFFER = 10_000

    def __init__(self, writer: pq.ParquetWriter, *, config: str, stage: str) -> None:
        self.config, self.stage = config, stage
        self.counts: Counter[str] = Counter()
        self._writer = writer
        self._rows: list[dict[str, Any]] = []

    def add(
        self,
        *,
        split: str | None,
        source: str,
        file: str,
        line: int,
        reason: str,
        message: str,
        media: str | None = None,
    ) -> None:
        """Note one row."""
        self.counts[reason] += 1
        self._rows.append(
            {
                "config": self.config,
                "split": split,
                "source": source,
                "file": file,
                "line": line,
                "stage": self.stage,
                "reason": reason,
                "message": on_one_line(message),
                "media": None if media is None else on_one_line(media),
            }
        )
        if len(self._rows) >= self.BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, REJECT_SCHEMA))
            self._rows.clear()


REJECTING = ("convert", "cache", "curate", "split")
"""The stages that leave rows out, in order."""
DELIBERATE = ("curate.", "split.")
"""Reasons that a recipe asked for; all others are defects of the data and count against `rejects.max_share`."""


def gather_rejects(paths: list[Path], destination: Path) -> None:
    """Put the rejects of all stages into one file, in the order of the paths."""
    with writing(destination) as temporary, pq.ParquetWriter(temporary, REJECT_SCHEMA) as writer:
        for path in paths:
            file = pq.ParquetFile(path)
            for batch in file.iter_batches():
                writer.write_batch(batch)


def check_unread(paths: list[Path], *, size: int, unread: int, max_share: float) -> None:
    """Stop the build when more of the annotation files could not be told apart into rows than the recipe allows.

    Raises:
        RejectsError: with the places from which on files were not read.
    """
    if not unread or unread <= max_share * size:
        return
    places = [
        f"  {file}:{line}: {message[:200]}"
        for path in paths
        for batch in pq.ParquetFile(path).iter_batches(columns=["file", "line", "message"])
        for file, line, message in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if "not read" in message or "not be read" in message
    ]
    table = "\n".join(places[:20])
    raise RejectsError(
        f"{unread:,} of {size:,} bytes of annotations could not be read ({unread / size:.1%}), "
        f"more than rejects.max_share {max_share:.1%}:\n{table}",
        hint="mend the files; or raise rejects.max_share, and what follows these places is left out",
    )


def check_share(paths: list[Path], *, rows_in: int, max_share: float, where: Path) -> None:
    """Stop the build when more rows are broken than the recipe allows.

    Raises:
        RejectsError: with the table of reasons and one example of each.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(columns=["reason", "file", "line", "message"]):
            for reason, file, line, message in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if not reason.startswith(DELIBERATE):
                    counts[reason] += 1
                    examples.setdefault(reason, f"{file}:{line}: {message}")
    broken = sum(counts.values())
    if not broken or broken <= max_share * rows_in:
        return
    table = "\n".join(
        f"  {count:>9,}  {reason:<28} e.g. {examples[reason][:200]}" for reason, count in counts.most_common()
    )
    raise RejectsError(
        f"{broken:,} of {rows_in:,} rows are broken ({broken / rows_in:.1%}), "
        f"more than rejects.max_share {max_share:.1%}:\n{table}",
        hint=f"mend the data or the recipe, or raise rejects.max_share; every row is listed in {where}",
    )
