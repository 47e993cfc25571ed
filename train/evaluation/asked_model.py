"""Models that are asked: a run's checkpoint, adapters, a merged or a released model; found on this disk, and opened."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.document import shown
from pipeline.errors import UsageError
from pipeline.media.probe import hash_file
from pipeline.workspace import read_json
from train.example import TrainError
from train.families.registry import families, family_for
from train.models.adapters import CONFIG, read_adapters
from train.models.load import family_of, load_model, load_processor, model_folder
from train.runs.identity import DECIDING, model_fingerprint
from train.runs.known_run import is_adapter, known_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from train.families.family import Family
    from train.runs.known_run import KnownRun

BASE = "base"
"""The name of the model that adapters, or a run, began with."""


class Device(NamedTuple):
    """What a model is computed on."""

    name: str
    """`cpu` or `cuda`."""
    dtype: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A model that is found and not loaded yet."""

    title: str
    """What it is, for people."""
    base: Path
    """The folder of a whole model."""
    adapter: Path | None = None
    """The folder of the adapters beside it."""
    processor: Any
    family: Family
    quantise: bool = False
    """Is it held in 4 bits, as its adapters learnt beside it?"""
    attention: str = "sdpa"
    run: KnownRun | None = None
    """The run that it comes from."""
    part: str = ""
    """What of the run it is: `best`, `last` or `merged`."""

    @functools.cached_property
    def positions(self) -> int | None:
        """Tokens that it has positions for."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(str(self.base), local_files_only=True, trust_remote_code=False)
        found = getattr(config.get_text_config(), "max_position_embeddings", None)
        return int(found) if found else None

    def fingerprint(self) -> str:
        """Return what tells it from every other: of its weights every byte, as checkpoints of a run are much alike."""
        hashed = hashlib.sha256(repr((self.quantise, self.processor.to_dict())).encode())
        for folder in filter(None, (self.base, self.adapter)):
            for path in sorted(folder.iterdir()):
                if path.name in DECIDING or path.suffix == ".safetensors":
                    hashed.update(f"{path.name} {hash_file(path)[0]}\n".encode())
        return hashed.hexdigest()


def asked_model(name: str, *, revision: str | None = None) -> AskedModel:
    """Find a model: the folder of a run, of one of its checkpoints, of adapters or a model, or `owner/name`.

    Raises:
        TrainError: it, or the model that its adapters are for, is not on this disk or of no known family.
        UsageError: there is no such folder.
    """
    path = Path(name)
    found = known_run(path)
    if found is None:
        if path.is_dir() and is_adapter(path):
            return _beside(path)
        if not path.is_dir() and (path.is_absolute() or name.count("/") != 1):
            raise UsageError(f"there is no folder {shown(name)}", allowed="a run, a model, adapters, or owner/name")
        return _whole(on_disk(name, revision), name)
    run, folder = found
    settings = run.settings
    part = folder.resolve().name
    title = f"{run.name} ({part})"
    if not is_adapter(folder):
        whole = _whole(folder, title, family=settings.family)
        return replace(whole, attention=settings.attention, run=run, part=part)
    base = on_disk(run.base_model(), run.base_commit)
    known = run.told.get("same", {}).get("model")
    if known and known != model_fingerprint(base):
        raise TrainError(
            f"the model in {base} is not the one that {run.name} began with, so its adapters would be for another",
            hint="bring back the model that run.json names",
        )
    whole = _whole(base, title, family=settings.family, processor=folder)
    quantise = settings.method == "qlora"
    whole = replace(whole, adapter=folder, quantise=quantise)
    return replace(whole, attention=settings.attention, run=run, part=part)


def baseline_of(model: AskedModel, name: str = BASE) -> AskedModel:
    """Return the model that another one is compared with: by its name, or `base`, what it was trained from.

    Raises:
        TrainError: it is not on this disk, or nobody knows what the model was trained from.
    """
    if name != BASE:
        return asked_model(name)
    if model.run is None and model.adapter is None:
        raise TrainError(
            f"what {model.title} was trained from is not known, as it belongs to no run",
            hint="name it: --baseline FOLDER or --baseline owner/name; or write --baseline none",
        )
    if model.run is None:
        return replace(model, adapter=None, title="the model that the adapters are for")
    first = model.run.first_stage()
    base = on_disk(first.base_model(), first.base_commit)
    title = str(first.told["model"]) if first.base_commit else base.name
    if base == model.base:
        return replace(model, adapter=None, title=f"the base model, {title}")
    whole = _whole(base, f"the base model, {title}", family=first.settings.family)
    # what it is shown is resized as the training had it
    return replace(whole, processor=model.processor, attention=model.attention)


def on_disk(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model that is on this disk.

    Raises:
        TrainError: it is not; says how it is fetched.
    """
    try:
        return model_folder(name, revision)
    except TrainError as error:
        if not Path(name).is_absolute() and name.count("/") == 1:
            at = f" --revision {revision}" if revision else ""
            error.hint = f"fetch it, which uses the network: hf download {name}{at}"
        raise


@contextmanager
def opened(model: AskedModel, device: Device, *, kept: dict[str, Any] | None = None) -> Iterator[Any]:
    """Load a model, and give it ready to answer.

    `kept` holds what was loaded before, between two models that share a base: it is used again, or let go.

    Raises:
        TrainError: it cannot be had like this on this machine, or its adapters do not fit.
    """
    kept = {} if kept is None else kept
    key = f"{model.base} {model.quantise} {device}"
    if kept.get("key") != key or kept.get("adapter") is not None:
        kept.clear()
        loaded = load_model(
            model.base,
            family=model.family,
            dtype=device.dtype,
            attention=model.attention if device.name != "cpu" else "sdpa",
            quantise=model.quantise,
            device=device.name,
        )
        kept |= {"key": key, "model": loaded.model}
    if model.adapter is not None:
        kept |= {"model": read_adapters(kept["model"], model.adapter), "adapter": model.adapter}
    try:
        yield kept["model"].eval()
    finally:
        if model.adapter is not None:
            kept.clear()


def device_for(asked: str, *, precision: str = "auto") -> Device:
    """Return what models are computed on: `auto` takes a GPU where there is one.

    Raises:
        UsageError: there is no GPU, and one is asked for.
    """
    import torch

    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UsageError("there is no GPU here", allowed="--device cpu, which is slow")
    name = "cuda" if there and asked != "cpu" else "cpu"
    kinds = {"fp32": "float32", "bf16": "bfloat16"}
    dtype = kinds.get(precision) or ("bfloat16" if name == "cuda" and torch.cuda.is_bf16_supported() else "float32")
    note = "there is no GPU here: answers are computed on the processor" if name == "cpu" and asked == "auto" else ""
    return Device(name, dtype, note)


def _whole(folder: Path, title: str, *, family: str | None = None, processor: Path | None = None) -> AskedModel:
    from train.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    named = {one.name: one for one in families()}
    known = family_of(folder) if family is None else named.get(family) or family_for(family)
    return AskedModel(title=title, base=folder, processor=load_processor(processor or folder), family=known)


def _beside(folder: Path) -> AskedModel:
    """Return adapters of no run, beside the model that their config names."""
    told = read_json(folder / CONFIG)
    base = told.get("base_model_name_or_path") if isinstance(told, dict) else None
    if not base:
        raise TrainError(f"{folder / CONFIG} does not say which model the adapters are for")
    own = any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))
    whole = _whole(on_disk(base, told.get("revision")), folder.name, processor=folder if own else None)
    return replace(whole, adapter=folder)


def quieted() -> None:
    """Keep libraries from telling what nobody asked for, and from threads that forked processes do not survive."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
