"""A whole training: its dataset, its model, its stages one after the other, each in its folder."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from train.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.report import Display
    from pipeline.run import Folders
    from train.evaluation.evaluation_report import Evaluation
    from train.runs.dataset_place import DatasetPlace
    from train.runs.ready_model import ModelPlace
    from train.runs.stage import Outcome
    from train.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody wants trained."""

    settings: Settings
    base: Path
    """The folder from which paths in the settings start."""
    recipe: Path | None
    """The recipe that the settings are a part of."""
    name: str
    """Of the run."""
    runs: Path
    """The folder of all runs."""
    folders: Folders
    device: str
    """`auto`, `cpu` or `cuda`."""
    workers: int
    """Processes to build the dataset in, where it is not there yet."""
    dry_run: bool
    offline: bool
    display: Display
    say: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a training."""

    outcomes: list[Outcome]
    """Of its stages, as far as it came."""
    main: bool
    """Is this the process that tells of it?"""
    evaluation: Evaluation | None = None
    """What the trained model answers, where that was asked for."""


def run_training(asked: Asked) -> Trained:
    """Train every stage that is not done yet, and then ask the model what the settings want it asked.

    Raises:
        ShardwrightError: something does not allow it; says what to do.
    """
    ensure_torchvision()
    from train.evaluation.asked_model import quieted

    quieted()
    from train.runs.machine import this_machine
    from train.runs.ready_model import ModelPlace, known_model
    from train.runs.run_folder import RunFolder
    from train.runs.stage import Stage
    from train.runs.stage_run import run_stage

    machine = this_machine(asked.device)
    stages = asked.settings.resolved()
    names = [stage.name for stage in asked.settings.stages] or [""]
    outcomes: list[Outcome] = []
    model: ModelPlace | None = None
    for name, settings in zip(names, stages, strict=True):
        place, model = machine.one_after_another(partial(_fetched, asked, settings, model))
        folder = RunFolder(asked.runs / asked.name / name)
        stage = Stage(
            title=f"{asked.name}/{name}" if name else asked.name,
            settings=settings,
            base=asked.base,
            place=place,
            known=known_model(settings, model),
            folder=folder,
            cache=asked.folders.cache,
            machine=machine,
            display=asked.display,
            dry_run=asked.dry_run,
            say=asked.say if machine.main else _nothing,
        )
        outcomes.append(run_stage(stage))
        if outcomes[-1].interrupted:
            break
        if not asked.dry_run:
            model = ModelPlace(folder=folder.last, name=str(folder.last.absolute()), commit=None)
    machine.part()
    evaluation = None
    if stages[-1].evaluate is not None and outcomes[-1].finished and machine.main and len(outcomes) == len(stages):
        from train.evaluation.evaluation import evaluate_run

        # what was trained is loaded again from its checkpoint, so let it go first
        gc.collect()
        folder = RunFolder(outcomes[-1].plan.folder)
        evaluation = evaluate_run(
            folder.path, cache=asked.folders.cache, device=asked.device, display=asked.display, say=asked.say
        )
    return Trained(outcomes=outcomes, main=machine.main, evaluation=evaluation)


def _fetched(asked: Asked, settings: Settings, model: ModelPlace | None) -> tuple[DatasetPlace, ModelPlace]:
    """Bring the rows to this machine, and the model, if it does not come from the stage before."""
    from train.runs.dataset_place import dataset_place
    from train.runs.ready_model import model_place

    if model is None:
        with asked.display.stage("model", None, "bytes") as progress:
            model = model_place(
                settings, base=asked.base, cache=asked.folders.cache, offline=asked.offline, advance=progress.advance
            )
    place = dataset_place(
        settings.data,
        base=asked.base,
        recipe_path=asked.recipe,
        folders=asked.folders,
        workers=asked.workers,
        display=asked.display,
        offline=asked.offline,
    )
    return place, model


def _nothing(_: Any) -> None:
    """Say nothing."""
