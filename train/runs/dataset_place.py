"""Where the rows of a training lie: the dataset of a recipe, a folder, or a snapshot of a hub; and its open splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.document import nearest
from pipeline.errors import UsageError
from pipeline.load_recipe import load_recipe
from pipeline.media.probe import hash_file
from pipeline.run import Folders, build_dataset
from train.example import TrainError
from train.feed.fetch_dataset import fetch_dataset
from train.feed.frame_sampling import FrameSampling
from train.feed.open_data import open_training_data

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.recipe import Recipe
    from pipeline.report import Display
    from pipeline.rows.conversation_view import Conversation
    from train.feed.training_data import TrainingData
    from train.settings import DataSpec, Settings


@dataclass(frozen=True, kw_only=True)
class DatasetPlace:
    """A dataset on this machine."""

    folder: Path
    told: dict[str, Any] = field(default_factory=dict)
    """What the run's record says of it: its name, and the commit or manifest it is of."""
    recipe: Recipe | None = None


def dataset_place(
    data: DataSpec,
    *,
    base: Path,
    recipe_path: Path | None,
    folders: Folders,
    workers: int,
    display: Display,
    offline: bool,
) -> DatasetPlace:
    """Find a training's dataset; one of a recipe is built if it is not there yet, one of a hub is fetched.

    Args:
        data: What the settings say of it.
        base: The folder from which paths in the settings start.
        recipe_path: The recipe that the settings are a part of.
        folders: Where datasets are built.
        workers: Processes to build in.
        display: Shows how far that is.
        offline: Touch no network for it.

    Raises:
        ShardwrightError: it cannot be built, fetched or found.
    """
    if recipe_path is None and data.recipe is not None:
        recipe_path = base / data.recipe
    if recipe_path is not None:
        if not recipe_path.is_file():
            raise UsageError(
                f"there is no recipe {recipe_path}", hint="mend `data.recipe`; paths start at the settings' file"
            )
        return _of_recipe(recipe_path, folders, workers=workers, display=display, offline=offline)
    if data.dataset is None:
        raise TrainError(
            "nothing says which rows are learnt from", hint="write `data: {dataset: …}` or `data: {recipe: …}`"
        )
    folder = base / data.dataset
    if folder.is_dir():
        return DatasetPlace(folder=folder, told={"name": folder.resolve().name})
    if ":" not in data.dataset and data.dataset.count("/") != 1:
        hint = "paths start at the settings' file; a dataset of a hub is huggingface:owner/name"
        raise UsageError(f"there is no dataset folder {folder}", hint=hint)
    with display.stage("fetch", None, "bytes") as progress:
        found = fetch_dataset(data.dataset, folders.cache, offline=offline, advance=progress.advance)
    told = {"name": found.repo, "commit": found.commit, **({"note": found.note} if found.note else {})}
    return DatasetPlace(folder=found.folder, told=told)


def _of_recipe(path: Path, folders: Folders, *, workers: int, display: Display, offline: bool) -> DatasetPlace:
    recipe = load_recipe(path)
    folder = folders.out / recipe.name
    if not (folder / "README.md").is_file():
        build_dataset(path, folders, workers=workers, display=display, offline=offline)
    manifest = folders.work / recipe.name / "manifest.json"
    told: dict[str, Any] = {"name": recipe.name}
    if manifest.is_file():
        told["manifest_sha256"] = hash_file(manifest)[0]
    return DatasetPlace(folder=folder, told=told, recipe=recipe)


def open_split(
    place: DatasetPlace, settings: Settings, split: str, *, base: Path, cache: Path, display: Display
) -> TrainingData:
    """Open a split as the settings want its rows.

    Raises:
        TrainError: there is no such config or split, or its rows become no conversations.
        RecipeError: mistakes in the schema.
    """
    data = settings.data
    config = data.config
    with display.stage("look", None, "media") as progress:
        return open_training_data(
            place.folder,
            config=config,
            split=split,
            conversation=_conversation(place, data, base),
            frames=FrameSampling(**data.frames.model_dump()),
            longest_side=data.longest_side,
            id_column=data.id,
            cache=cache,
            frame_cache=settings.frame_cache,
            advance=progress.advance,
        )


def _conversation(place: DatasetPlace, data: DataSpec, base: Path) -> Conversation | None:
    """Return how a row becomes a conversation: as the settings say, or as the recipe's schema does."""
    if data.conversation is not None:
        said: Conversation = data.conversation
        return said
    if data.table is not None:
        if data.table.endswith((".yaml", ".yml")):
            return base / data.table
        places = [
            base / "schemas" / f"{data.table}.yaml",
            *(up / "schemas" / f"{data.table}.yaml" for up in base.parents[:2]),
        ]
        for path in places:
            if path.is_file():
                return path
        others = {one.stem for path in places for one in path.parent.glob("*.yaml")}
        raise UsageError(f"there is no schema {data.table!r}", hint=nearest(data.table, others))
    if place.recipe is not None:
        configs = place.recipe.configs
        name = data.config or (next(iter(configs)) if len(configs) == 1 else None)
        if name in configs:
            return configs[name].schema
    return None
