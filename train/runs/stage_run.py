"""One training from rows to checkpoints, top to bottom: data, model, plan, steps.

The network is used for nothing here. What it takes to go on lies in the run's folder; the same call goes on.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.manifest import fingerprint
from pipeline.workspace import locked
from train.batching.pack import prove_packing
from train.evaluation.known_run import places_of
from train.example import TrainError
from train.models.memory import estimated_memory
from train.models.parts import trainable
from train.models.vision_cache import VisionCache
from train.no_network import no_network
from train.runs.curves import write_curves
from train.runs.identity import same_of, settings_yaml, versions
from train.runs.interruption import interruptible
from train.runs.kept_features import keep_features
from train.runs.machine import precision_of
from train.runs.measure_rows import Measured
from train.runs.metrics_file import metrics_file
from train.runs.plan_text import TrainingPlan
from train.runs.planned_batches import Encoder, PlannedBatches
from train.runs.prove_loss import prove_loss
from train.runs.ready_model import ready_model
from train.runs.rejected_rows import check_rejected, rejected_file
from train.runs.reporters import Progress, reporters
from train.runs.run_trainer import RunTrainer
from train.runs.stage_data import (
    batching_of,
    evaluated_batches,
    keep_frames,
    keep_measured,
    measured_splits,
    most_tokens,
    open_splits,
    schedule_of,
)
from train.runs.training_arguments import training_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.report import Display
    from train.batching.plan import Batching
    from train.example import Encoded
    from train.runs.dataset_place import DatasetPlace
    from train.runs.machine import Machine, Precision
    from train.runs.ready_model import KnownModel
    from train.runs.rejected_rows import Rejected
    from train.runs.run_folder import RunFolder
    from train.runs.schedule import Schedule
    from train.runs.stage_data import SplitRows
    from train.settings import Settings

PROOF = 2
"""Rows by which packing, and kernels, are proved."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a training is asked to be."""

    title: str
    settings: Settings
    """Of this stage, whole."""
    base: Path
    """The folder from which paths in the settings start."""
    place: DatasetPlace
    known: KnownModel
    folder: RunFolder
    cache: Path
    machine: Machine
    display: Display
    dry_run: bool
    say: Callable[[str], None]
    """Prints; the main process's does."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a training."""

    plan: TrainingPlan
    steps: int
    """Done, those of earlier calls too."""
    finished: bool
    """False: it was interrupted, or it was a dry run."""
    interrupted: bool = False
    skipped: int = 0
    """Rows that failed while it went on."""
    best_loss: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        told = {"steps": self.steps, "finished": self.finished, "interrupted": self.interrupted}
        return {"plan": self.plan.as_json(), **told, "skipped": self.skipped, "best_loss": self.best_loss}


