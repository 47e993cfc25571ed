"""Features of a frozen vision tower, kept on disk: the model gives the same with them, and they are computed once."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train.tiny_rows import FAMILIES, loaded, rows
from train.batching.collate import collate
from train.batching.pack import pack
from train.example import TrainError
from train.models.methods import Method, apply_method
from train.models.vision_cache import VisionCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from train.example import Encoded


def _kept(cache: VisionCache, encoded: list[Encoded]) -> list[Encoded]:
    """Put examples into a cache and get them back."""
    kept = []
    for place, example in enumerate(encoded):
        cache.put(f"row {place}", example)
        again = cache.rows.get(f"row {place}")
        assert again is not None
        assert again.row == example.row
        assert not any(name.startswith("pixel") for name in again.media)
        kept.append(again)
    return kept


@pytest.mark.parametrize(("kind", "depth"), [("lora", "projector"), ("frozen-vision", "tower")])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_is_learnt(name: str, kind: Any, depth: str, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Loss and gradients of a batch with kept features are those of the batch with pixels, projector included."""
    model, _, family, encoded = tested = loaded(tiny(name))
    learner = apply_method(model, family, Method(kind=kind))
    cache = VisionCache(tmp_path, learner, family)
    assert cache.depth == depth
    assert cache.prove(encoded, pad_id=tested.pad_id) < 1e-5
    found = []
    for examples in (encoded, _kept(cache, encoded)):
        learner.zero_grad()
        loss = learner(**collate(examples, family, pad_id=tested.pad_id)).loss
        loss.backward()
        gradients = {key: own.grad.clone() for key, own in learner.named_parameters() if own.grad is not None}
        found.append((loss.detach(), gradients))
    (loss, gradients), (again, same) = found
    assert torch.allclose(loss, again, atol=1e-6)
    assert gradients.keys() == same.keys()
    assert all(torch.allclose(gradients[key], same[key], atol=1e-5) for key in gradients)


