"""What of a model learns: for every family and method exactly the parts that the method names, and nothing else."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.train.tiny_rows import FAMILIES, loaded
from train.batching.collate import collate
from train.example import TrainError
from train.models.adapters import read_adapters
from train.models.liger import apply_liger
from train.models.load import load_model
from train.models.memory import activation_bytes, estimated_memory
from train.models.methods import Method, apply_method
from train.models.parts import PARTS, part_of, tied, trainable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEARNING = {
    "lora": {"adapters"},
    "dora": {"adapters"},
    "full": {"vision", "projector", "text", "head"},
    "frozen-vision": {"projector", "text", "head"},
    "projector": {"projector"},
}


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_changes_what_learns(name: str, kind: Any, tiny: Callable[[str], Path]) -> None:
    """One step of the optimizer changes parameters of every part that learns, and of no other part."""
    model, _, family, encoded = rows = loaded(tiny(name))
    head = set() if not tied(model) else {"head"}
    learner = apply_method(model, family, Method(kind=kind, checkpointing=kind == "lora"))
    counts = trainable(learner, family)
    assert {part for part in PARTS if counts[part].trainable} == LEARNING[kind] - head
    assert all(counts[part].trainable in {0, counts[part].all} for part in PARTS)
    before = {key: own.detach().clone() for key, own in learner.named_parameters()}
    # of adapters, the second matrix begins with zeros, and the first is only reached through it
    optimizer = torch.optim.AdamW([own for own in learner.parameters() if own.requires_grad], lr=1e-2)
    learner.train()
    for _ in range(2):
        optimizer.zero_grad()
        learner(**collate(encoded, family, pad_id=rows.pad_id)).loss.backward()
        optimizer.step()
    changed = {key for key, own in learner.named_parameters() if not torch.equal(own, before[key])}
    assert {part_of(key, family) for key in changed} == LEARNING[kind] - head
    learning = {key for key, own in learner.named_parameters() if own.requires_grad}
    # of the tiny Qwen3-VL, what goes in behind the last layer reaches no learnt token
    assert len(changed) > 0.8 * len(learning)
    assert changed <= learning


@pytest.mark.parametrize("name", FAMILIES)
def test_adapters_stand_beside_the_text_model(name: str, tiny: Callable[[str], Path]) -> None:
    """Adapters stand beside each linear layer of the text model, and beside nothing of the vision tower."""
    model, _, family, _ = loaded(tiny(name))
    linear = [key for key, own in model.get_submodule(family.text).named_modules() if isinstance(own, torch.nn.Linear)]
    learner = apply_method(model, family, Method(kind="lora"))
    beside = {key.partition(".lora_A")[0] for key, _ in learner.named_parameters() if ".lora_A" in key}
    assert beside == {f"base_model.model.{family.text}.{key}" for key in linear}


@pytest.mark.parametrize("name", ["smolvlm", "qwen2_vl", "qwen3_vl", "internvl"])
def test_four_bits(name: str, tiny: Callable[[str], Path]) -> None:
    """With qlora the text model's linear layers are in 4 bits, all else is not, and a step lowers the loss."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model, _, family, encoded = rows = loaded(tiny(name), quantise=True, dtype="bfloat16")
    quantised = {key for key, own in model.named_modules() if isinstance(own, bitsandbytes.nn.Linear4bit)}
    assert quantised
    assert all(key.startswith(f"{family.text}.") for key in quantised)
    assert model.config.quantization_config.bnb_4bit_quant_type == "nf4"
    learner = apply_method(model, family, Method(kind="qlora", lora={"r": 4}, checkpointing=True))
    counts = trainable(learner, family)
    whole, _, _, _ = loaded(tiny(name))
    assert counts["text"] == (0, trainable(whole, family)["text"].all)
    optimizer = torch.optim.AdamW([own for own in learner.parameters() if own.requires_grad], lr=5e-3)
    learner.train()
    losses = []
    for _ in range(4):
        loss = learner(**collate(encoded, family, pad_id=rows.pad_id)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_checkpointing_changes_no_gradient(tiny: Callable[[str], Path]) -> None:
    """Activations that are computed again give the gradients that kept ones give."""
    found = []
    for checkpointing in (False, True):
        model, _, family, encoded = rows = loaded(tiny("qwen2_5_vl"))
        learner = apply_method(model, family, Method(kind="frozen-vision", checkpointing=checkpointing))
        learner.train()
        learner(**collate(encoded, family, pad_id=rows.pad_id)).loss.backward()
        found.append([own.grad for own in learner.parameters() if own.requires_grad])
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(*found, strict=True))


