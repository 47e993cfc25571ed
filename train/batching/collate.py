"""Examples beside each other: padded on the right, with everything that the model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from train.batching.media import media_arguments
from train.families.family import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from torch import Tensor

    from train.example import Encoded
    from train.families.family import Family


def collate(examples: Sequence[Encoded], family: Family, *, pad_id: int, multiple: int = 1) -> dict[str, Any]:
    """Return a batch as arguments of the model.

    Args:
        examples: One or more.
        family: Joins their media.
        pad_id: The token that fills up shorter examples; nothing is learnt of it and nothing attends to it.
        multiple: The length of the batch is rounded up to a multiple of this, which kernels of GPUs like.

    Returns:
        `input_ids`, `attention_mask` and `labels`, [examples, length] of int64, `mm_token_type_ids` likewise where the
        family has them, and the media; `use_cache` is off, since nothing is generated.
    """
    longest = max(example.length for example in examples)
    length = -(-longest // multiple) * multiple
    batch: dict[str, Any] = {
        "input_ids": _beside([example.input_ids for example in examples], length, pad_id),
        "attention_mask": _beside([torch.ones_like(example.input_ids) for example in examples], length, 0),
        "labels": _beside([example.labels for example in examples], length, IGNORED),
        "use_cache": False,
    }
    types = [example.token_types for example in examples if example.token_types is not None]
    if types:
        assert len(types) == len(examples), "a family has types of tokens or has none"
        batch["mm_token_type_ids"] = _beside(types, length, 0)
    return batch | media_arguments(examples, family)


def _beside(rows: Sequence[Tensor], length: int, value: int) -> Tensor:
    return torch.stack([pad(row, (0, length - row.shape[0]), value=value) for row in rows])