def test_features_are_computed_once(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """The tower sees each picture once, however many rows ask about it and however often a run begins anew."""
    model, _, family, encoded = loaded(tiny("smolvlm"))
    seen: list[int] = []
    model.model.vision_model.register_forward_hook(lambda *_: seen.append(1))
    learner = apply_method(model, family, Method(kind="lora"))
    for _ in range(2):
        cache = VisionCache(tmp_path, learner, family)
        for place, example in enumerate([*encoded, *encoded]):
            cache.put(f"row {place}", example)
        cache.close()
    assert len(seen) == 3
    assert len(list(tmp_path.glob("*/features/*/*.safetensors"))) == 3


def test_rows_are_read_in_other_processes(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What reads rows holds no model and can be sent to a worker; what is not there, or is damaged, is None."""
    model, _, family, encoded = loaded(tiny("qwen3_vl"))
    cache = VisionCache(tmp_path, apply_method(model, family, Method(kind="lora")), family)
    cache.put("row", encoded[0])
    reader = pickle.loads(pickle.dumps(cache.rows))  # noqa: S301  our own bytes
    assert reader.get("another row") is None
    again = reader.get("row")
    assert torch.equal(again.labels, encoded[0].labels)
    assert torch.equal(again.token_types, encoded[0].token_types)
    [features] = tmp_path.glob("*/features/*/*.safetensors")
    features.write_bytes(features.read_bytes()[:-100])
    assert reader.get("row") is None
    cache.put("row", encoded[0])
    assert reader.get("row") is not None


def test_other_weights_have_other_features(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Features lie below a fingerprint of the frozen weights, so that those of other weights are never found."""

    def folder(kind: Any, part: str, change: float) -> Path:
        model, _, family, _ = loaded(tiny("internvl"))
        with torch.no_grad():
            next(model.get_submodule(part).parameters()).add_(change)
        return VisionCache(tmp_path, apply_method(model, family, Method(kind=kind)), family).rows.folder

    tower, projector = "model.vision_tower", "model.multi_modal_projector"
    assert folder("lora", tower, 0.0) == folder("dora", tower, 0.0)
    assert folder("lora", tower, 0.0) != folder("lora", tower, 1e-3)
    assert folder("lora", projector, 0.0) != folder("lora", projector, 1e-3)
    assert folder("projector", projector, 0.0) == folder("projector", projector, 1e-3)
    assert folder("lora", tower, 0.0) != folder("projector", tower, 0.0)


def test_a_projector_that_learns_changes_no_key(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Where the projector learns, features are those of the tower, which a step does not change."""
    model, _, family, encoded = tested = loaded(tiny("qwen2_5_vl"))
    learner = apply_method(model, family, Method(kind="projector"))
    cache = VisionCache(tmp_path, learner, family)
    kept = _kept(cache, encoded)
    learner(**collate(kept, family, pad_id=tested.pad_id)).loss.backward()
    with torch.no_grad():
        for own in learner.parameters():
            if own.grad is not None:
                own.sub_(own.grad, alpha=0.1)
    assert VisionCache(tmp_path, learner, family).rows == cache.rows
    assert cache.prove(encoded, pad_id=tested.pad_id) < 1e-5


@pytest.mark.parametrize("name", ["smolvlm", "qwen2_vl"])
def test_packed_features(name: str, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A packed row takes features as a batch does."""
    model, _, family, encoded = loaded(tiny(name))
    learner = apply_method(model, family, Method(kind="lora"))
    kept = _kept(VisionCache(tmp_path, learner, family), encoded)
    with torch.no_grad():
        losses = [learner(**pack(examples, family, learner.config)).loss for examples in (encoded, kept)]
    assert torch.allclose(*losses, atol=1e-6)


def test_generation_goes_on_with_pixels(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A model that takes features answers a question about pixels as it did before."""
    model, processor, family, _ = loaded(tiny("qwen2_vl"))
    asked = collate([family.prompt(processor, rows()[0])], family, pad_id=0)
    del asked["labels"]
    before = model.generate(**asked | {"use_cache": True}, max_new_tokens=4, do_sample=False)
    VisionCache(tmp_path, apply_method(model, family, Method(kind="projector")), family)
    after = model.generate(**asked | {"use_cache": True}, max_new_tokens=4, do_sample=False)
    assert torch.equal(before, after)


def test_half_precision(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Features in bfloat16 take half the disk, and move logits by no more than it rounds."""
    model, _, family, encoded = tested = loaded(tiny("internvl"))
    learner = apply_method(model, family, Method(kind="lora"))
    cache = VisionCache(tmp_path, learner, family, dtype="bfloat16")
    assert 0 < cache.prove(encoded, pad_id=tested.pad_id) < 0.1
    kept = _kept(cache, encoded)[0].media["features.image.pooled"]
    assert kept.dtype == torch.bfloat16


def test_a_model_that_ignores_features_is_found(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A version of transformers that drops what it does not know shows in the logits, and is refused."""
    model, _, family, encoded = tested = loaded(tiny("smolvlm"))
    cache = VisionCache(tmp_path, apply_method(model, family, Method(kind="lora")), family)

    def dropped(_model: Any, arguments: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return arguments, given | {"mm_encoder_outputs": None}

    model.model.register_forward_pre_hook(dropped, with_kwargs=True)
    with pytest.raises(TrainError, match="other logits than with pixels"):
        cache.prove(encoded, pad_id=tested.pad_id)


def test_what_does_not_stay_is_not_kept(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A tower that learns, by itself or by adapters, or that drops values out, has no features to keep."""
    model, _, family, _ = loaded(tiny("smolvlm"))
    with pytest.raises(TrainError, match="the vision tower learns"):
        VisionCache(tmp_path, apply_method(model, family, Method(kind="full")), family)
    model, _, family, _ = loaded(tiny("smolvlm"))
    everywhere = Method(kind="lora", lora={"target_modules": ["q_proj"]})
    with pytest.raises(TrainError, match=r"the vision tower learns \(model.vision_model.*lora_A"):
        VisionCache(tmp_path, apply_method(model, family, everywhere), family)
    model, _, family, _ = loaded(tiny("smolvlm"))
    model.model.vision_model.encoder.layers[0].self_attn.dropout = 0.1
    with pytest.raises(TrainError, match="drops values out at random"):
        VisionCache(tmp_path, apply_method(model, family, Method(kind="lora")), family)
