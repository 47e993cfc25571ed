"""A training before its first step: rows measured, model loaded, packing and loss proved, every step planned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.manifest import fingerprint
from train.batching.moved import moved
from train.models.memory import estimated_memory
from train.models.parts import trainable
from train.models.vision_cache import VisionCache
from train.runs.identity import same_of, settings_yaml, versions
from train.runs.kept_features import keep_features
from train.runs.known_run import places_of
from train.runs.machine import precision_of
from train.runs.measure_rows import Measured
from train.runs.plan_text import TrainingPlan
from train.runs.planned_batches import Encoder
from train.runs.prove_loss import prove_loss
from train.runs.proved_batches import prove_packed, why_all_logits
from train.runs.ready_model import ready_model
from train.runs.rejected_rows import check_rejected, stop_if_asked
from train.runs.stage_data import (
    batching_of,
    evaluated_batches,
    keep_measured,
    measured_splits,
    most_tokens,
    schedule_of,
)
from train.runs.training_arguments import training_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.batching.plan import Batching
    from train.example import Encoded
    from train.feed.training_data import TrainingData
    from train.runs.machine import Precision
    from train.runs.schedule import Schedule
    from train.runs.stage import Stage
    from train.runs.stage_data import SplitRows

PROOF = 2
"""Rows by which packing, and kernels, are proved."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
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


def prepare(stage: Stage, splits: dict[str, TrainingData], notes: list[str]) -> Prepared:
    """Measure the rows, load the model, prove what is to be proved, and plan every step.

    Args:
        stage: What is asked for.
        splits: The rows, opened.
        notes: What the plan is to say beside its figures.

    Raises:
        TrainError: rows, model or settings do not allow it.
        WorkspaceError: the folder holds a run of something else.
    """
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
    if how.pack:
        longest = int(rows.lengths.max(initial=0))
        notes += prove_packed(model, known.family, _first(learnt, rows, PROOF), settings, longest=longest)
    reason = why_all_logits(model, learnt.joined(_first(learnt, rows, 1)), settings)
    if reason is None:
        learnt = replace(learnt, learnt_only=True)
        evaluated = replace(evaluated, learnt_only=True) if evaluated is not None else None
    else:
        notes.append(f"logits are computed at every position, learnt or not: {reason}")
    if how.accumulation * machine.ranks > 1:
        prove_loss(model, learnt.joined(_first(learnt, rows, 1)))
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
    return Prepared(
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
        batch = moved(learnt.joined(_first(learnt, rows, 1)), stage.machine.place(settings))
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
        stop_if_asked(settings.undecodable, lost)
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
