"""A merged model answers as its adapters do, loads anywhere, and is not there at all when a proof fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.train.tiny_rows import FAMILIES, Rows, loaded
from train.batching.collate import collate
from train.example import TrainError
from train.models import merge
from train.models.answer_logits import answers, difference, questions
from train.models.load import load_model, load_processor
from train.models.merge import merge_adapter
from train.models.methods import Method, apply_method
from train.models.parts import tied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _trained(rows: Rows, method: Method, folder: Path) -> Any:
    """Train adapters a few steps, save them, and return the model with them."""
    learner = apply_method(rows.model, rows.family, method)
    optimizer = torch.optim.AdamW([own for own in learner.parameters() if own.requires_grad], lr=2e-2)
    batch = collate(rows.encoded, rows.family, pad_id=rows.pad_id)
    for _ in range(5):
        optimizer.zero_grad()
        learner(**batch).loss.backward()
        optimizer.step()
    learner.save_pretrained(folder)
    rows.processor.save_pretrained(folder)
    return learner


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load what was written in this process: starting another takes seconds, and one test does it for all."""
    from train.models import fresh_model

    def run(command: list[str], **_: Any) -> Any:
        fresh_model.main(*command[3:])
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(merge.subprocess, "run", run)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("name", FAMILIES)
def test_merged_answers_as_adapters_do(name: str, kind: Any, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """The written folder has every weight and file of its base, and gives the answers of the adapters."""
    rows = loaded(tiny(name))
    asked = questions(rows.encoded, rows.family)
    before = answers(rows.model, asked)
    learner = _trained(rows, Method(kind=kind), tmp_path / "adapters")
    expected = answers(learner, asked)
    report = merge_adapter(tiny(name), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert report.merged.within(1e-4)
    assert report.written.within(1e-4)
    assert report.dtype == "float32"
    assert {path.name for path in report.folder.iterdir()} == {path.name for path in tiny(name).iterdir()}
    base, merged = (load_file(folder / "model.safetensors") for folder in (tiny(name), report.folder))
    assert base.keys() == merged.keys()
    assert report.weights == len(base)
    assert report.bytes == sum(path.stat().st_size for path in report.folder.iterdir())
    again = load_model(report.folder).model
    given = answers(again, asked)
    assert difference(expected, given).within(1e-4)
    assert difference(expected, given).agreeing == 1.0
    assert not difference(before, given).within(1e-2)
    assert tied(again) == report.tied == (name != "smolvlm")
    assert {path.name for path in tmp_path.iterdir()} == {"adapters", "merged"}


def test_a_fresh_process_loads_it(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A process of its own loads the merged folder, and finds every weight as it was merged."""
    rows = loaded(tiny("qwen2_5_vl"))
    _trained(rows, Method(kind="lora"), tmp_path / "adapters")
    report = merge_adapter(tiny("qwen2_5_vl"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert report.written.largest < 1e-4
    assert not list(report.folder.glob(".tmp-*"))


@pytest.mark.usefixtures("in_this_process")
def test_a_damaged_weight_is_found(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number that is another on the disk than it was merged is found, and no folder is left."""
    rows = loaded(tiny("smolvlm"))
    _trained(rows, Method(kind="lora"), tmp_path / "adapters")
    proved = merge._proved

    def damaged(folder: Path, *rest: Any) -> Any:
        weights = load_file(folder / "model.safetensors")
        weights["model.text_model.layers.0.mlp.up_proj.weight"][3, 5] += 1e-6
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return proved(folder, *rest)

    monkeypatch.setattr(merge, "_proved", damaged)
    with pytest.raises(TrainError, match=r"loads other weights than were merged: 1 differ, e\.g\. model\.text_model"):
        merge_adapter(tiny("smolvlm"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"]


def test_a_wrong_merge_is_found(tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that do not answer as the adapters do are found before anything is written."""
    from peft.tuners.lora import LoraLayer

    rows = loaded(tiny("internvl"))
    _trained(rows, Method(kind="lora"), tmp_path / "adapters")
    scale = LoraLayer.scale_layer
    delta = merge.read_adapters

    def other_scale(model: Any, folder: Path) -> Any:
        wrapped = delta(model, folder)
        merging = wrapped.merge_and_unload

        def merge_otherwise(**options: Any) -> Any:
            for module in wrapped.modules():
                if isinstance(module, LoraLayer):
                    scale(module, 0.9)
            return merging(**options)

        wrapped.merge_and_unload = merge_otherwise
        return wrapped

    monkeypatch.setattr(merge, "read_adapters", other_scale)
    with pytest.raises(TrainError, match="the merged model answers otherwise than its adapters"):
        merge_adapter(tiny("internvl"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["smolvlm", "qwen3_vl"])
def test_a_model_in_half_precision_stays_so(name: str, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What is merged in float32 is written in its base's precision, and what that rounds is told."""
    half = tmp_path / "half"
    model, processor, _, _ = load_model(tiny(name), dtype="bfloat16")
    model.save_pretrained(half)
    processor.save_pretrained(half)
    rows = loaded(half)
    _trained(rows, Method(kind="lora"), tmp_path / "adapters")
    report = merge_adapter(half, tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert report.dtype == "bfloat16"
    assert report.merged.within(1e-4)
    assert 1e-4 < report.written.largest < 0.1 * report.written.scale
    kinds = {own.dtype for own in load_file(report.folder / "model.safetensors").values()}
    assert kinds == {torch.bfloat16}
    assert json.loads((report.folder / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.usefixtures("in_this_process")
def test_a_head_that_learnt_stays_tied(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A head that is the embeddings' matrix, and learns as a whole, is the embeddings' matrix when it is merged."""
    rows = loaded(tiny("qwen2_vl"))
    _trained(rows, Method(kind="lora", lora={"modules_to_save": ["lm_head"]}), tmp_path / "adapters")
    report = merge_adapter(tiny("qwen2_vl"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert report.tied
    assert tied(load_model(report.folder).model)


@pytest.mark.usefixtures("in_this_process")
def test_what_was_learnt_beside_four_bits(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Adapters of a model in 4 bits are merged into the whole model, and what that changes is told as numbers."""
    pytest.importorskip("bitsandbytes")
    rows = loaded(tiny("qwen2_vl"), quantise=True, dtype="bfloat16")
    _trained(rows, Method(kind="qlora"), tmp_path / "adapters")
    report = merge_adapter(
        tiny("qwen2_vl"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded, quantised=True
    )
    assert report.quantised is not None
    assert report.quantised.largest > 10 * report.merged.largest
    assert 0 < report.quantised.mean < report.quantised.largest
    assert report.dtype == "float32"


@pytest.mark.usefixtures("in_this_process")
def test_the_processor_of_the_training_goes_along(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A processor whose options were set for the training, and saved with the adapters, is that of the merged model."""
    rows = loaded(tiny("qwen2_vl"))
    rows.processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 6272}
    _trained(rows, Method(kind="lora"), tmp_path / "adapters")
    report = merge_adapter(tiny("qwen2_vl"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert load_processor(report.folder).image_processor.size["longest_edge"] == 6272
    for saved in (tmp_path / "adapters").glob("*processor_config.json"):
        saved.unlink()
    report = merge_adapter(tiny("qwen2_vl"), tmp_path / "adapters", tmp_path / "another", examples=rows.encoded)
    of_base = load_processor(tiny("qwen2_vl")).image_processor.size["longest_edge"]
    assert load_processor(report.folder).image_processor.size["longest_edge"] == of_base != 6272


@pytest.mark.usefixtures("in_this_process")
def test_a_generation_config_is_taken_as_it_is(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What transformers would refuse to write of how the base generates is there byte for byte, or not at all."""
    base = tmp_path / "base"
    model, processor, _, _ = load_model(tiny("smolvlm"))
    model.save_pretrained(base)
    processor.save_pretrained(base)
    rows = loaded(base)
    _trained(rows, Method(kind="lora"), tmp_path / "adapters")
    odd = '{"do_sample": false, "temperature": 0.01, "top_k": 1}\n'
    (base / "generation_config.json").write_text(odd)
    report = merge_adapter(base, tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
    assert (report.folder / "generation_config.json").read_text() == odd
    (base / "generation_config.json").unlink()
    report = merge_adapter(base, tmp_path / "adapters", tmp_path / "another", examples=rows.encoded)
    assert not (report.folder / "generation_config.json").exists()


def test_what_cannot_be_merged(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A folder that is there, adapters that are not, or that are another model's, are refused by name."""
    rows = loaded(tiny("smolvlm"))
    with pytest.raises(TrainError, match=r"holds no adapters: adapter_config\.json is not there"):
        merge_adapter(tiny("smolvlm"), tmp_path, tmp_path / "merged", examples=rows.encoded)
    with pytest.raises(TrainError, match="is there already"):
        merge_adapter(tiny("smolvlm"), tmp_path, tmp_path, examples=rows.encoded)
    apply_method(rows.model, rows.family, Method(kind="lora")).save_pretrained(tmp_path / "adapters")
    other = loaded(tiny("qwen2_vl"))
    with pytest.raises(TrainError, match=r"adapters in .* do not fit the model"):
        merge_adapter(tiny("qwen2_vl"), tmp_path / "adapters", tmp_path / "merged", examples=other.encoded)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_adapters_that_are_no_numbers(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Adapters of a training that ran away are not merged."""
    rows = loaded(tiny("smolvlm"))
    learner = apply_method(rows.model, rows.family, Method(kind="lora"))
    with torch.no_grad():
        next(own for own in learner.parameters() if own.requires_grad)[0, 0] = torch.nan
    learner.save_pretrained(tmp_path / "adapters")
    with pytest.raises(TrainError, match=r"adapters cannot be merged|answers otherwise"):
        merge_adapter(tiny("smolvlm"), tmp_path / "adapters", tmp_path / "merged", examples=rows.encoded)
