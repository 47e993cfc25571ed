"""Examples behind each other in one row, which do not see each other; and the proof that they do not.

transformers (5.23) tells packed examples apart by position ids that begin anew, in all its attention functions, but
only where neither an attention mask nor a cache is given. With either, they silently attend to each other. Hence `pack`
gives no mask and turns the cache off, and `prove_packing` looks at what a model really does.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from train.batching.looking_only import looking_only
from train.batching.media import media_arguments
from train.batching.moved import moved
from train.example import TrainError
from train.families.family import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Encoded
    from train.families.family import Family

CLOSE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far the logits of a packed example may lie from those of the same alone, as a share of the largest logit.

Rows of other lengths are added up in another order: 3e-7 was seen in float32 on a processor."""
MOST = 256
"""Positions of an example that are looked at: a vocabulary is large."""
UNMOVED = 1e-6
"""How far the logits of an example may move when another one in its row changes, as a share of the largest logit.

Hidden positions are multiplied by exactly zero, so nothing moves in any precision where nothing leaks."""


def pack(examples: Sequence[Encoded], family: Family, config: Any) -> dict[str, Any]:
    """Return one packed row as arguments of the model.

    Args:
        examples: One or more, in the order in which they lie behind each other.
        family: Joins their media, and knows their positions.
        config: Of the whole model, `model.config`.

    Returns:
        `input_ids` and `labels`, [1, length] of int64, `position_ids` of [1, length] or [4, 1, length] that begin anew
        with every example, and the media. There is no attention mask, and `use_cache` is off.
    """
    labels = [example.labels.clone() for example in examples]
    for own in labels:
        # the first token would be predicted from the last one of the example before
        own[0] = IGNORED
    row = {
        "input_ids": torch.cat([example.input_ids for example in examples])[None],
        "labels": torch.cat(labels)[None],
        "position_ids": torch.cat([family.positions(config, example) for example in examples], dim=-1),
        "use_cache": False,
    }
    return row | media_arguments(examples, family)


def prove_packing(model: Any, family: Family, examples: Sequence[Encoded]) -> float:
    """Prove that packed examples give what they give alone, and that none moves when another one changes.

    Run it once, with real examples, before a training that packs.

    Returns:
        The largest difference between logits of an example packed and alone.

    Raises:
        TrainError: examples in one row see each other, or are seen otherwise than alone, in this model.
    """
    assert len(examples) > 1, "one example has no other to see"
    first, *others = examples
    with looking_only(model):
        packed = _logits(model, family, examples)
        alone = torch.cat([_logits(model, family, [example]) for example in examples])
        changed = _logits(model, family, [_otherwise(first), *others])
    largest = float(alone.abs().max())
    behind = len(_looked_at(first))
    moved = float((changed[behind:] - packed[behind:]).abs().max())
    apart = float((packed - alone).abs().max())
    attention = model.config.get_text_config()._attn_implementation  # noqa: SLF001  there is no public name for it
    if not moved <= UNMOVED * largest:
        raise TrainError(
            f"examples packed into one row see each other: with the attention {attention!r}, a change in one moved the "
            f"logits of the next by {moved:.3g}",
            hint="train without packing, or with the attention 'sdpa'",
        )
    if not apart <= CLOSE.get(model.dtype, 5e-2) * largest:
        raise TrainError(
            f"examples packed into one row are not seen as they are alone: with the attention {attention!r} their "
            f"logits differ by {apart:.3g}, of at most {largest:.3g}",
            hint="train without packing, or with the attention 'sdpa'",
        )
    return apart


def _otherwise(example: Encoded) -> Encoded:
    """Return an example of the same length and media that says something else."""
    ids = example.input_ids.clone()
    ids[example.labels != IGNORED] = ids[0]
    assert not torch.equal(ids, example.input_ids), "an answer is not the token that examples begin with"
    return replace(example, input_ids=ids)


def _logits(model: Any, family: Family, examples: Sequence[Encoded]) -> Tensor:
    """Return [positions, vocabulary] of a packed row, for the positions that are looked at."""
    row = pack(examples, family, model.config)
    del row["labels"]
    starts = [0, *accumulate(example.length for example in examples)]
    kept = [start + _looked_at(example) for start, example in zip(starts, examples, strict=False)]
    logits: Tensor = model(**moved(row | {"logits_to_keep": torch.cat(kept)}, model.device)).logits
    return logits[0].float().cpu()


def _looked_at(example: Encoded) -> Tensor:
    """Return the positions of an example from which its learnt tokens are predicted; of very many, the last."""
    return (example.labels[1:] != IGNORED).nonzero()[-MOST:, 0]