def run_stage(stage: Stage) -> Outcome:
    """Train, or go on with it; what was done before is not done again.

    Raises:
        TrainError: rows, model or settings do not allow it, or a step went wrong; says what to do.
        WorkspaceError: the folder is in use, or holds a run of something else.
    """
    machine, folder = stage.machine, stage.folder
    machine.share_cores(stage.settings)
    with ExitStack() as stack:
        if machine.main and not stage.dry_run:
            stack.enter_context(locked(folder.path))
            folder.tidy()
        machine.wait()
        splits = open_splits(stage.place, stage.settings, base=stage.base, cache=stage.cache, display=stage.display)
        notes = keep_frames(splits, stage.display) if not stage.dry_run else []
        stack.enter_context(no_network(allow_loopback=machine.ranks > 1))
        prepared = _prepare(stage, splits, notes)
        stage.say(f"{prepared.plan}")
        if stage.dry_run:
            return Outcome(plan=prepared.plan, steps=0, finished=False)
        if prepared.plan.begun_at >= prepared.schedule.steps:
            return Outcome(plan=prepared.plan, steps=prepared.plan.begun_at, finished=True)
        return _train(stage, prepared, stack)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A training before its first step."""

    plan: TrainingPlan
    model: Any
    how: Batching
    schedule: Schedule
    arguments: Any
    learnt: Encoder
    evaluated: Encoder | None
    evaluated_batches: Sequence[tuple[list[int], float]]
    saved: bool
    """Is there a checkpoint to go on from?"""


def _prepare(stage: Stage, splits: dict[str, Any], notes: list[str]) -> _Prepared:
    settings, machine, folder, known = stage.settings, stage.machine, stage.folder, stage.known
    precision = precision_of(settings, cpu=machine.cpu)
    how = batching_of(settings, machine.ranks)
    limit = most_tokens(settings, known.positions)
    measured = measured_splits(
        splits,
        settings,
        family=known.family,
        processor=known.processor,
        max_tokens=limit,
        folder=folder,
        machine=machine,
        display=stage.display,
    )
    same = same_of(settings, splits=measured, model=known.fingerprint, machine=machine, precision=precision)
    told: dict[str, Any] = {"same": same, "title": stage.title, "dataset": stage.place.told, "model": known.place.name}
    told |= {"commit": known.place.commit, "family": known.family.name, "device": machine.name, "versions": versions()}
    told |= places_of(stage.place, stage.base, splits.values())
    if machine.main and not stage.dry_run:
        told["places"]["model"] = str(known.place.folder)
        folder.begin(told)
        folder.write_config(settings_yaml(settings))
    machine.wait()
    begun_at = (folder.saved_step() or 0) if not stage.dry_run else 0
    learnt = _encoder(stage, measured[settings.data.train], how)
    evaluated = _encoder(stage, measured[settings.data.eval], replace(how, pack=False)) if settings.data.eval else None
    model = _loaded(stage, precision, begun_at, learnt, measured[settings.data.train])
    if settings.vision_cache and not stage.dry_run:
        measured, learnt, evaluated = _with_features(stage, model, measured, learnt, evaluated)
    if machine.main and not stage.dry_run and not folder.lengths.is_file():
        keep_measured(folder, measured)
    rows = measured[settings.data.train]
    if how.accumulation * machine.ranks > 1:
        prove_loss(model, learnt.joined(_first(learnt, rows, 1)))
    if how.pack:
        prove_packing(model, known.family, _first(learnt, rows, PROOF))
    schedule = schedule_of(rows, settings, how=how, ranks=machine.ranks)
    of_evaluation = measured[settings.data.eval] if settings.data.eval else None
    arguments = training_arguments(
        settings,
        saving=folder.saving,
        steps=schedule.steps,
        accumulation=how.accumulation,
        bf16=precision.bf16,
        cpu=machine.cpu,
        evaluates=of_evaluation is not None,
    )
    plan = TrainingPlan(
        title=stage.title,
        settings=settings,
        folder=folder.path,
        machine=machine,
        precision=precision,
        family=known.family.name,
        dataset=stage.place.told,
        rows=rows,
        evaluated=of_evaluation,
        max_tokens=limit,
        schedule=schedule,
        evaluate_every=int(arguments.eval_steps) if of_evaluation is not None else None,
        save_every=int(arguments.save_steps),
        parameters=trainable(model, known.family),
        memory=_memory(stage, model, rows, schedule, precision),
        workers=machine.workers(settings),
        begun_at=begun_at,
        notes=notes,
    )
    return _Prepared(
        plan=plan,
        model=model,
        how=how,
        schedule=schedule,
        arguments=arguments,
        learnt=learnt,
        evaluated=evaluated,
        evaluated_batches=evaluated_batches(of_evaluation, how, machine) if of_evaluation is not None else (),
        saved=begun_at > 0,
    )


def _encoder(stage: Stage, rows: SplitRows, how: Batching) -> Encoder:
    return Encoder(
        data=rows.data,
        family=stage.known.family,
        processor=stage.known.processor,
        config=stage.known.config,
        split=rows.name,
        packed=how.pack,
        multiple=how.multiple,
        thinner=rows.measured.thinner,
    )


def _loaded(stage: Stage, precision: Precision, begun_at: int, learnt: Encoder, rows: SplitRows) -> Any:
    """Load the model; one that learns as a whole goes on from its checkpoint, adapters are read into it later."""
    settings = stage.settings
    whole = settings.method in ("full", "frozen-vision", "projector")
    batch = None
    if settings.liger:
        inputs = learnt.joined(_first(learnt, rows, 1))
        device = stage.machine.place(settings)
        batch = {name: own.to(device) if hasattr(own, "to") else own for name, own in inputs.items()}
    return ready_model(
        stage.known,
        settings,
        machine=stage.machine,
        precision=precision,
        weights=stage.folder.last if whole and begun_at else None,
        liger_batch=batch,
    )


def _first(encoder: Encoder, rows: SplitRows, count: int) -> list[Encoded]:
    """Return the first rows that can be decoded."""
    found: list[Encoded] = []
    for number in rows.usable.tolist():
        found += encoder.singles([number])
        if len(found) == count:
            break
    return found


def _with_features(
    stage: Stage, model: Any, measured: dict[str, SplitRows], learnt: Encoder, evaluated: Encoder | None
) -> tuple[dict[str, SplitRows], Encoder, Encoder | None]:
    """Compute what the frozen vision tower makes of every row; rows that do not decode are left out from now on."""
    import torch

    settings, machine = stage.settings, stage.machine
    kept_as = "bfloat16" if model.dtype == torch.bfloat16 else "float32"
    cache = VisionCache(stage.cache / "train" / "features", model, stage.known.family, dtype=kept_as)
    found: dict[str, SplitRows] = {}
    encoders: dict[str, Encoder] = {}
    for encoder in filter(None, (learnt, evaluated)):
        rows = measured[encoder.split]
        mine = rows.usable[machine.rank :: machine.ranks]
        workers = machine.workers(settings)
        made_by = fingerprint(stage.known.fingerprint, settings.processor.model_dump())
        encoders[encoder.split], failed = keep_features(
            cache, encoder, mine, made_by=made_by, workers=workers, display=stage.display
        )
        lost = [one for part in machine.gathered(failed) for one in part]
        _stop_if_asked(settings, lost)
        lengths = rows.lengths.copy()
        lengths[[one.row.number for one in lost]] = 0
        rejected = [*rows.measured.rejected, *lost]
        check_rejected(rejected, len(rows.wanted), settings.rejects.max_share)
        now = Measured(lengths=lengths, thinner=rows.measured.thinner, rejected=rejected)
        found[encoder.split] = replace(rows, measured=now)
    of_evaluation = replace(encoders[evaluated.split], packed=False) if evaluated is not None else None
    return found, replace(encoders[learnt.split], packed=learnt.packed), of_evaluation


def _memory(stage: Stage, model: Any, rows: SplitRows, schedule: Schedule, precision: Precision) -> dict[str, int]:
    optimizer = str(stage.settings.arguments.get("optim", "adamw"))
    kind: Any = "adamw_8bit" if "8bit" in optimizer else "sgd" if optimizer == "sgd" else "adamw"
    largest = max(plan.padded for plan in schedule.plans) / max(1, schedule.plans[0].micro_steps * schedule.ranks)
    how = stage.settings.batching
    tokens = how.tokens if how.tokens is not None else (how.samples or 1) * int(rows.lengths.max())
    found = estimated_memory(
        model, stage.known.family, tokens=max(tokens, round(largest)), optimizer=kind, half=precision.bf16
    )
    return {
        "weights": found.weights,
        "gradients": found.gradients,
        "optimizer": found.optimizer,
        "activations": found.activations,
    }


def _stop_if_asked(settings: Settings, failed: Sequence[Rejected]) -> None:
    """Stop where a row failed, and the settings say to.

    Raises:
        TrainError: names the first of the rows.
    """
    if failed and settings.undecodable == "stop":
        first = failed[0]
        raise TrainError(
            f"{first.row} of the split {first.split!r} cannot be decoded: {first.message} ({first.code})",
            hint="mend or remove the row, or write `undecodable: skip`, which leaves such rows out and counts them",
        )


def _train(stage: Stage, prepared: _Prepared, stack: ExitStack) -> Outcome:
    """Take the steps."""
    settings, machine, folder, known = stage.settings, stage.machine, stage.folder, stage.known
    begun_at, schedule = prepared.plan.begun_at, prepared.schedule
    main = machine.main
    metrics = stack.enter_context(metrics_file(folder.metrics, after_step=begun_at) if main else nullcontext())
    machine.wait()
    rejects = stack.enter_context(rejected_file(folder.rejected, after_step=begun_at)) if main else None
    machine.wait()
    if rejects is None:
        # a line is written at once, so that processes do not write into each other's
        rejects = stack.enter_context(rejected_file(folder.rejected, after_step=schedule.steps))

    def note(step: int, measured: dict[str, Any]) -> None:
        if metrics is not None:
            metrics.add(step, {name: value for name, value in measured.items() if isinstance(value, int | float)})

    def reject(step: int, failed: list[Rejected]) -> None:
        _stop_if_asked(settings, failed)
        for one in failed:
            rejects.append(one.as_json(step))

    batches = PlannedBatches(
        prepared.learnt,
        schedule.micro_steps,
        lambda number: (schedule.rows(number, machine.rank).tolist(), 1.0),
        schedule.first_epoch,
    )
    evaluated = None
    if prepared.evaluated is not None:
        planned = prepared.evaluated_batches
        evaluated = PlannedBatches(prepared.evaluated, len(planned), planned.__getitem__, lambda _: True)
    progress = stack.enter_context(stage.display.stage("train", schedule.steps, "steps"))
    interruption = stack.enter_context(interruptible())
    trainer = RunTrainer(
        model=prepared.model,
        args=prepared.arguments,
        processor=known.processor,
        folder=folder,
        schedule=schedule,
        batches=batches,
        evaluated=evaluated,
        workers=machine.workers(settings),
        note=note,
        reject=reject,
        base_model={"base_model_name_or_path": known.place.name, "revision": known.place.commit},
        stopping=interruption,
        going_on=folder.last if prepared.saved else None,
        callbacks=[
            Progress(progress.advance, stage.say),
            *reporters(folder, settings, name=stage.title, after_step=begun_at, main=main, stack=stack),
        ],
    )
    trainer.train(resume_from_checkpoint=str(folder.last) if prepared.saved else None)
    machine.wait()
    if main:
        folder.tidy()
        write_curves(folder.metrics, folder.curves)
    done = trainer.state.global_step
    return Outcome(
        plan=prepared.plan,
        steps=done,
        finished=done >= schedule.steps,
        interrupted=done < schedule.steps,
        skipped=sum(machine.gathered(trainer.skipped)),
        best_loss=trainer.state.best_metric,
    )
