"""Which rows a model is asked: those of the run that it comes from, or of a dataset that somebody names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.checks.dataset import read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.errors import UsageError
from pipeline.load_recipe import load_recipe
from pipeline.run import Folders
from train.example import TrainError
from train.runs.dataset_place import DatasetPlace, dataset_place, open_split
from train.settings import DataSpec, Settings

if TYPE_CHECKING:
    from pipeline.report import Display
    from train.feed.training_data import TrainingData
    from train.runs.known_run import KnownRun

TEST = "test"


@dataclass(frozen=True, kw_only=True)
class WantedData:
    """Rows that somebody wants; None is what the run says, or what is usual."""

    data: str | None = None
    """A dataset folder, or one of a hub."""
    config: str | None = None
    split: str | None = None
    """None: `test`, or the split that the run was evaluated on."""
    schema: Path | None = None
    """The schema file that says how a row becomes a conversation."""
    changed: dict[str, Any] = field(default_factory=dict)
    """What else of `DataSpec` is to be otherwise: `frames`, `longest_side`, `id`."""


@dataclass(frozen=True, kw_only=True)
class OpenedRows:
    """Rows that a model can be asked."""

    data: TrainingData
    split: str
    settings: Settings
    """Of the run, or of none."""
    told: dict[str, Any]
    """What is known of the dataset, for the report."""


def open_rows(
    wanted: WantedData, run: KnownRun | None, *, model: str, cache: Path, offline: bool, display: Display
) -> OpenedRows:
    """Find a dataset and open the split that is meant; this is the only part that may use the network.

    Args:
        wanted: The rows.
        run: The run that the model comes from.
        model: Its name.
        cache: The cache's folder.
        offline: Touch no network.
        display: Shows how far it is.

    Raises:
        UsageError: nothing says which rows.
        TrainError: the dataset is not there any more, or has no such split.
        SourceError: it cannot be fetched.
    """
    settings = _settings(wanted, run, model)
    place = _place(wanted, run, cache=cache, offline=offline, display=display)
    split = wanted.split or _usual_split(place.folder, settings.data)
    base = run.base if run is not None else Path()
    data = open_split(place, settings, split, base=base, cache=cache, display=display)
    told = {**place.told, "config": settings.data.config, "split": split, "fingerprint": data.fingerprint}
    return OpenedRows(data=data, split=split, settings=settings, told=told)


def _settings(wanted: WantedData, run: KnownRun | None, model: str) -> Settings:
    settings = run.settings if run is not None else Settings(model=model)
    changed = dict(wanted.changed)
    if wanted.config is not None:
        changed["config"] = wanted.config
    if wanted.data is not None:
        changed |= {"dataset": wanted.data, "recipe": None}
    if wanted.schema is not None:
        changed |= {"table": str(wanted.schema.absolute()), "conversation": None}
    # a cache of frames serves many epochs, and these rows are looked at once
    return settings.model_copy(update={"data": settings.data.model_copy(update=changed), "frame_cache": None})


def _place(wanted: WantedData, run: KnownRun | None, *, cache: Path, offline: bool, display: Display) -> DatasetPlace:
    """Find the dataset, and the recipe that says how a row becomes a conversation."""
    places = run.told.get("places", {}) if run is not None else {}
    said = places.get("recipe")
    recipe = load_recipe(Path(said)) if said and Path(said).is_file() else None
    if wanted.data is not None:
        place = dataset_place(
            DataSpec(dataset=wanted.data),
            base=Path(),
            recipe_path=None,
            folders=Folders(work=Path("work"), out=Path("out"), cache=cache),
            workers=1,
            display=display,
            offline=offline,
        )
        return DatasetPlace(folder=place.folder, told=place.told, recipe=recipe)
    if run is None or not places:
        hint = "name them: --data FOLDER, or --data huggingface:owner/name"
        raise UsageError("nothing says which rows the model is asked", hint=hint)
    folder = Path(places["dataset"])
    if not folder.is_dir():
        raise TrainError(f"the dataset of the run is not at {folder} any more", hint="say where it is: --data FOLDER")
    return DatasetPlace(folder=folder, told=run.told.get("dataset", {}), recipe=recipe)


def _usual_split(folder: Path, data: DataSpec) -> str:
    """Return `test` where there is such a split, else the one that a run was evaluated on."""
    dataset, _ = read_dataset(LocalFiles(folder), footers=False)
    names = {split.name for split in dataset.splits if data.config in (None, split.config)} if dataset else set()
    return TEST if TEST in names or data.eval is None else data.eval
