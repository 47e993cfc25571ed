"""Attention over a packed row, each sample by itself, so that no square of the whole row is computed.

For a packed row transformers (5.23) makes a mask of all its positions against all, and SDPA computes the whole of it,
what is hidden included, without its fast kernels. Here the mask is the lengths of the samples, and queries, keys and
values are cut where one ends. The lengths take the mask's way through the model, as an argument of each layer, so that
a layer that is computed a second time (`gradient_checkpointing`) has them too.

They are not told by whoever packs, but read off the very mask that transformers would have made, along two of its
diagonals: no place can be cut that the model does not hide. Every other mask (padding, a sliding window that is shorter
than a sample, a layer that is compiled) is left to transformers' own SDPA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from train.models.load import quiet
from train.models.vision_features import unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BY_SAMPLE = "sdpa_by_sample"
"""By this name transformers knows it. It looks for `sdpa` in it to check whether a model can be computed so."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What stands in the place of a packed row's mask; no tensor, so that no layer waits for a GPU to read it."""

    lengths: tuple[int, ...]


def attend_by_sample(model: Any) -> str | None:
    """Let a model's text attend by sample in packed rows; its vision tower goes on as it does.

    Args:
        model: Loaded with the attention `sdpa`; peft may have wrapped it.

    Returns:
        None, or why it goes on as it did.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    base = unwrapped(model)
    text = base.config.get_text_config()
    if text._attn_implementation != "sdpa":  # noqa: SLF001  there is no public name for it
        return f"its attention is {text._attn_implementation!r}, and not 'sdpa'"  # noqa: SLF001
    AttentionInterface.register(BY_SAMPLE, _attention)
    AttentionMaskInterface.register(BY_SAMPLE, _mask)
    _set(base, BY_SAMPLE)
    if text._attn_implementation != BY_SAMPLE:  # noqa: SLF001
        return "its class takes no other attention than its own"
    return None


def attend_whole(model: Any) -> None:
    """Let a model attend as before `attend_by_sample`."""
    _set(unwrapped(model), "sdpa")


def _set(base: Any, attention: str) -> None:
    parts = base.config.sub_configs
    # what is not named stays as it is
    names = [name for name in parts if getattr(base.config, name) is base.config.get_text_config()]
    with quiet():
        base.set_attn_implementation(dict.fromkeys(names, attention))


def _mask(**given: Any) -> Samples | Tensor | None:
    """Return the lengths of a packed row's samples, and of everything else what SDPA takes."""
    from transformers.masking_utils import sdpa_mask

    lengths = None if _is_plain(given) else _lengths(given["mask_function"], given["q_length"], given["device"])
    return Samples(lengths) if lengths is not None else sdpa_mask(**given)


def _is_plain(given: dict[str, Any]) -> bool:
    """Tell of arguments for a mask whether they cannot be of one packed row."""
    return (
        given["batch_size"] != 1
        or given["q_length"] != given["kv_length"]
        or given["q_length"] < 2
        or given["attention_mask"] is not None
        # transformers found no second sample
        or given["allow_is_causal_skip"]
        # a function that takes one position at a time
        or given["use_vmap"]
        or torch.compiler.is_compiling()
    )


def _lengths(seen: Callable[..., Tensor], length: int, device: Any) -> tuple[int, ...] | None:
    """Return how long the samples of a row are, or None where it is not made of samples that are causal in themselves.

    Args:
        seen: Of a row, a head, and positions of queries and of keys: whether these are seen by those.
        length: Of the row.
        device: Of what `seen` looks into.
    """
    places = torch.arange(length, device=device)
    before, after = places[:-1], places[1:]
    # both at once, since a GPU is waited for
    behind, ahead = torch.stack([seen(0, 0, after, before), seen(0, 0, before, after)]).cpu()
    if ahead.any():
        return None
    ends = [*((~behind).nonzero()[:, 0] + 1).tolist(), length]
    starts = [0, *ends[:-1]]
    # a window, or chunks: the last position of a sample does not see the first
    whole = seen(0, 0, torch.tensor(ends, device=device) - 1, torch.tensor(starts, device=device))
    if not whole.all():
        return None
    return tuple(end - start for start, end in zip(starts, ends, strict=True))


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
) -> tuple[Tensor, None]:
    """Return [1, positions, heads, width] of queries, keys and values of [1, heads, positions, width].

    What transformers' SDPA does about groups of heads, scale and dropout it does here: it is called for each sample.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not isinstance(attention_mask, Samples):
        found: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found
    # one cut of all, whose gradients are joined at once
    cut = [part.split(attention_mask.lengths, dim=2) for part in (query, key, value)]
    options["is_causal"] = True
    attended = [sdpa_attention_forward(module, *sample, None, **options)[0] for sample in zip(*cut, strict=True)]
    return torch.cat(attended, dim=1), None
