"""One training from rows to checkpoints, top to bottom: data, model, plan, steps.

The network is used for nothing here. What it takes to go on lies in the run's folder; the same call goes on.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from pipeline.workspace import locked
from train.metrics_file import metrics_file
from train.no_network import no_network
from train.pages.curves import write_curves
from train.runs.interruption import interruptible
from train.runs.planned_batches import PlannedBatches
from train.runs.prepare_stage import prepare
from train.runs.rejected_rows import read_rejected, rejected_file, stop_if_asked
from train.runs.reporters import Progress, reporters
from train.runs.run_trainer import RunTrainer
from train.runs.stage import Outcome
from train.runs.stage_data import keep_frames, open_splits

if TYPE_CHECKING:
    from train.runs.prepare_stage import Prepared
    from train.runs.rejected_rows import Rejected
    from train.runs.stage import Stage


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
        prepared = prepare(stage, splits, notes)
        stage.say(f"{prepared.plan}")
        if stage.dry_run:
            return Outcome(plan=prepared.plan, steps=0, finished=False)
        if prepared.plan.begun_at >= prepared.schedule.steps:
            return Outcome(plan=prepared.plan, steps=prepared.plan.begun_at, finished=True)
        return _train(stage, prepared, stack)


def _train(stage: Stage, prepared: Prepared, stack: ExitStack) -> Outcome:
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

    named = {(line["split"], line["number"]) for line in read_rejected(folder.rejected)}
    before = len(named)

    def reject(step: int, failed: list[Rejected]) -> None:
        stop_if_asked(settings.undecodable, failed)
        for one in failed:
            # a row that does not decode fails in every epoch and every evaluation
            if (one.split, one.row.number) not in named:
                named.add((one.split, one.row.number))
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
        skipped=sum(machine.gathered(len(named) - before)),
        best_loss=trainer.state.best_metric,
    )
