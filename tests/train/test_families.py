"""Families know the parts of their models, their templates, their tiny models; and what they encode can be learnt."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import pad
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.train.conversations import assistant, example, frames, image, system, user
from train.example import TrainError
from train.families.family import IGNORED
from train.families.registry import families, family_for
from train.tiny import make_tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.example import Encoded, Example
    from train.families.family import Family

FAMILIES = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
RELEASED = Path(__file__).parents[1] / "data" / "chat_templates"

LESSONS = (
    example(user(image(seed=1), "What is it?"), assistant("A red square.")),
    example(user(image(40, 90, seed=2), image(seed=3), "Both?"), assistant("Black, then red.")),
    example(
        user(frames(4, seed=4), "What happens?"), assistant("People ride bikes."), user("Then?"), assistant("No more.")
    ),
    example(system("Be brief."), user("Hi"), assistant("Hello.")),
)
"""Images, several images, a video with two answers, and text alone."""


def _loaded(folder: Path) -> tuple[Any, Any]:
    return AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


def _arguments(family: Family, encoded: Encoded) -> dict[str, Any]:
    """Return the arguments of a model for one example alone."""
    given = {"input_ids": encoded.input_ids[None], "labels": encoded.labels[None], "use_cache": False}
    if encoded.token_types is not None:
        given["mm_token_type_ids"] = encoded.token_types[None]
    return given | family.media_batch([encoded.media])


def _together(family: Family, encoded: list[Encoded]) -> dict[str, Any]:
    """Return the arguments of a model for several examples, the shorter ones filled up at their ends."""
    longest = max(one.length for one in encoded)

    def beside(rows: list[torch.Tensor], value: int) -> torch.Tensor:
        return torch.stack([pad(row, (0, longest - len(row)), value=value) for row in rows])

    given = {
        "input_ids": beside([one.input_ids for one in encoded], 0),
        "attention_mask": beside([torch.ones_like(one.input_ids) for one in encoded], 0),
        "labels": beside([one.labels for one in encoded], IGNORED),
        "use_cache": False,
    }
    if encoded[0].token_types is not None:
        given["mm_token_type_ids"] = beside([one.token_types for one in encoded if one.token_types is not None], 0)
    return given | family.media_batch([one.media for one in encoded])


@FAMILIES
def test_parts_are_where_the_family_says(family: Family, tiny: Callable[[str], Path]) -> None:
    """Tower, projector and text model are modules of the model; LoRA may touch all linear layers of the text alone."""
    model, _ = _loaded(tiny(family.name))
    assert family_for(model.config.model_type) is family
    modules = dict(model.named_modules())
    assert {family.vision, family.text, "lm_head", *family.projector} <= modules.keys()
    touched = {name for name in modules if re.fullmatch(family.lora_targets, name)}
    linear = {name for name, module in modules.items() if isinstance(module, torch.nn.Linear)}
    assert touched == {name for name in linear if name.startswith(f"{family.text}.")}
    parts = [family.text, "lm_head", family.vision, *family.projector]
    assert {name for name, _ in model.named_parameters() if not name.startswith(tuple(parts))} == set()


def test_unknown_models_are_named() -> None:
    """Of a model that no family has, it is said which types can be trained."""
    with pytest.raises(TrainError, match="models of type 'llava_next' cannot be trained here") as error:
        family_for("llava_next")
    assert error.value.allowed == "internvl, qwen2_5_vl, qwen2_vl, qwen3_vl, smolvlm"
    with pytest.raises(TrainError, match="no family 'gpt'"):
        make_tiny("gpt", Path("gpt"))
    assert not Path("gpt").exists()


@FAMILIES
def test_tiny_models_are_the_same_bytes(family: Family, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """The same seed gives the same files, whatever was drawn before; another one gives other weights."""
    torch.rand(7)
    before = torch.get_rng_state()
    again = make_tiny(family.name, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), before)
    first = tiny(family.name)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert [(first / name).read_bytes() for name in names] == [(again / name).read_bytes() for name in names]
    other = make_tiny(family.name, tmp_path / "other", seed=1)
    weights = "model.safetensors"
    assert (other / weights).read_bytes() != (first / weights).read_bytes()
    assert 100_000 < sum(parameter.numel() for parameter in _loaded(first)[0].parameters()) < 400_000


@FAMILIES
def test_positions_are_the_model_s(family: Family, tiny: Callable[[str], Path]) -> None:
    """Given the positions of the family, a model says exactly what it says with those that it computes itself."""
    model, processor = _loaded(tiny(family.name))
    for lesson in LESSONS:
        encoded = family.encode(processor, lesson)
        positions = family.positions(model.config, encoded)
        assert positions.shape in {(1, encoded.length), (4, 1, encoded.length)}
        arguments = _arguments(family, encoded)
        with torch.no_grad():
            computed = model(**arguments).logits
            given = model(**arguments, position_ids=positions).logits
        assert torch.equal(computed, given)


@FAMILIES
def test_media_of_a_batch_keep_their_order(family: Family, tiny: Callable[[str], Path]) -> None:
    """In one call of the model, each example sees its own media; examples without media take none of others."""
    model, processor = _loaded(tiny(family.name))
    encoded = [family.encode(processor, lesson) for lesson in LESSONS]
    assert not any("pixel" in name for name in family.media_batch([encoded[-1].media]))
    with torch.no_grad():
        together = model(**_together(family, encoded)).logits
        for row, one in enumerate(encoded):
            alone = model(**_arguments(family, one)).logits[0]
            assert torch.allclose(together[row, : one.length], alone, atol=1e-4)


@FAMILIES
def test_answers_are_learnt(family: Family, tiny: Callable[[str], Path]) -> None:
    """A tiny model learns four conversations by heart in seconds, and then gives the answers to their prompts."""
    model, processor = _loaded(tiny(family.name))
    batch = _together(family, [family.encode(processor, lesson) for lesson in LESSONS])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = [float("inf")]
    while losses[-1] > 0.02 and len(losses) < 80:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1
    for lesson in LESSONS:
        prompt = family.prompt(processor, lesson)
        given = {
            name: value for name, value in _arguments(family, prompt).items() if name not in {"labels", "use_cache"}
        }
        written = model.generate(**given, max_new_tokens=40, do_sample=False)[0, prompt.length :]
        answer = processor.tokenizer.decode(written, skip_special_tokens=True)
        assert answer == family.before_answer + str(lesson.turns[-1].parts[0])


CASES: dict[str, Example] = {
    "turns": example(user("One?"), assistant(" 1\n"), user("Two?"), assistant("2")),
    "system": example(system("Be\nbrief. "), user("Hi"), assistant("Hello.")),
    "images": example(user(image(), "Which", image(), "?"), assistant("A fox."), user(image()), assistant("Two.")),
    "text first": example(user(" Look: ", image(), "now"), assistant("A fox.")),
    "video": example(user(frames(2), "What happens?"), assistant("Bikes.")),
    "text before a video": example(system("Brief."), user("See", frames(2), frames(2)), assistant("Bikes.")),
}
FILES = {"smolvlm": "smolvlm", "qwen2_vl": "qwen2_5_vl", "qwen2_5_vl": "qwen2_5_vl", "qwen3_vl": "qwen3_vl"}


@FAMILIES
@pytest.mark.parametrize("name", CASES)
def test_templates_write_what_released_ones_write(family: Family, name: str, tiny: Callable[[str], Path]) -> None:
    """Training text and prompt are, to the character, those of the released model's template and processor."""
    if family.name not in FILES:
        pytest.skip("see the next test")
    processor = AutoProcessor.from_pretrained(tiny(family.name))
    processor.chat_template = (RELEASED / f"{FILES[family.name]}.jinja").read_text(encoding="utf-8")
    case = CASES[name]
    conversation = [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "video" if part.pixels.ndim == 4 else "image"}
                for part in turn.parts
            ],
        }
        for turn in case.turns
    ]
    text = family._rendered(processor, case).text
    assert text == processor.apply_chat_template(conversation)
    asked = replace(case, turns=case.turns[:-1])
    prompt = family._rendered(processor, asked, opened=True).text
    assert prompt == processor.apply_chat_template(conversation[:-1], add_generation_prompt=True)
    assert text.startswith(prompt)


