"""Lines that each tell of one frame of a video, joined: a run of equal values is one record.

A record has the columns that are the same all through its run, and `run` with

    start_frame, end_frame    the first frame, and the first one behind the run
    start, end                the same in seconds, when the frames a second are known
    frames                    how many there are

A number that is left out ends a run. A line that cannot be used is a bad record of its own, and ends the run too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.readers.record import BadRecord, Record
from pipeline.single_value import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.readers.record import Runs

_WHOLE = re.compile(r"\d{1,12}\Z", re.ASCII)


@dataclass(kw_only=True, slots=True)
class _Run:
    """A run so far."""

    line: int
    size: int
    values: dict[str, Any]
    first: int
    end: int


def joined(records: Iterable[Record | BadRecord], runs: Runs) -> Iterator[Record | BadRecord]:
    """Join consecutive frames of one value, in the order of the lines."""
    columns = (*((runs.video,) if runs.video is not None else ()), *runs.same)
    run: _Run | None = None
    last: int | None = None
    video: Any = None
    for record in records:
        if isinstance(record, BadRecord):
            if run is not None:
                yield from _records(run, runs)
            run = None
            yield record
            continue
        missing = [column for column in (runs.frame, *columns) if column not in record.row]
        number = None if missing else _number(record.row[runs.frame])
        here = record.row.get(runs.video) if runs.video is not None else None
        if here != video:
            last, video = None, here
        why = None
        if missing:
            why = f"there is no column {missing[0]!r}; there are {', '.join(map(repr, record.row))}"
        elif number is None:
            why = f"{runs.frame} {shown(record.row[runs.frame])} is no number of a frame; they are counted from 0"
        elif last is not None and number <= last:
            why = (
                f"frame {number} comes {'twice' if number == last else f'behind frame {last}'}; frames must be in order"
            )
        if why is not None or number is None:
            if run is not None:
                yield from _records(run, runs)
            run = None
            yield BadRecord(line=record.line, code="read.frame", message=str(why))
            continue
        last = number
        values = {column: record.row[column] for column in columns}
        if run is not None and number == run.end and values == run.values:
            run.end += runs.step
            continue
        if run is not None:
            yield from _records(run, runs)
        run = _Run(line=record.line, size=record.size, values=values, first=number, end=number + runs.step)
    if run is not None:
        yield from _records(run, runs)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and _WHOLE.match(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _records(run: _Run, runs: Runs) -> Iterator[Record]:
    """Yield a run, in pieces when it is too long."""
    length = runs.max_frames or run.end - run.first
    for start in range(run.first, run.end, length):
        end = min(start + length, run.end)
        told: dict[str, Any] = {"start_frame": start, "end_frame": end, "frames": end - start}
        if runs.fps is not None:
            told |= {"start": start / runs.fps, "end": end / runs.fps}
        yield Record(line=run.line, row={**run.values, "run": told}, size=run.size)
