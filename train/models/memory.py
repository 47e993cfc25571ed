"""How much memory a step of a training takes, from the model's shapes: an estimate, in bytes, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from train.models.vision_features import unwrapped

if TYPE_CHECKING:
    from train.families.family import Family

Optimizer = Literal["adamw", "adamw_8bit", "sgd"]

_NORMED = 4
"""Bytes of a number within a norm, which is computed in float32."""
_OF_LOSS = 12
"""Bytes for each logit in float32: itself, its logarithm of the softmax, and its gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What the forward keeps for the way back, at its largest."""

    @property
    def total(self) -> int:
        """All parts together."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimated_memory(
    model: Any,
    family: Family,
    *,
    tokens: int,
    patches: int = 0,
    optimizer: Optimizer = "adamw",
    half: bool = False,
) -> Memory:
    """Return what a step takes, for a model with its method applied; one on torch's `meta` device will do.

    Weights and gradients are counted as they are. AdamW keeps two numbers of a parameter's own type for each that
    learns, in 8 bits two bytes. Activations follow `activation_bytes`.

    Left out: what CUDA, its libraries and kernels take for themselves (0.5 to 2 GB), fragments of the allocator, the
    passing needs of a frozen vision tower, copies that an attention other than sdpa or flash makes, what is kept for
    the sake of communication, and adapters' dropout. On tiny models it was 0.87 to 1.29 times the
    peak that torch's profiler shows.

    Args:
        model: With what learns set to learn.
        family: Of the model.
        tokens: Of a batch on the device, padding counted.
        patches: Of the vision tower in the batch; they only count where it learns.
        optimizer: Whose states are counted.
        half: Is computed in 16 bits, whatever the weights are kept in?
    """
    learning = [own for own in model.parameters() if own.requires_grad]
    return Memory(
        weights=sum(own.numel() * own.element_size() for own in (*model.parameters(), *model.buffers())),
        gradients=sum(own.numel() * own.element_size() for own in learning),
        optimizer=sum(own.numel() * _state_bytes(optimizer, own.element_size()) for own in learning),
        activations=activation_bytes(model, family, tokens=tokens, patches=patches, half=half),
    )


def _state_bytes(optimizer: Optimizer, size: int) -> int:
    return {"adamw": 2 * size, "adamw_8bit": 2, "sgd": 0}[optimizer]


def activation_bytes(model: Any, family: Family, *, tokens: int, patches: int = 0, half: bool = False) -> int:
    """Return the bytes that are kept for the way back.

    With b bytes a number, and for a text layer its width h, query width q, key width k and inner width i:

        layer       b (2h + 2q + 2k + 4i) + 8h                 a token: inputs of linear layers and of the attention
        adapters    4 (5h + q + i)                             a token and layer, where they are wider than b
        tower       b (9h + 2i)                                a patch and layer, where the vision tower learns
        logits      (b + 12) vocabulary                        a token

    With checkpointing a layer keeps b h a token; above that is one layer as a whole, or the logits, whichever is more.
    """
    base = unwrapped(model)
    text = base.config.get_text_config()
    b = 2 if half else base.dtype.itemsize
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    h, i = text.hidden_size, text.intermediate_size
    q, k = text.num_attention_heads * head, text.num_key_value_heads * head
    layer = b * (2 * h + 2 * q + 2 * k + 4 * i) + 2 * _NORMED * h
    if any(".lora_A." in name and own.element_size() > b for name, own in model.named_parameters()):
        layer += 4 * (5 * h + q + i)
    again = base.is_activation_checkpointing
    kept = text.num_hidden_layers * tokens * (b * h if again else layer)
    above = [tokens * layer if again else 0]
    if patches and any(own.requires_grad for own in base.get_submodule(family.vision).parameters()):
        vision = base.config.vision_config
        width = getattr(vision, "embed_dim", None) or vision.hidden_size
        inner = getattr(vision, "intermediate_size", None) or int(width * vision.mlp_ratio)
        depth = getattr(vision, "depth", None) or vision.num_hidden_layers
        patch = b * (9 * width + 2 * inner)
        kept += depth * patches * (b * width if again else patch)
        above.append(patches * patch if again else 0)
    return int(kept + max(*above, tokens * (b + _OF_LOSS) * text.vocab_size))
