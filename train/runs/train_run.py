"""A whole training: its dataset, its model, its stages one after the other, each in its folder."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.report import Display
    from pipeline.run import Folders
    from train.runs.stage_run import Outcome
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
    dry_run: bool
    offline: bool
    display: Display
    say: Callable[[str], None]


def run_training(asked: Asked) -> list[Outcome]:
    """Train every stage that is not done yet; returns what came of each.

    Raises:
        ShardwrightError: something does not allow it; says what to do.
    """
    # bitsandbytes tells on standard error, when it is imported, of kernels that nobody asked for
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # a tokenizer with threads of its own does not survive the forking of workers
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    ensure_torchvision()
    from train.runs.dataset_place import dataset_place
    from train.runs.machine import this_machine
    from train.runs.ready_model import known_model
    from train.runs.run_folder import RunFolder
    from train.runs.stage_run import Stage, run_stage

    machine = this_machine(asked.device)
    stages = asked.settings.resolved()
    names = [stage.name for stage in asked.settings.stages] or [""]
    outcomes: list[Outcome] = []
    model: str | Path = model_place(asked.settings.model, asked.base)
    for name, settings in zip(names, stages, strict=True):
        place = dataset_place(
            settings.data,
            base=asked.base,
            recipe_path=asked.recipe,
            folders=asked.folders,
            workers=max(1, machine.workers(settings)),
            display=asked.display,
            offline=asked.offline,
        )
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
            model = folder.last
    return outcomes


def model_place(name: str, base: Path) -> str | Path:
    """Return where a model is: a folder, if there is one from the settings' file on or from here, or a hub's name."""
    for folder in (base / name, Path(name)):
        if folder.is_dir():
            return folder
    return name


def _nothing(_: Any) -> None:
    """Say nothing."""
