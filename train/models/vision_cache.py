"""What a frozen vision tower makes of media, kept on disk, so that it is computed once and not in every epoch.

    <folder>/<weights>/features/ab/<sha256>.safetensors   of the media of one kind of an example, by their pixels
    <folder>/<weights>/rows/ab/<sha256>.safetensors       the example without pixels, and the names of its features

`<weights>` is a fingerprint of the frozen parts and of how features are kept: other weights are another folder, and
what lies in one is never wrong for it. Examples with the same pixels share their features, so ten questions about one
video are one computation. Everything is written to a temporary name and renamed; what is damaged counts as not there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pipeline.manifest import fingerprint
from pipeline.workspace import writing
from train.batching.collate import collate
from train.batching.looking_only import looking_only
from train.batching.media import FEATURES, PIXELS
from train.batching.moved import moved
from train.example import Encoded, RowRef, TrainError
from train.models.tensor_hash import tensor_hash
from train.models.vision_features import KINDS, compute_features, frozen_depth, take_features, unwrapped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from train.families.family import Family
    from train.models.vision_features import Depth

VERSION = 1
CLOSE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""How far logits with kept features may lie from those with pixels, as a share of the largest, by how they are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """Reads what a cache holds; needs no model, and goes to other processes."""

    folder: Path

    def get(self, key: str) -> Encoded | None:
        """Return an example with features in the place of its pixels, or None where it is not there whole.

        Args:
            key: As it was given to `VisionCache.put`.
        """
        from safetensors import SafetensorError

        try:
            tensors, told = _read(_place(self.folder / "rows", _name(key)))
            media = {name.removeprefix("media."): own for name, own in tensors.items() if name.startswith("media.")}
            for kind, name in json.loads(told["features"]).items():
                features, _ = _read(_place(self.folder / "features", name))
                media |= {f"{FEATURES}{kind}.{what}": own for what, own in features.items()}
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        return Encoded(
            row=RowRef(**json.loads(told["row"])),
            input_ids=tensors["input_ids"],
            labels=tensors["labels"],
            token_types=tensors.get("token_types"),
            media=media,
        )


class VisionCache:
    """Computes features with a model whose vision tower is frozen, and keeps them."""

    def __init__(self, folder: Path, model: Any, family: Family, *, dtype: str = "float32") -> None:
        """Look at what is frozen, and let the model take features from now on.

        Args:
            folder: Shared by all models and trainings.
            model: With the method applied, wrapped by peft or not; its frozen weights stay as they are now.
            family: Of the model.
            dtype: One of `CLOSE`: how features are kept. bfloat16 takes half the disk; it is exact where the model
                computes in it.

        Raises:
            TrainError: the vision tower learns, or drops values out at random.
        """
        assert dtype in CLOSE
        self.depth: Depth = frozen_depth(model, family)
        """What is skipped: `projector`, tower and projector; `tower`, the tower alone, since the projector learns."""
        self._model, self._family, self._dtype = model, family, dtype
        weights = _weights(model, family, self.depth)
        key = fingerprint(VERSION, family.name, self.depth, dtype, str(unwrapped(model).dtype), weights)
        self.rows = KeptRows(folder=folder / key[:32])
        """Gives back what is kept."""
        self._taking = take_features(model, family)

    def put(self, key: str, example: Encoded) -> None:
        """Keep an example; its features are computed unless there are some of the same pixels.

        Args:
            key: Names everything that the example was made from: its row's content, how frames were sampled, and the
                settings of the processor. Nothing else tells one example from another.
            example: With pixels.
        """
        told = {"row": json.dumps(asdict(example.row)), "features": json.dumps(self._features(example))}
        tensors = {"input_ids": example.input_ids, "labels": example.labels}
        if example.token_types is not None:
            tensors["token_types"] = example.token_types
        tensors |= {f"media.{name}": own for name, own in example.media.items() if name not in PIXELS}
        _write(_place(self.rows.folder / "rows", _name(key)), tensors, told)

    def prove(self, examples: Sequence[Encoded], *, pad_id: int) -> float:
        """Prove that the model gives the same with kept features as with pixels; run it before the cache is used.

        Returns:
            The largest difference of logits.

        Raises:
            TrainError: it does not, so this version of transformers ignores features, or takes them otherwise.
        """
        kept = []
        for place, example in enumerate(examples):
            self.put(f"\0proof {place}", example)
            again = self.rows.get(f"\0proof {place}")
            assert again is not None, "it was written just now"
            kept.append(replace(again, row=example.row))
        with looking_only(self._model):
            given = [_logits(self._model, collate(own, self._family, pad_id=pad_id)) for own in (examples, kept)]
        pixels, features = given
        largest, apart = float(pixels.abs().max()), float((pixels - features).abs().max())
        if not apart <= CLOSE[self._dtype] * largest:
            raise TrainError(
                f"with kept features the model gives other logits than with pixels: they differ by {apart:.3g}, of at "
                f"most {largest:.3g}",
                hint="train without the cache, or with transformers from 5.23 on",
            )
        return apart

    def close(self) -> None:
        """Let the model take pixels only again."""
        self._taking.remove()

    def _features(self, example: Encoded) -> dict[str, str]:
        """Return the name of the features of each kind of media; they are on disk then."""
        names = {}
        for kind, (_, tensors) in KINDS.items():
            of_kind = {name: example.media[name] for name in tensors if name in example.media}
            if tensors[0] not in of_kind:
                continue
            names[kind] = _name(*(f"{name} {tensor_hash(own)}" for name, own in of_kind.items()))
            place = _place(self.rows.folder / "features", names[kind])
            if not _is_whole(place):
                found = compute_features(self._model, self._family, of_kind, self.depth)
                prefix = f"{FEATURES}{kind}."
                _write(place, {name.removeprefix(prefix): self._as_kept(own) for name, own in found.items()}, {})
        return names

    def _as_kept(self, features: Tensor) -> Tensor:
        return features.to("cpu", getattr(torch, self._dtype)).contiguous()


def _weights(model: Any, family: Family, depth: Depth) -> str:
    """Return a hash of the weights that features are computed with."""
    base = unwrapped(model)
    prefixes = [family.vision, *(family.projector if depth == "projector" else ())]
    state = {
        f"{prefix}.{name}": own
        for prefix in prefixes
        for name, own in base.get_submodule(prefix).state_dict().items()
        if depth == "projector" or not f"{prefix}.{name}".startswith(tuple(f"{one}." for one in family.projector))
    }
    hashed = hashlib.sha256()
    for name in sorted(state):
        hashed.update(f"{name} {tensor_hash(state[name])} ".encode())
    # sizes of patches and windows stand in the config alone
    hashed.update(json.dumps(base.config.vision_config.to_dict(), sort_keys=True, default=str).encode())
    return hashed.hexdigest()


def _name(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _place(folder: Path, name: str) -> Path:
    return folder / name[:2] / f"{name}.safetensors"


def _is_whole(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return bool(file.keys())
    except (FileNotFoundError, SafetensorError):
        return False


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  no dict


def _write(path: Path, tensors: dict[str, Tensor], told: dict[str, str]) -> None:
    from safetensors.torch import save_file

    with writing(path, sync=False) as temporary:
        save_file({name: own.contiguous() for name, own in tensors.items()}, temporary, metadata=told)


def _logits(model: Any, batch: dict[str, Any]) -> Tensor:
    logits: Tensor = model(**moved(batch, model.device)).logits
    return logits[batch["attention_mask"].bool()].float().cpu()
