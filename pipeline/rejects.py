"""Rejects: every row left out, with its file, line, stage and reason; and the share that stops a build."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RejectsError
from pipeline.workspace import writing

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

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


class RejectWriter:
    """Writes the rejects of one stage and config to one file, and counts them by reason."""

    BUFFER = 10_000

    def __init__(self, path: Path, *, config: str, stage: str) -> None:
        self.path, self.config, self.stage = path, config, stage
        self.counts: Counter[str] = Counter()
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(writing(self.path))
            self._writer = stack.enter_context(pq.ParquetWriter(temporary, REJECT_SCHEMA))
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
                "message": printable(message),
                "media": None if media is None else printable(media),
            }
        )
        if len(self._rows) >= self.BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, REJECT_SCHEMA))
            self._rows.clear()


def printable(text: str) -> str:
    """Write a text so that any of its characters can be stored and shown on one line."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r").replace("\n", "\\n")


DELIBERATE = ("curate.", "split.")
"""Reasons that a recipe asked for; all others are defects of the data and count against `rejects.max_share`."""


def gather_rejects(paths: list[Path], destination: Path) -> None:
    """Put the rejects of all stages into one file, in the order of the paths."""
    with writing(destination) as temporary, pq.ParquetWriter(temporary, REJECT_SCHEMA) as writer:
        for path in paths:
            file = pq.ParquetFile(path)
            for batch in file.iter_batches():
                writer.write_batch(batch)


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
