"""What frozen parts make of media: computed apart from the rest of a model, and given to it in their place.

    pixels ──▶ vision tower ──▶ projector ──▶ text model
                           │              └── depth "projector": neither of the two learns
                           └── depth "tower": the projector learns, and is run at every step

All families take features through `mm_encoder_outputs`, which transformers has from 5.23 on. Older versions ignore it,
and the model then sees the embeddings of placeholders; that is why a cache is proved before it is used.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from train.batching.media import FEATURES
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from train.families.family import Family

Depth = Literal["tower", "projector"]

KINDS = {
    "image": ("get_image_features", ("pixel_values", "pixel_attention_mask", "image_grid_thw")),
    "video": ("get_video_features", ("pixel_values_videos", "video_grid_thw")),
}
"""Kind of media -> the method that computes features, and its arguments, the pixels first."""
POOLED, DEEP = "pooled", "deep."
"""Features behind the projector: one for each placeholder; and those that go into deeper layers of the text model."""
_RATES = ("p", "dropout", "attention_dropout", "drop_path_rate")
"""Attributes of modules that say how much they drop out."""


def unwrapped(model: Any) -> Any:
    """Return the model that peft has wrapped, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def frozen_depth(model: Any, family: Family) -> Depth:
    """Return how far what becomes of a medium stays the same through a training.

    Raises:
        TrainError: the vision tower learns, or drops something out, so that nothing stays the same.
    """
    base = unwrapped(model)
    learning = [name for name, parameter in base.named_parameters() if parameter.requires_grad]
    projector = [name for name in learning if name.startswith(tuple(f"{prefix}." for prefix in family.projector))]
    tower = [name for name in learning if name.startswith(f"{family.vision}.") and name not in projector]
    if tower:
        raise TrainError(
            f"what becomes of media cannot be kept: the vision tower learns ({tower[0]})",
            hint="choose a method that freezes it, or train without the cache",
        )
    for name, module in base.get_submodule(family.vision).named_modules():
        rates = [getattr(module, key, 0) for key in _RATES]
        if any(isinstance(rate, int | float) and rate > 0 for rate in rates):
            raise TrainError(
                f"what becomes of media cannot be kept: {family.vision}.{name} drops values out at random",
                hint="set its dropout to 0 in the model's config.json, or train without the cache",
            )
    return "tower" if projector else "projector"


@torch.no_grad()
def compute_features(model: Any, family: Family, media: dict[str, Tensor], depth: Depth) -> dict[str, Tensor]:
    """Return the features of an example's media, by names that begin with FEATURES, on the model's device.

    Args:
        model: With its weights as they stay.
        family: Of the model.
        media: `Encoded.media`, with pixels.
        depth: What `frozen_depth` says.
    """
    base = unwrapped(model)
    found: dict[str, Tensor] = {}
    for kind, (method, names) in KINDS.items():
        if names[0] not in media:
            continue
        given = {name: media[name].to(base.device) for name in names if name in media}
        inputs: dict[str, Tensor] = {}
        hooks = [_noting(module, name, inputs) for name, module in _projectors(base, family)]
        try:
            output = getattr(base.model, method)(**given, return_dict=True)
        finally:
            for hook in hooks:
                hook.remove()
        if depth == "tower":
            features = {name: _in_order(base, family, value, given) for name, value in inputs.items()}
        else:
            features = {POOLED: _flat(output.pooler_output)}
            for layer, deep in enumerate(getattr(output, "deepstack_features", None) or ()):
                features[f"{DEEP}{layer}"] = _flat(deep)
        found |= {f"{FEATURES}{kind}.{name}": value for name, value in features.items()}
    return found


def take_features(model: Any, family: Family) -> Any:
    """Let a model take batches with features; returns a handle whose `remove` ends it.

    It works inside other wrappers too, since the projector, where it learns, is run within the model's own forward.
    """
    base = unwrapped(model)

    def given(_inner: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        outputs = named.get("mm_encoder_outputs")
        if not outputs:
            return arguments, named
        # `generate` gives what the model itself made of media, which is a dict of another class
        made = {
            kind: _output(base, family, features) if type(features) is dict else features
            for kind, features in outputs.items()
        }
        return arguments, named | {"mm_encoder_outputs": made}

    return base.model.register_forward_pre_hook(given, with_kwargs=True)


def _output(base: Any, family: Family, features: dict[str, Tensor]) -> Any:
    """Return features as the model's own method returns them."""
    if POOLED not in features:
        projected = [_projected(module, features[name]) for name, module in _projectors(base, family)]
        features = {POOLED: projected[0]} | {f"{DEEP}{layer}": deep for layer, deep in enumerate(projected[1:])}
    layers = sorted((name for name in features if name.startswith(DEEP)), key=lambda name: int(name.removeprefix(DEEP)))
    deep = [[features[name]] for name in layers]
    # those that count media by grids join a sequence of tensors, the others take one
    pooled: Any = features[POOLED]
    return SimpleNamespace(pooler_output=(pooled,) if family.place is not None else pooled, deepstack_features=deep)


def _projectors(base: Any, family: Family) -> Iterator[tuple[str, Any]]:
    """Yield the modules that are called between vision tower and text model, the one that all features pass first."""
    for prefix in family.projector:
        module = base.get_submodule(prefix)
        if isinstance(module, nn.ModuleList):
            yield from ((f"{prefix}.{place}", one) for place, one in enumerate(module))
        else:
            yield prefix, module


def _noting(module: Any, name: str, inputs: dict[str, Tensor]) -> Any:
    def note(_module: Any, arguments: tuple[Tensor, ...]) -> None:
        inputs[name] = arguments[0]

    return module.register_forward_pre_hook(note)


def _projected(module: Any, features: Tensor) -> Tensor:
    dtype = next(module.parameters()).dtype
    projected: Tensor = module(features.to(dtype))
    return projected.reshape(-1, projected.shape[-1])


def _flat(features: Any) -> Tensor:
    """Return [placeholders, width] of one tensor, or of one for each medium."""
    joined = torch.cat([one.reshape(-1, one.shape[-1]) for one in features])
    return joined.reshape(-1, joined.shape[-1])


def _in_order(base: Any, family: Family, features: Tensor, given: dict[str, Tensor]) -> Tensor:
    """Return what goes into a projector in the order in which it comes out as features.

    Qwen2.5-VL's tower works on windows, and puts what the projector gives back into order.
    """
    if family.name != "qwen2_5_vl":
        return features
    from transformers.vision_utils import get_vision_window_index

    tower = base.get_submodule(family.vision)
    grid = next(value for name, value in given.items() if name.endswith("_grid_thw"))
    order, _ = get_vision_window_index(
        grid, spatial_merge_size=tower.spatial_merge_size, window_size=tower.window_size, patch_size=tower.patch_size
    )
    joined = features.reshape(-1, tower.spatial_merge_unit, features.shape[-1])
    return joined[torch.argsort(order)].reshape(features.shape)
