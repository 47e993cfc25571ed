"""Examples packed into one row give what they give alone; where a model lets them see each other, it is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train.tiny_rows import FAMILIES, loaded
from train.batching.collate import collate
from train.batching.pack import pack, prove_packing
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", FAMILIES)
def test_packed_is_as_alone(name: str, attention: str, tiny: Callable[[str], Path]) -> None:
    """Logits of packed examples are those of the examples alone, and the loss is that of an unpacked batch of them."""
    model, _, family, encoded = rows = loaded(tiny(name), attention=attention)
    row = pack(encoded, family, model.config)
    assert row["input_ids"].shape == (1, sum(example.length for example in encoded))
    assert "attention_mask" not in row
    with torch.no_grad():
        packed = model(**row)
        alone = [model(**collate([one], family, pad_id=rows.pad_id)).logits for one in encoded]
        together = model(**collate(encoded, family, pad_id=rows.pad_id))
    assert torch.allclose(packed.logits, torch.cat(alone, dim=1), atol=1e-5)
    assert torch.allclose(packed.loss, together.loss, atol=1e-5)
    assert prove_packing(model, family, encoded) < 1e-5


def test_gradients_of_a_packed_row_are_those_of_a_batch(tiny: Callable[[str], Path]) -> None:
    """What is learnt from a packed row is what is learnt from its examples beside each other."""
    model, _, family, encoded = rows = loaded(tiny("qwen2_5_vl"))
    found = []
    for batch in (pack(encoded, family, model.config), collate(encoded, family, pad_id=rows.pad_id)):
        model.zero_grad()
        model(**batch).loss.backward()
        found.append({name: own.grad.clone() for name, own in model.named_parameters() if own.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])


@pytest.mark.parametrize("wrong", ["attention_mask", "use_cache", "position_ids"])
@pytest.mark.parametrize("name", ["smolvlm", "qwen2_vl", "internvl"])
def test_a_leak_is_found(name: str, wrong: str, tiny: Callable[[str], Path]) -> None:
    """A mask, a cache or positions that go on let packed examples see each other, and the proof says so."""
    model, _, family, encoded = loaded(tiny(name))

    def otherwise(_model: Any, arguments: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        places = given["position_ids"]
        values = {
            "attention_mask": torch.ones_like(given["input_ids"]),
            "use_cache": True,
            "position_ids": torch.arange(places.shape[-1]).expand(places.shape),
        }
        return arguments, given | {wrong: values[wrong]}

    model.register_forward_pre_hook(otherwise, with_kwargs=True)
    with pytest.raises(TrainError, match="see each other"):
        prove_packing(model, family, encoded)


def test_other_positions_are_found(tiny: Callable[[str], Path]) -> None:
    """Examples that do not see each other, but have other positions than alone, are found too."""
    model, _, family, encoded = loaded(tiny("qwen2_vl"))

    def displaced(_model: Any, arguments: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        places = given["position_ids"].clone()
        if given["input_ids"].shape[1] > encoded[0].length:
            places[1, :, encoded[0].length :] += torch.arange(places.shape[-1] - encoded[0].length)
        return arguments, given | {"position_ids": places}

    model.register_forward_pre_hook(displaced, with_kwargs=True)
    with pytest.raises(TrainError, match="not seen as they are alone"):
        prove_packing(model, family, encoded[:1] + encoded[2:3])


def test_the_proof_leaves_the_model_as_it_was(tiny: Callable[[str], Path]) -> None:
    """A model that trains goes on training, and no gradient is left behind."""
    model, _, family, encoded = loaded(tiny("internvl"))
    model.train()
    prove_packing(model, family, encoded)
    assert model.training
    assert all(own.grad is None for own in model.parameters())
