"""Logits of learnt positions alone give the loss, and teach what, all of them do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train.tiny_rows import FAMILIES, loaded
from tests.train.trainings import settings_of
from train.batching.collate import collate
from train.batching.learnt_logits import learnt_logits
from train.batching.pack import pack
from train.models.methods import Method, apply_method
from train.models.sample_attention import attend_by_sample
from train.runs.proved_batches import why_all_logits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def learnt(model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss of a batch, of which 37 tokens are counted, and its gradients."""
    model.zero_grad()
    loss = model(**batch, num_items_in_batch=torch.tensor(37.0)).loss
    loss.backward()
    return float(loss.detach()), {
        name: own.grad.clone() for name, own in model.named_parameters() if own.grad is not None
    }


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_and_what_is_learnt(name: str, kind: Any, tiny: Callable[[str], Path]) -> None:
    """Of padded batches and packed rows: mean and sum, and every gradient."""
    model, _, family, encoded = rows = loaded(tiny(name))
    torch.manual_seed(1)
    model = apply_method(model, family, Method(kind=kind, lora={"init": False} if kind == "lora" else {}))
    attend_by_sample(model)
    for batch in (pack(encoded, family, model.config), collate(encoded, family, pad_id=rows.pad_id, multiple=8)):
        fewer = learnt_logits(batch)
        with torch.no_grad():
            whole, kept = model(**batch), model(**fewer)
        tokens = int((batch["labels"][:, 1:] != -100).sum())
        assert kept.logits.numel() == tokens * whole.logits.shape[-1]
        assert torch.allclose(whole.loss, kept.loss, rtol=1e-5)
        (whole_loss, of_whole), (kept_loss, of_kept) = learnt(model, batch), learnt(model, fewer)
        assert kept_loss == pytest.approx(whole_loss, rel=1e-5)
        assert of_whole.keys() == of_kept.keys()
        assert all(torch.allclose(of_whole[key], of_kept[key], rtol=1e-4, atol=1e-5) for key in of_whole)


def test_labels_are_those_of_the_next_position() -> None:
    """A position is kept if the one behind it is learnt; the last one has none, and a first label teaches nothing."""
    labels = torch.tensor([[7, -100, 3, 4], [-100, -100, -100, 9]])
    batch = learnt_logits({"labels": labels, "input_ids": labels})
    assert batch["logits_to_keep"].tolist() == [[False, True, True, False], [False, False, True, False]]
    assert batch["shift_labels"].tolist() == [3, 4, 9]
    assert batch["labels"] is labels


def test_a_batch_without_labels_stays_as_it_is() -> None:
    """One of which every row failed has nothing to be learnt from."""
    batch = {"labels": torch.tensor([[-100, -100]])}
    assert learnt_logits(batch) is batch


def test_why_all_logits(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A model that gives another loss, or takes no positions, computes all of them; so does what needs them."""
    model, _, family, encoded = rows = loaded(tiny("qwen2_vl"))
    batch = collate(encoded[:1], family, pad_id=rows.pad_id)
    plain = settings_of(tiny("qwen2_vl"), tmp_path)
    assert why_all_logits(model, batch, plain) is None
    for given, word in (({"liger": True}, "Liger"), ({"arguments": {"torch_compile": True}}, "compiled")):
        assert word in str(why_all_logits(model, batch, settings_of(tiny("qwen2_vl"), tmp_path, **given)))

    def without(name: str, value: Any = None) -> Any:
        def change(_model: Any, arguments: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            left = {key: own for key, own in given.items() if key != name}
            if value is not None and name in given:
                left[name] = value(given[name])
            return arguments, left

        return model.register_forward_pre_hook(change, with_kwargs=True)

    ignoring = without("shift_labels")
    assert "takes no positions to keep (ValueError)" in str(why_all_logits(model, batch, plain))
    ignoring.remove()
    shifting = without("shift_labels", lambda labels: labels.roll(1))
    assert "instead of" in str(why_all_logits(model, batch, plain))
    shifting.remove()
    assert why_all_logits(model, batch, plain) is None
