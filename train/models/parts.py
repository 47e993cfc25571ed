"""The parts of a model, by the names of its parameters: vision tower, projector, text model, head and adapters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from train.families.family import Family

PARTS = ("vision", "projector", "text", "head", "adapters")
"""In the order in which they are shown. A head that is tied to the embeddings counts as text."""

_WRAPPER = "base_model.model."
"""What peft writes before the names of a model that it has wrapped."""
_ADAPTER = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "modules_to_save")
"""Modules that peft puts beside the layers of a model, or instead of them."""


class Count(NamedTuple):
    """Parameters of a part."""

    trainable: int
    all: int


def part_of(name: str, family: Family) -> str:
    """Return the part that a parameter belongs to, by its name in a model that peft has wrapped, or in a bare one."""
    steps = name.removeprefix(_WRAPPER).split(".")
    if any(step in _ADAPTER for step in steps):
        return "adapters"
    bare = ".".join(step for step in steps if step not in {"base_layer", "original_module"})
    # Qwen's projector lies inside its vision tower, so it is asked for first
    if any(_below(bare, prefix) for prefix in family.projector):
        return "projector"
    if _below(bare, family.vision):
        return "vision"
    return "head" if _below(bare, "lm_head") else "text"


def trainable(model: Any, family: Family) -> dict[str, Count]:
    """Count the parameters of each part, those that learn and all; 4 bits count as the number they stand for."""
    found = dict.fromkeys(PARTS, Count(0, 0))
    for name, parameter in model.named_parameters():
        part = part_of(name, family)
        size = numel(parameter)
        found[part] = Count(found[part].trainable + size * parameter.requires_grad, found[part].all + size)
    return found


def of_part(model: Any, family: Family, *parts: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters that belong to any of the parts, with their names."""
    for name, parameter in model.named_parameters():
        if part_of(name, family) in parts:
            yield name, parameter


def tied(model: Any) -> bool:
    """Say whether the head is the matrix of the embeddings."""
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def numel(parameter: Any) -> int:
    """Return how many numbers a parameter holds; bitsandbytes packs two into a byte and keeps their shape aside."""
    state = getattr(parameter, "quant_state", None)
    return math.prod(state.shape) if state is not None else int(parameter.numel())


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