def test_internvl_puts_each_medium_on_a_line(tiny: Callable[[str], Path]) -> None:
    """The template of InternVL's released models, in the one text that shows all it does."""
    family = family_for("internvl")
    processor = AutoProcessor.from_pretrained(tiny("internvl"))
    case = example(system("Brief."), user("See ", image(), "and", frames(2)), assistant("A fox."))
    assert family._rendered(processor, case).text == (
        "<|im_start|>system\nBrief.<|im_end|>\n"
        "<|im_start|>user\nSee <IMG_CONTEXT>\nand<video>\n<|im_end|>\n"
        "<|im_start|>assistant\nA fox.<|im_end|>\n"
    )


@FAMILIES
def test_a_checkpoint_with_another_template(family: Family, tiny: Callable[[str], Path]) -> None:
    """One that marks what the assistant says is trained with; one that does not and writes other texts is refused."""
    processor = AutoProcessor.from_pretrained(tiny(family.name))
    own = processor.chat_template
    processor.chat_template = own.replace("add_generation_prompt", "false")
    with pytest.raises(TrainError, match="does not mark what the assistant says") as error:
        family.encode(processor, LESSONS[3])
    assert "{% generation %}" in error.value.hint
    processor.chat_template = own + "{{ messages.no.such.thing }}"
    with pytest.raises(TrainError, match="an error: "):
        family.encode(processor, LESSONS[3])
    end = family.end_of_turn
    processor.chat_template = (
        "{% for message in messages %}[{{ message.role }}]{% if message.role == 'assistant' %}{% generation %}"
        "{{ '" + family.before_answer + "' + message.content[0].text + '" + end + "\\n' }}{% endgeneration %}"
        "{% else %}{{ message.content[0].text }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    encoded = family.encode(processor, LESSONS[3])
    family.proved(processor, encoded, LESSONS[3])
    assert processor.tokenizer.decode(encoded.input_ids) == (
        f"[system]Be brief.[user]Hi[assistant]{family.before_answer}Hello.{end}\n"
    )
    with pytest.raises(TrainError, match="has places for 0 of 1 images"):
        family.encode(processor, LESSONS[0])
    processor.chat_template = None
    family.proved(processor, family.encode(processor, LESSONS[3]), LESSONS[3])