def test_options_of_adapters_reach_peft(tiny: Callable[[str], Path]) -> None:
    """Rank, scale, dropout and the rest are those that were given, by short names or by peft's."""
    model, _, family, _ = loaded(tiny("smolvlm"))
    options = {"r": 2, "alpha": 6, "dropout": 0.25, "init": "gaussian", "use_rslora": True}
    config = apply_method(model, family, Method(kind="lora", lora=options)).peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (2, 6, 0.25)
    assert (config.init_lora_weights, config.use_rslora, config.use_dora) == ("gaussian", True, False)
    model, _, family, _ = loaded(tiny("smolvlm"))
    assert apply_method(model, family, Method(kind="dora")).peft_config["default"].use_dora


@pytest.mark.parametrize("name", ["smolvlm", "qwen2_vl"])
def test_whole_modules_beside_adapters(name: str, tiny: Callable[[str], Path]) -> None:
    """A module that is to learn as a whole learns; a head that is the embeddings' matrix stays it."""
    model, _, family, _ = loaded(tiny(name))
    was_tied = tied(model)
    whole = Method(kind="lora", lora={"modules_to_save": ["lm_head", family.projector[0].rpartition(".")[2]]})
    learner = apply_method(model, family, whole)
    learning = {key for key, own in learner.named_parameters() if own.requires_grad}
    assert any("modules_to_save" in key and family.projector[0] in key for key in learning)
    assert tied(learner.merge_and_unload()) == was_tied


@pytest.mark.parametrize(
    ("method", "said", "hint"),
    [
        ({"kind": "lore"}, "there is no method 'lore'", ""),
        ({"kind": "full", "lora": {"r": 8}}, "'full' has no adapters", "leave it out"),
        ({"kind": "lora", "lora": {"alhpa": 8}}, "no option 'alhpa'", "did you mean 'alpha'?"),
        ({"kind": "lora", "lora": {"use_dora": True}}, "no option 'use_dora'", "choose the method 'dora'"),
        ({"kind": "lora", "lora": {"r": 0}}, "adapters do not fit", ""),
        ({"kind": "lora", "lora": {"target_modules": ["nothing"]}}, "adapters do not fit", ""),
        ({"kind": "lora", "lora": {"bias": "some", "init": "odd"}}, "adapters do not fit|peft refuses", ""),
        ({"kind": "qlora"}, "needs a model in 4 bits", "quantise=True"),
    ],
)
def test_a_method_that_cannot_be(method: dict[str, Any], said: str, hint: str, tiny: Callable[[str], Path]) -> None:
    """A method or option that there is not, or that fits nothing, is an error that names what would do."""
    model, _, family, _ = loaded(tiny("smolvlm"))
    with pytest.raises(TrainError, match=said) as caught:
        apply_method(model, family, Method(**method))
    assert hint in caught.value.hint


