"""Batches of examples: padded without changing what a model makes of any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.train.tiny_rows import FAMILIES, loaded
from train.batching.collate import collate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_no_example(name: str, tiny: Callable[[str], Path]) -> None:
    """The logits of an example in a padded batch of videos, images and text are those of the example alone."""
    model, _, family, encoded = rows = loaded(tiny(name))
    batch = collate(encoded, family, pad_id=rows.pad_id, multiple=16)
    with torch.no_grad():
        together = model(**batch).logits
        for place, example in enumerate(encoded):
            alone = model(**collate([example], family, pad_id=rows.pad_id)).logits[0]
            assert torch.allclose(together[place, : example.length], alone, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_that_of_all_learnt_tokens(name: str, tiny: Callable[[str], Path]) -> None:
    """The loss of a batch is the mean over the learnt tokens of its examples, whatever the padding."""
    model, _, family, encoded = rows = loaded(tiny(name))
    counts = torch.tensor([(example.labels != -100).sum() for example in encoded], dtype=torch.float32)
    with torch.no_grad():
        losses = torch.stack([model(**collate([one], family, pad_id=rows.pad_id)).loss for one in encoded])
        together = model(**collate(encoded, family, pad_id=rows.pad_id)).loss
        longer = model(**collate(encoded, family, pad_id=rows.pad_id, multiple=512)).loss
    assert torch.allclose(together, (losses * counts).sum() / counts.sum(), atol=1e-5)
    assert torch.allclose(together, longer, atol=1e-5)


def test_what_fills_up_is_neither_seen_nor_learnt(tiny: Callable[[str], Path]) -> None:
    """Behind each example stand padding tokens without attention, label or type, up to a multiple as asked."""
    _, _, family, encoded = rows = loaded(tiny("qwen2_vl"))
    batch = collate(encoded, family, pad_id=rows.pad_id, multiple=32)
    length = batch["input_ids"].shape[1]
    assert length % 32 == 0
    assert length - max(example.length for example in encoded) < 32
    for place, example in enumerate(encoded):
        behind = slice(example.length, None)
        assert torch.equal(batch["input_ids"][place, : example.length], example.input_ids)
        assert torch.equal(batch["labels"][place, : example.length], example.labels)
        assert set(batch["input_ids"][place, behind].tolist()) <= {rows.pad_id}
        assert set(batch["labels"][place, behind].tolist()) <= {-100}
        assert int(batch["attention_mask"][place].sum()) == example.length
        assert not batch["mm_token_type_ids"][place, behind].any()
    assert batch["use_cache"] is False


def test_text_alone(tiny: Callable[[str], Path]) -> None:
    """A batch without any medium has no media in it."""
    model, _, family, encoded = rows = loaded(tiny("smolvlm"))
    batch = collate([encoded[2]] * 2, family, pad_id=rows.pad_id)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "use_cache"}
    with torch.no_grad():
        assert torch.isfinite(model(**batch).loss)
