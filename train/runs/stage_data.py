"""The rows of a stage, opened, measured and put into batches; and the records of those that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.workspace import read_json, write_json, writing
from train.batching.plan import Batching, accumulation_for
from train.example import RowRef, TrainError
from train.feed.build_frame_cache import build_frame_cache
from train.feed.order import order
from train.runs.dataset_place import open_split
from train.runs.measure_rows import TOO_LONG, Measured, joined, measure_rows
from train.runs.rejected_rows import BEFORE, Rejected, check_rejected, read_rejected, rejected_file
from train.runs.schedule import evaluation_batches, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.report import Display
    from train.batching.plan import Rows
    from train.families.family import Family
    from train.feed.training_data import TrainingData
    from train.runs.dataset_place import DatasetPlace
    from train.runs.machine import Machine
    from train.runs.run_folder import RunFolder
    from train.runs.schedule import Schedule
    from train.settings import Settings

DRAWN = 2**64 - 1
"""The epoch, as `order` counts them, by which rows are drawn where not all are wanted; no training gets there."""


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """A split whose rows are measured."""

    name: str
    data: TrainingData
    wanted: Rows
    """The rows that are to be used, rising."""
    measured: Measured

    @property
    def lengths(self) -> Rows:
        """[rows] tokens; 0 where a row is not used."""
        return self.measured.lengths

    @property
    def usable(self) -> Rows:
        """The rows that are used, rising."""
        return self.measured.usable


def open_splits(
    place: DatasetPlace, settings: Settings, *, base: Path, cache: Path, display: Display
) -> dict[str, TrainingData]:
    """Return the split that is learnt from and, where there is one, that which is evaluated on, by their names."""
    names = dict.fromkeys(filter(None, (settings.data.train, settings.data.eval)))
    return {name: open_split(place, settings, name, base=base, cache=cache, display=display) for name in names}


def wanted_rows(data: TrainingData, count: int | None, seed: int) -> Rows:
    """Return the rows of a split that are to be used, rising: all, or so many drawn with the seed."""
    if count is None or count >= data.rows:
        return np.arange(data.rows, dtype=np.int64)
    return np.sort(order(data.row_groups, seed, DRAWN, max(1, len(data.row_groups)))[:count])


def measured_splits(
    splits: dict[str, TrainingData],
    settings: Settings,
    *,
    family: Family,
    processor: Any,
    max_tokens: int | None,
    folder: RunFolder,
    machine: Machine,
    display: Display,
) -> dict[str, SplitRows]:
    """Return the splits with their rows measured; what was measured before for this run is read again.

    Raises:
        TrainError: too many rows cannot be used, or one that stops the run.
    """
    found = {}
    data_settings = settings.data
    counts = {data_settings.eval: data_settings.eval_rows} | {data_settings.train: data_settings.rows}
    for name, data in splits.items():
        wanted = wanted_rows(data, counts[name], settings.seed)
        measured = _read(folder, name, data)
        if measured is None:
            mine = wanted[machine.rank :: machine.ranks]
            with display.stage("measure", len(mine), "rows") as progress:
                part = measure_rows(
                    data,
                    family,
                    processor,
                    numbers=mine,
                    split=name,
                    over=settings.over,
                    max_tokens=max_tokens,
                    workers=machine.workers(settings),
                    advance=progress.advance,
                )
            measured = joined(machine.gathered(part))
        stopping = TOO_LONG if settings.over == "stop" else ""
        check_rejected(measured.rejected, len(wanted), settings.rejects.max_share, stopping=stopping)
        found[name] = SplitRows(name=name, data=data, wanted=wanted, measured=measured)
    return found


def keep_measured(folder: RunFolder, splits: dict[str, SplitRows]) -> None:
    """Write down what was measured, and the rows that cannot be used, before the first step."""
    arrays: dict[str, np.ndarray] = {}
    for place, rows in enumerate(splits.values()):
        arrays |= {f"lengths.{place}": rows.lengths, f"thinner.{place}": rows.measured.thinner}
    with writing(folder.lengths) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    with rejected_file(folder.rejected, after_step=None) as lines:
        for rows in splits.values():
            for one in rows.measured.rejected:
                lines.append(one.as_json())
    write_json(_index(folder), {name: rows.data.fingerprint for name, rows in splits.items()})


def _index(folder: RunFolder) -> Path:
    """Return the file that says what was measured; written last."""
    return folder.lengths.with_suffix(".json")


def _read(folder: RunFolder, name: str, data: TrainingData) -> Measured | None:
    """Return what was measured of a split before, or None where it was not, or of other rows."""
    known = read_json(_index(folder))
    if not isinstance(known, dict) or known.get(name) != data.fingerprint or not folder.lengths.is_file():
        return None
    place = list(known).index(name)
    with np.load(folder.lengths) as arrays:
        lengths, thinner = arrays[f"lengths.{place}"], arrays[f"thinner.{place}"]
    if len(lengths) != data.rows:
        return None
    rejected = [
        Rejected(
            row=RowRef(number=line["number"], shard=line["shard"], row=line["row"], id=line.get("id", "")),
            code=line["code"],
            message=line["reason"],
            split=name,
        )
        for line in read_rejected(folder.rejected)
        if line.get("when") == BEFORE and line.get("split") == name
    ]
    return Measured(lengths=lengths, thinner=thinner, rejected=rejected)


def keep_frames(splits: dict[str, TrainingData], display: Display) -> list[str]:
    """Build the caches of frames that the splits were opened with; returns what is to be said of it."""
    notes = []
    for name, data in splits.items():
        if data.plan.picture is None:
            continue
        with display.stage("frames", None, "videos") as progress:
            report = build_frame_cache(data, advance=progress.advance)
        if report.videos:
            notes.append(f"frames of {report.videos:,} videos of {name} are kept: {report.bytes / 1e6:,.1f} MB")
    return notes


def batching_of(settings: Settings, ranks: int) -> Batching:
    """Return how rows are put together; what is accumulated follows from a global batch size that is demanded.

    Raises:
        TrainError: the global batch size cannot be made; names the nearest that can.
    """
    how = settings.batching
    accumulation = settings.accumulation or 1
    if settings.global_batch_size is not None:
        assert how.samples is not None, "checked with the settings"
        accumulation = accumulation_for(settings.global_batch_size, per_device=how.samples, ranks=ranks)
    return Batching(
        samples=how.samples,
        tokens=how.tokens,
        pack=how.pack,
        by_length=how.by_length,
        accumulation=accumulation,
        multiple=how.multiple,
        window=how.window,
    )


def schedule_of(rows: SplitRows, settings: Settings, *, how: Batching, ranks: int) -> Schedule:
    """Plan all epochs.

    Raises:
        TrainError: a row does not fit into a batch, or there are fewer rows than processes.
    """
    usable = rows.lengths > 0
    order_of = _ordered(rows.data, settings, usable)
    epochs = None if settings.steps is not None else settings.epochs or 1.0
    return make_schedule(
        rows.lengths, order_of, how=how, ranks=ranks, seed=settings.seed, epochs=epochs, steps=settings.steps
    )


def _ordered(data: TrainingData, settings: Settings, usable: np.ndarray) -> Callable[[int], Rows]:
    def of_epoch(epoch: int) -> Rows:
        rows = order(data.row_groups, settings.seed, epoch, settings.data.shuffle_window)
        used: Rows = rows[usable[rows]]
        return used

    return of_epoch


def most_tokens(settings: Settings, positions: int | None) -> int | None:
    """Return how many tokens a row may have: as the settings say, the model's positions allow, and a batch holds."""
    how = settings.batching
    held = None if how.tokens is None else how.tokens - (0 if how.pack else how.tokens % how.multiple)
    limits = [limit for limit in (settings.max_tokens or positions, held) if limit is not None]
    return min(limits) if limits else None


def evaluated_batches(rows: SplitRows, how: Batching, machine: Machine) -> list[tuple[list[int], float]]:
    """Return the batches that this process evaluates, each with its share; rows of like length go together.

    Raises:
        TrainError: no row can be used.
    """
    if not len(rows.usable):
        raise TrainError(f"no row of the split {rows.name!r} can be used", hint="rejected.jsonl says why")
    alike = Batching(
        samples=how.samples,
        tokens=how.tokens,
        by_length=how.samples is not None,
        multiple=how.multiple,
        window=how.window,
    )
    return evaluation_batches(rows.lengths, rows.usable, how=alike, ranks=machine.ranks, rank=machine.rank)
