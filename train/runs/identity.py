"""What a run is of: what has to be the same for it to go on, and the versions that it was made with."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from train.runs.machine import Machine, Precision
    from train.runs.stage_data import SplitRows
    from train.settings import Settings

FREE = frozenset(
    {
        "model",
        "revision",
        "workers",
        "report_to",
        "project",
        "save_every",
        "log_every",
        "evaluate",
        "stages",
        "undecodable",
    }
)
"""Settings that may differ when a run goes on: what they decide is told otherwise, or changes nothing of the rest."""
FREE_OF_DATA = frozenset({"dataset", "recipe", "schema", "conversation", "id"})
"""Likewise of `data`: the fingerprint of the rows says more than where they lie."""
DECIDING = (
    "adapter_config.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)
"""Files of a model beside its weights that decide what it does."""
PACKAGES = (
    "shardwright",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "torchvision",
    "bitsandbytes",
    "liger-kernel",
    "pyarrow",
    "av",
    "pillow",
    "numpy",
)


def same_of(
    settings: Settings, *, splits: dict[str, SplitRows], model: str, machine: Machine, precision: Precision
) -> dict[str, Any]:
    """Return what has to be the same for a run to go on with the same loss curve; `model` is its fingerprint."""
    plain = settings.model_dump(mode="json", by_alias=True)
    kept = {name: value for name, value in plain.items() if name not in FREE}
    kept["data"] = {name: value for name, value in plain["data"].items() if name not in FREE_OF_DATA}
    return {
        "settings": kept,
        "rows": {name: rows.data.fingerprint for name, rows in splits.items()},
        "model": model,
        "processes": machine.ranks,
        "precision": precision.name,
        "device": "cpu" if machine.cpu else "cuda",
    }


def settings_yaml(settings: Settings) -> str:
    """Return settings, resolved, as a file that can be used again; paths in it start where those of the first did."""
    import yaml

    plain = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    del plain["stages"]
    return str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=120))


def model_fingerprint(folder: Path) -> str:
    """Return a fingerprint of a model: its config and processor, and what its weights say of themselves."""
    hashed = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name in DECIDING:
            hashed.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        elif path.suffix == ".safetensors":
            with path.open("rb") as file:
                # names, types and shapes of all tensors, and the first of their bytes
                head = file.read(1 << 20)
            hashed.update(json.dumps([path.name, path.stat().st_size]).encode() + hashlib.sha256(head).digest())
    return hashed.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that decide what a training does, of what is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    import torch

    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found
