"""What a training is asked to be, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.report import Display
    from train.runs.dataset_place import DatasetPlace
    from train.runs.machine import Machine
    from train.runs.plan_text import TrainingPlan
    from train.runs.ready_model import KnownModel
    from train.runs.run_folder import RunFolder
    from train.settings import Settings


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
