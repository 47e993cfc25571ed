"""Packed rows whose samples are attended to one by one: the same numbers as before, and no square of the whole row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train.tiny_rows import FAMILIES, loaded
from tests.train.trainings import settings_of
from train.batching.collate import collate
from train.batching.pack import pack, prove_packing
from train.example import TrainError
from train.models import sample_attention
from train.models.methods import Method, apply_method
from train.models.sample_attention import BY_SAMPLE, attend_by_sample, attend_whole
from train.runs.proved_batches import prove_packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.train.tiny_rows import Rows


class Watched:
    """The calls of SDPA that are causal without a mask, and those with a square mask of more than one sample."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.causal: list[int] = []
        self.masked: list[tuple[int, ...]] = []
        own = torch.nn.functional.scaled_dot_product_attention

        def watched(query: Any, key: Any, value: Any, **options: Any) -> Any:
            if options.get("is_causal"):
                self.causal.append(query.shape[2])
            elif options.get("attn_mask") is not None:
                self.masked.append(tuple(options["attn_mask"].shape))
            return own(query, key, value, **options)

        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)


def gradients(model: Any, batches: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return what a step of batches learns; a loss is a share of all."""
    model.zero_grad()
    for batch in batches:
        (model(**batch).loss / len(batches)).backward()
    return {name: own.grad.clone() for name, own in model.named_parameters() if own.grad is not None}


def alike(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], atol: float = 1e-5) -> bool:
    """Are these the same gradients?"""
    assert one
    return one.keys() == two.keys() and all(torch.allclose(one[name], two[name], atol=atol) for name in one)


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_is_as_alone(name: str, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample of a packed row is computed by itself, with the numbers that it has alone; the tower as before."""
    model, _, family, encoded = rows = loaded(tiny(name))
    assert attend_by_sample(model) is None
    text = model.config.get_text_config()
    assert text._attn_implementation == BY_SAMPLE
    assert model.config.vision_config._attn_implementation == model.config._attn_implementation == "sdpa"
    row = pack(encoded, family, model.config)
    with torch.no_grad():
        alone = [model(**collate([one], family, pad_id=rows.pad_id)).logits for one in encoded]
        together = model(**collate(encoded, family, pad_id=rows.pad_id))
        calls = Watched(monkeypatch)
        packed = model(**row)
    assert calls.causal == [one.length for one in encoded] * text.num_hidden_layers
    assert not any(shape[-2:] == (row["input_ids"].shape[1],) * 2 for shape in calls.masked)
    assert torch.allclose(packed.logits, torch.cat(alone, dim=1), atol=1e-5)
    assert torch.allclose(packed.loss, together.loss, atol=1e-5)
    assert prove_packing(model, family, encoded) < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients(name: str, checkpointing: bool, tiny: Callable[[str], Path]) -> None:
    """What is learnt from a packed row is what is learnt from its examples, computed twice or kept."""
    model, _, family, encoded = rows = loaded(tiny(name))
    model = apply_method(model, family, Method(kind="full", checkpointing=checkpointing))
    model.train()
    beside = gradients(model, [collate(encoded, family, pad_id=rows.pad_id)])
    row = pack(encoded, family, model.config)
    whole = gradients(model, [row])
    attend_by_sample(model)
    by_sample = gradients(model, [row])
    assert alike(by_sample, beside)
    assert alike(by_sample, whole, atol=1e-6)


@pytest.mark.parametrize("name", ["smolvlm", "qwen3_vl"])
def test_gradients_of_adapters(name: str, tiny: Callable[[str], Path]) -> None:
    """Adapters that peft has put beside the layers learn the same, with checkpointing."""
    model, _, family, encoded = rows = loaded(tiny(name))
    torch.manual_seed(1)
    method = Method(kind="lora", lora={"r": 4, "init": False}, checkpointing=True)
    model = apply_method(model, family, method)
    model.train()
    beside = gradients(model, [collate(encoded, family, pad_id=rows.pad_id)])
    assert attend_by_sample(model) is None
    by_sample = gradients(model, [pack(encoded, family, model.config)])
    assert all(".lora_" in key for key in by_sample)
    assert alike(by_sample, beside, atol=1e-4)


def test_everything_else_is_computed_as_before(tiny: Callable[[str], Path]) -> None:
    """Padded batches, a row of one sample, and generated text are those of plain SDPA, to the bit."""
    model, _, family, encoded = rows = loaded(tiny("qwen2_5_vl"))
    batches = [collate(encoded, family, pad_id=rows.pad_id), pack(encoded[:1], family, model.config)]
    prompt = {"input_ids": encoded[2].input_ids[None], "attention_mask": torch.ones(1, encoded[2].length).long()}
    found = []
    for change in (attend_by_sample, attend_whole):
        change(model)
        with torch.no_grad():
            found.append([model(**batch).logits for batch in batches])
            found[-1].append(model.generate(**prompt, max_new_tokens=8, do_sample=False))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize(("window", "square"), [(16, True), (200, False)])
def test_a_sliding_window_is_respected(
    window: int, square: bool, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers with a window that is shorter than a sample get transformers' mask, and the others go by sample."""
    rows = windowed(tiny("qwen2_vl"), tmp_path / "model", window)
    row = pack(rows.encoded, rows.family, rows.model.config)
    longest = max(one.length for one in rows.encoded)
    with torch.no_grad():
        alone = [rows.model(**collate([one], rows.family, pad_id=rows.pad_id)).logits for one in rows.encoded]
        notes = prove_packed(rows.model, rows.family, rows.encoded, sdpa(tiny, tmp_path), longest=longest)
        calls = Watched(monkeypatch)
        packed = rows.model(**row).logits
    assert torch.allclose(packed, torch.cat(alone, dim=1), atol=1e-5)
    lengths = [one.length for one in rows.encoded]
    assert calls.causal == lengths * (1 if square else 2)
    assert [shape[-1] for shape in calls.masked].count(sum(lengths)) == (1 if square else 0)
    assert bool(notes) == square
    assert all("sliding window" in note for note in notes)


def windowed(folder: Path, changed: Path, window: int) -> Rows:
    """Load a tiny model whose first layer sees a window only."""
    changed.mkdir()
    for file in folder.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    config = json.loads((changed / "config.json").read_text())
    layers = ["sliding_attention", "full_attention"]
    config["text_config"] |= {"use_sliding_window": True, "sliding_window": window, "layer_types": layers}
    (changed / "config.json").write_text(json.dumps(config))
    return loaded(changed)


def test_dropout_is_respected(tiny: Callable[[str], Path]) -> None:
    """Attention that drops out does so by sample too, and only while it learns."""
    model, _, family, encoded = loaded(tiny("smolvlm"))
    attend_by_sample(model)
    row = pack(encoded, family, model.config)
    for layer in model.model.text_model.layers:
        layer.self_attn.attention_dropout = 0.5
    with torch.no_grad():
        looked = [model.eval()(**row).logits for _ in range(2)]
        learning = [model.train()(**row).logits for _ in range(2)]
    assert torch.equal(*looked)
    assert not torch.allclose(*learning, atol=1e-3)


@pytest.mark.parametrize("wrong", ["attention_mask", "use_cache", "position_ids"])
def test_a_leak_is_found(wrong: str, tiny: Callable[[str], Path]) -> None:
    """Samples are cut only where the model itself keeps them apart: what makes them see each other is still found."""
    model, _, family, encoded = loaded(tiny("qwen2_vl"))
    attend_by_sample(model)

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


def test_a_saved_model_does_not_tell(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What is saved loads where nobody knows of this attention."""
    model = loaded(tiny("internvl")).model
    attend_by_sample(model)
    model.save_pretrained(tmp_path)
    assert BY_SAMPLE not in (tmp_path / "config.json").read_text()


def test_what_cannot_do_it_goes_on_as_it_did(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other attentions, compiled models and a proof that fails leave SDPA as it is, and the plan says why."""
    eager = loaded(tiny("smolvlm"), attention="eager").model
    assert attend_by_sample(eager) == "its attention is 'eager', and not 'sdpa'"
    model, _, family, encoded = loaded(tiny("smolvlm"))
    text, longest = model.config.get_text_config(), 200
    compiled = sdpa(tiny, tmp_path, arguments={"torch_compile": True})
    (note,) = prove_packed(model, family, encoded, compiled, longest=longest)
    assert "as a whole" in note
    assert "compiled" in note
    assert text._attn_implementation == "sdpa"
    assert prove_packed(model, family, encoded, sdpa(tiny, tmp_path), longest=longest) == []
    assert text._attn_implementation == BY_SAMPLE
    attend_whole(model)
    monkeypatch.setattr(sample_attention, "_lengths", lambda _seen, length, _device: (5, length - 5))
    (note,) = prove_packed(model, family, encoded, sdpa(tiny, tmp_path), longest=longest)
    assert "by sample, examples packed into one row" in note
    assert text._attn_implementation == "sdpa"


def sdpa(tiny: Callable[[str], Path], folder: Path, **given: Any) -> Any:
    """Return settings of a training that packs."""
    return settings_of(tiny("smolvlm"), folder, batching={"tokens": 600, "pack": True}, **given)
