"""What a run's folder tells of it: settings, model and dataset, and where these lie on this machine.

run.json     "model", "commit"   the model it began with: `owner/name` and its commit, or a folder of this machine
             "dataset"           name, and commit or manifest
             "places"            {"settings": folder, "dataset": folder, "model": folder, "recipe": file or null}
             "media"             ["image", "video"]
config.yaml  the settings; paths in it start at the folder "settings"
best/ last/  checkpoints; merged/ is a model into which adapters were merged
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.workspace import read_json
from train.example import TrainError
from train.models.adapters import CONFIG as ADAPTER
from train.runs.run_folder import BEST, LAST, RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from train.feed.training_data import TrainingData
    from train.runs.dataset_place import DatasetPlace
    from train.settings import Settings

MERGED = "merged"
CHECKPOINTS = (BEST, LAST, MERGED)


def places_of(place: DatasetPlace, settings: Path, splits: Iterable[TrainingData]) -> dict[str, Any]:
    """Return what run.json says of where things lie, and of the media in the rows; `settings`: where paths start."""
    recipe = None if place.recipe is None else str(place.recipe.path.absolute())
    places = {"settings": str(settings.absolute()), "dataset": str(place.folder.absolute()), "recipe": recipe}
    kinds = {source.kind for data in splits for source in data.plan.sources if source.kind is not None}
    return {"places": places, "media": sorted(kinds)}


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """A run, or a stage of one, that has written down what it is of."""

    folder: RunFolder
    settings: Settings
    told: dict[str, Any]
    """`run.json`."""

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.told.get("title") or self.folder.path.resolve().name)

    @property
    def base(self) -> Path:
        """The folder from which paths in the settings start; this one, where that is not known."""
        said = self.told.get("places", {}).get("settings")
        return Path(said) if said else Path()

    def checkpoint(self) -> Path:
        """Return the best checkpoint, or the last where none is said to be the best.

        Raises:
            TrainError: there is none yet.
        """
        for place in (self.folder.best, self.folder.last):
            if place.is_dir():
                return place
        raise TrainError(
            f"{self.folder.path} has no checkpoint yet", hint="let the training go on until it has saved one"
        )

    def base_model(self) -> str:
        """Return the model that the run began with, as `load_model` takes it."""
        said = self.told.get("places", {}).get("model")
        if said and Path(said).is_dir():
            return str(said)
        return str(self.told.get("model") or self.settings.model)

    def first_stage(self) -> KnownRun:
        """Return the stage with which the training began, as far as the stages before this one are still there."""
        before = known_run(Path(self.base_model()))
        return self if before is None else before[0].first_stage()

    @property
    def base_commit(self) -> str | None:
        """The commit of a model of a hub."""
        said = self.told.get("commit")
        return str(said) if said else None


def known_run(path: Path) -> tuple[KnownRun, Path] | None:
    """Return the run that a folder is or belongs to, and its checkpoint that is meant; None: it is of no run.

    Raises:
        TrainError: its record cannot be read, or it has no checkpoint yet.
        UsageError: it is the folder of several stages.
    """
    if not path.is_dir():
        return None
    if (path / "run.json").is_file():
        run = _read(path)
        return run, run.checkpoint()
    above = path.parent if path.name else path.resolve().parent
    if path.resolve().name in CHECKPOINTS and (above / "run.json").is_file():
        return _read(above), path
    stages = sorted(one.parent.name for one in path.glob("*/run.json"))
    if stages and not (path / "config.json").is_file():
        allowed = ", ".join(str(path / name) for name in stages)
        raise UsageError(f"{path} is a training of {len(stages)} stages", allowed=allowed, hint="name one of them")
    return None


def is_adapter(folder: Path) -> bool:
    """Tell adapters from a whole model."""
    return (folder / ADAPTER).is_file()


def _read(path: Path) -> KnownRun:
    from train.read_settings import read_settings

    folder = RunFolder(path)
    told = read_json(folder.identity)
    if not isinstance(told, dict) or not folder.config.is_file():
        raise TrainError(
            f"{path} is no run that can be read: {folder.identity.name} or {folder.config.name} is damaged"
        )
    return KnownRun(folder=folder, settings=read_settings(folder.config, elsewhere=True), told=told)
