"""The model of a stage, ready to learn: loaded, with its method, on its device; and what is known before that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.document import shown
from train.example import TrainError
from train.models.download import download_model, is_downloaded
from train.models.liger import apply_liger
from train.models.load import family_of, load_model, load_processor, model_folder
from train.models.methods import Method, apply_method
from train.runs.identity import model_fingerprint
from train.runs.processor_options import with_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.sources.hub import HubName
    from train.families.family import Family
    from train.runs.machine import Machine, Precision
    from train.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ModelPlace:
    """Where a model lies."""

    folder: Path
    name: str
    """`owner/name` on its hub, or the path of its folder."""
    commit: str | None
    """Of the hub's repository."""


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model that is not loaded yet."""

    place: ModelPlace
    family: Family
    processor: Any
    config: Any
    fingerprint: str
    """Of everything that decides what it does."""

    @property
    def positions(self) -> int | None:
        """Tokens that it has positions for."""
        found = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return int(found) if found else None


def model_place(
    settings: Settings, *, base: Path, cache: Path, offline: bool, advance: Callable[[int], None] = lambda _: None
) -> ModelPlace:
    """Find the model of the settings: a folder, what the Hugging Face client has in its cache, or on its hub.

    Args:
        settings: They say its name and revision.
        base: The folder from which paths in the settings start.
        cache: Where models are brought to.
        offline: Touch no network for it.
        advance: Called with the bytes of each file that has come.

    Raises:
        TrainError: it is nowhere, or no model that can be trained.
        SourceError: the hub does not give it.
    """
    return found_model(
        settings.model, settings.revision, base=base, cache=cache, offline=offline, check=family_of, advance=advance
    )


def found_model(
    said: str,
    revision: str | None,
    *,
    base: Path,
    cache: Path,
    offline: bool,
    check: Callable[[Path], object],
    advance: Callable[[int], None] = lambda _: None,
) -> ModelPlace:
    """Find a model by what somebody calls it, as `model_place` does; `check` as `download_model` has it."""
    for folder in (base / said, Path(said)):
        if folder.is_dir():
            found = model_folder(folder).absolute()
            return ModelPlace(folder=found, name=str(found), commit=None)
    hub, _, name = said.rpartition(":")
    if hub not in ("", "huggingface", "modelscope") or name.count("/") != 1:
        raise TrainError(
            f"there is no model {shown(said)}",
            allowed="a folder (from the settings' file or from here), owner/name, or modelscope:owner/name",
        )
    try:
        if hub == "modelscope":
            raise TrainError(
                f"the model {shown(said)} is not on this machine", hint="let it be fetched, without --offline"
            )
        folder = model_folder(name, revision)
    except TrainError:
        where: HubName = "modelscope" if hub == "modelscope" else "huggingface"
        models = cache / "train" / "models"
        if offline and not is_downloaded(name, models, hub=where, revision=revision):
            raise
        folder = download_model(name, models, hub=where, revision=revision, check=check, advance=advance)
    # both name the folder of a snapshot by its commit
    return ModelPlace(folder=folder, name=name, commit=folder.name.partition("-")[0])


def known_model(settings: Settings, place: ModelPlace) -> KnownModel:
    """Return a model's family and processor, without its weights.

    Raises:
        TrainError: its family is not known, or an option of the processor is none.
    """
    from transformers import AutoConfig

    from train.families.registry import families, family_for

    folder = place.folder
    if settings.family is not None:
        named = {family.name: family for family in families()}
        family = named.get(settings.family) or family_for(settings.family)
    else:
        family = family_of(folder)
    processor = with_options(load_processor(folder), settings.processor)
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return KnownModel(
        place=place,
        family=family,
        processor=processor,
        config=config,
        fingerprint=model_fingerprint(folder),
    )


def method_of(settings: Settings) -> Method:
    """Return the method that the settings ask for."""
    return Method(kind=settings.method, lora=settings.lora, checkpointing=settings.gradient_checkpointing)


def ready_model(
    known: KnownModel,
    settings: Settings,
    *,
    machine: Machine,
    precision: Precision,
    weights: Path | None = None,
    liger_batch: Any = None,
) -> Any:
    """Return the model with what learns set to learn.

    Args:
        known: What was found out before.
        settings: Of the stage.
        machine: Says where it is loaded to.
        precision: Says in what.
        weights: A folder with other weights of the same model: a checkpoint to go on from.
        liger_batch: A batch by which Liger's kernels are proved, where they are wanted.

    Raises:
        TrainError: it cannot be had like this on this machine.
    """
    from transformers import set_seed

    # new adapters are drawn, and a run that goes on draws the same ones before it reads its own
    set_seed(settings.seed)
    method = method_of(settings)
    loaded = load_model(
        weights or known.place.folder,
        family=known.family,
        dtype=precision.dtype,
        attention=settings.attention,
        quantise=method.quantise,
        device=machine.place(settings),
    )
    if settings.liger:
        apply_liger(loaded.model, liger_batch)
    return apply_method(loaded.model, known.family, method)