def test_two_stages(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A second stage begins with the projector that the first one trained."""
    model, _, family, encoded = rows = loaded(tiny("internvl"))
    first = apply_method(model, family, Method(kind="projector"))
    first(**collate(encoded, family, pad_id=rows.pad_id)).loss.backward()
    with torch.no_grad():
        for own in first.parameters():
            if own.grad is not None:
                own.sub_(own.grad)
    first.save_pretrained(tmp_path / "first")
    rows.processor.save_pretrained(tmp_path / "first")
    second = loaded(tmp_path / "first")
    weight = f"{family.projector[0]}.linear_1.weight"
    assert torch.equal(second.model.state_dict()[weight], first.state_dict()[weight])
    learner = apply_method(second.model, family, Method(kind="lora"))
    learner.save_pretrained(tmp_path / "second")
    again = read_adapters(loaded(tmp_path / "first").model, tmp_path / "second")
    assert trainable(again, family)["adapters"].all == trainable(learner, family)["adapters"].all


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """A model that is not on this machine is not looked for elsewhere, and one is told how to bring it."""
    with pytest.raises(TrainError, match="'somebody/nothing' at v2 is not on this machine") as caught:
        load_model("somebody/nothing", revision="v2")
    assert "download it beforehand" in caught.value.hint
    with pytest.raises(TrainError, match=r"it has no config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(TrainError, match="models of type 'bert' cannot be trained here"):
        load_model(tmp_path)


def test_a_model_that_is_not_whole(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Weights that are missing, cut off or of another shape are an error, and never begin with random numbers."""
    folder = tmp_path / "model"
    shutil.copytree(tiny("qwen2_vl"), folder)
    file = folder / "model.safetensors"
    whole = load_file(file)
    name = next(key for key in whole if key.endswith("layers.0.mlp.up_proj.weight"))
    save_file({key: own for key, own in whole.items() if key != name}, file, metadata={"format": "pt"})
    with pytest.raises(TrainError, match=r"lacks weights: model\.language_model\.layers\.0\.mlp\.up_proj\.weight"):
        load_model(folder)
    save_file(whole | {name: torch.zeros(3)}, file, metadata={"format": "pt"})
    with pytest.raises(TrainError, match="cannot be loaded"):
        load_model(folder)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(TrainError, match="cannot be loaded"):
        load_model(folder)
    file.unlink()
    torch.save(whole, folder / "pytorch_model.bin")
    with pytest.raises(TrainError, match="cannot be loaded") as caught:
        load_model(folder)
    assert "safetensors" in caught.value.hint
    (folder / "config.json").write_text("{")
    with pytest.raises(TrainError, match=r"config of the model in .* cannot be read"):
        load_model(folder)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attention": "fast"}, "there is no attention 'fast'"),
        ({"attention": "flex_attention"}, "cannot be loaded: Qwen2VL.* does not support"),
        ({"dtype": "int8"}, "there is no precision 'int8'"),
    ],
)
def test_what_a_model_cannot_be_loaded_with(options: dict[str, Any], said: str, tiny: Callable[[str], Path]) -> None:
    """An attention or precision that there is not, or that the model has not, is an error that says so."""
    with pytest.raises(TrainError, match=said):
        load_model(tiny("qwen2_vl"), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_needs_a_gpu(tiny: Callable[[str], Path]) -> None:
    """Without a GPU, a model for one and kernels for one are refused."""
    with pytest.raises(TrainError, match="there is no GPU for 'cuda:1'"):
        load_model(tiny("smolvlm"), device="cuda:1")
    with pytest.raises(TrainError, match="run on a GPU"):
        apply_liger(load_model(tiny("smolvlm")).model, {})


@pytest.mark.parametrize("kind", ["frozen-vision", "lora", "full"])
def test_memory_is_near_what_is_kept(kind: Any, tiny: Callable[[str], Path]) -> None:
    """What is estimated to be kept for the way back is what torch keeps, within a third; the rest is exact."""
    model, _, family, encoded = rows = loaded(tiny("internvl"))
    learner = apply_method(model, family, Method(kind=kind))
    learner.train()
    batch = collate([encoded[0]] * 8, family, pad_id=rows.pad_id)
    kept: dict[int, int] = {}
    known = {own.data_ptr() for own in learner.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda own: own):
        output = learner(**batch)
    tokens, patches = batch["input_ids"].numel(), batch["pixel_values"].shape[0] * 16
    # two of the three numbers for each logit are there without being kept for the way back
    measured = sum(kept.values()) + tokens * 8 * model.config.text_config.vocab_size
    estimated = estimated_memory(learner, family, tokens=tokens, patches=patches, optimizer="adamw_8bit")
    assert output.loss.requires_grad
    assert 2 / 3 < estimated.activations / measured < 3 / 2
    learning = sum(own.numel() for own in learner.parameters() if own.requires_grad)
    assert (estimated.gradients, estimated.optimizer) == (4 * learning, 2 * learning)
    assert estimated.total > estimated.weights + estimated.gradients
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    assert activation_bytes(learner, family, tokens=tokens, patches=patches) < estimated.activations
