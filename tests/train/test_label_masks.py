"""What is learnt is what the assistant says, and nothing else, in every family."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from pipeline.errors import RowRejected
from pipeline.printable import escaped
from tests.train.conversations import assistant, example, frames, image, system, user
from train.example import FramesSize, Image, TrainError
from train.families.family import IGNORED
from train.families.registry import families

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from train.example import Encoded, Example
    from train.families.family import Family

FAMILIES = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)

CONVERSATIONS = {
    "image": example(user(image(), "What is it?"), assistant("A rabbit.")),
    "text before an image": example(user("Look:", image(90, 40)), assistant("A rabbit.")),
    "two images": example(user("Both ", image(100, 300), " and ", image(9, 5), "?"), assistant("Two.")),
    "an image in a later turn": example(
        user("Hi"), assistant("Hello."), user(image(), "And this?"), assistant("A fox.")
    ),
    "video": example(user(frames(4), "What happens?"), assistant("People ride bikes.")),
    "video of an odd number of frames": example(user("See:", frames(5), "What happens?"), assistant("A dog runs.")),
    "two videos of different lengths": example(user(frames(3), frames(6), "Which?"), assistant("The second.")),
    "text": example(user("Hi"), assistant("Hello.")),
    "system": example(system("Be brief."), user("Hi"), assistant("Hello.")),
    "turns": example(user("One?"), assistant("1"), user("Two?"), assistant("2"), user("Three?"), assistant("3")),
    "the assistant repeats the user": example(user("Yes."), assistant("Yes."), user("Yes."), assistant("Yes.")),
    "an answer in parts": example(user("Hi"), assistant("Hel", "lo", ".")),
    "space and line breaks around": example(user("Hi"), assistant("\n\n  Hello \n"), user("?"), assistant(" \n \n")),
    "an empty answer": example(user("Say nothing."), assistant(""), user("Now?"), assistant("Now.")),
    "other scripts": example(user("¿Qué es?"), assistant("漢字と🐇 \u00e9 e\u0301 \uffff \u200b")),
    "looks like a turn": example(user("user\nassistant\n"), assistant("assistant\nUser: Assistant: no")),
    "the user has the last word": example(user("Hi"), assistant("Hello."), user("Bye")),
}
MIXED = example(user(frames(4), image(30, 30), "and", frames(3), "?"), assistant("All of them."))


@functools.cache
def _loaded(folder: Path) -> Any:
    return AutoProcessor.from_pretrained(folder)


@pytest.fixture
def processor_of(tiny: Callable[[str], Path]) -> Callable[[Family], Any]:
    """Give the processor of a family's tiny model."""
    return lambda family: _loaded(tiny(family.name))


def _answers(family: Family, conversation: Example) -> list[str]:
    return [
        family.before_answer + "".join(str(part) for part in turn.parts) + family.end_of_turn
        for turn in conversation.turns
        if turn.role == "assistant"
    ]


def _labelled(processor: Any, encoded: Encoded) -> str:
    return str(processor.tokenizer.decode(encoded.labels[encoded.labels != IGNORED]))


@FAMILIES
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_only_answers_are_learnt(family: Family, name: str, processor_of: Callable[[Family], Any]) -> None:
    """The labelled tokens are the assistant's words with its end of turn; each label is the token in its place."""
    processor, conversation = processor_of(family), CONVERSATIONS[name]
    encoded = family.encode(processor, conversation)
    normal = processor.tokenizer.backend_tokenizer.normalizer
    expected = "".join(_answers(family, conversation))
    assert _labelled(processor, encoded) == (normal.normalize_str(expected) if normal else expected)
    learnt = encoded.labels != IGNORED
    assert torch.equal(encoded.labels[learnt], encoded.input_ids[learnt])
    assert encoded.labels.shape == encoded.input_ids.shape == (encoded.length,)
    family.proved(processor, encoded, conversation)


@FAMILIES
def test_answers_are_learnt_where_they_stand(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """An answer that says what the user said is learnt behind the assistant's name and not in the user's turn."""
    processor = processor_of(family)
    encoded = family.encode(processor, CONVERSATIONS["the assistant repeats the user"])
    learnt = encoded.labels != IGNORED
    before = [
        processor.tokenizer.decode(encoded.input_ids[:place]).rstrip("\n:")[-9:].lower()
        for place in range(1, encoded.length)
        if learnt[place] and not learnt[place - 1]
    ]
    assert before == ["assistant", "assistant"]


@FAMILIES
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_prompts_are_what_stands_before_answers(
    family: Family, name: str, processor_of: Callable[[Family], Any]
) -> None:
    """The prompt of a conversation of one answer has the very tokens and media that stand before that answer."""
    processor, conversation = processor_of(family), CONVERSATIONS[name]
    first = next(place for place, turn in enumerate(conversation.turns) if turn.role == "assistant")
    once = replace(conversation, turns=conversation.turns[: first + 1])
    encoded, prompt = family.encode(processor, once), family.prompt(processor, once)
    begin = int((encoded.labels != IGNORED).nonzero()[0])
    assert prompt.input_ids.tolist() == encoded.input_ids[:begin].tolist()
    assert set(prompt.labels.tolist()) == {IGNORED}
    assert prompt.media.keys() == encoded.media.keys()
    assert all(torch.equal(prompt.media[key], encoded.media[key]) for key in encoded.media)
    if encoded.token_types is not None and prompt.token_types is not None:
        assert prompt.token_types.tolist() == encoded.token_types[:begin].tolist()


@FAMILIES
def test_the_processor_agrees(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """Ids and pixels are those that the processor itself makes of the conversation by the checkpoint's template."""
    processor = processor_of(family)
    picture, clip = image(70, 50), frames(4)
    asked = {
        "images": user("See ", picture, " and ", image(20, 90, seed=1), "?"),
        "video": user(clip, "What happens?"),
    }
    for kind, turn in asked.items():
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image", "image": part.pixels}
            if isinstance(part, Image)
            else {"type": "video", "video": clip.pixels}
            for part in turn.parts
        ]
        told = {"total_num_frames": 100, "fps": 25.0, "duration": 4.0, "frames_indices": [0, 25, 50, 75]}
        theirs = processor.apply_chat_template(
            [
                {"role": "user", "content": content},
                {"role": "assistant", "content": [{"type": "text", "text": "A rabbit."}]},
            ],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"do_sample_frames": False, "video_metadata": [told]} if kind == "video" else {},
        )
        ours = family.encode(processor, example(turn, assistant("A rabbit.")))
        assert ours.input_ids.tolist() == theirs["input_ids"][0].tolist()
        assert ours.media.keys() == theirs.keys() - {"input_ids", "attention_mask", "mm_token_type_ids"}
        for name, tensor in ours.media.items():
            assert torch.equal(tensor, theirs[name]), name
        if ours.token_types is not None:
            assert ours.token_types.tolist() == theirs["mm_token_type_ids"][0].tolist()


@FAMILIES
def test_times_of_frames_are_written(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """Families that write the times of frames write those of the chosen frames."""
    processor = processor_of(family)
    clip = frames(4, step=50)
    text = processor.tokenizer.decode(family.encode(processor, example(user(clip), assistant("."))).input_ids)
    expected = {
        "smolvlm": ["four frames from a 0:00:08 [", "Frame from 00:00:", "Frame from 00:02:", "Frame from 00:06:"],
        "qwen3_vl": ["<1.0 seconds>", "<5.0 seconds>"],
        "internvl": ["Frame1: <img>", "Frame4: <img>"],
    }
    for words in expected.get(family.name, []):
        assert words in text
    if family.name == "qwen2_5_vl":
        encoded = family.encode(processor, example(user(clip), assistant(".")))
        assert encoded.media["second_per_grid_ts"].tolist() == [4.0]


@FAMILIES
def test_images_and_videos_in_one_example(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """They are taken where the model sees both, in their order; where it would see only one kind they are refused."""
    processor = processor_of(family)
    if family.mixes_media:
        encoded = family.encode(processor, MIXED)
        family.proved(processor, encoded, MIXED)
        assert encoded.media.keys() & {"pixel_values", "pixel_values_videos"}
    else:
        with pytest.raises(RowRejected, match="1 image and 2 videos in one example") as refused:
            family.encode(processor, MIXED)
        assert refused.value.code == "train.mixed"


def test_videos_of_different_lengths_keep_their_order(processor_of: Callable[[Family], Any]) -> None:
    """InternVL's processor is called once for each of them, and gives what stands in the text, in its order."""
    family = next(one for one in families() if one.name == "internvl")
    processor = processor_of(family)
    parts = (frames(2, seed=1), image(40, 40, seed=2), frames(3, seed=3))
    encoded = family.encode(processor, example(user("a", *parts, "b"), assistant("c")))
    alone = [family.encode(processor, example(user(part), assistant("c"))).media["pixel_values"] for part in parts]
    assert torch.equal(encoded.media["pixel_values"], torch.cat(alone))


@FAMILIES
def test_control_tokens_in_texts_are_refused(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """A text that writes a placeholder or ends a turn is refused by name, whoever's text it is."""
    processor = processor_of(family)
    for token in (processor.image_token, processor.video_token, family.end_of_turn, "<|im_start|>", "\U000f0000"):
        for conversation in (
            example(user(image(), f"What is {token} here?"), assistant("A rabbit.")),
            example(user("Hi"), assistant(f"A {token}.")),
            example(system(token), user("Hi"), assistant("A rabbit.")),
        ):
            with pytest.raises(RowRejected) as refused:
                family.encode(processor, conversation)
            assert refused.value.code == "train.placeholder"
            assert escaped(token) in refused.value.message
            with pytest.raises(RowRejected):
                family.length(processor, conversation)
            with pytest.raises(RowRejected):
                family.prompt(processor, example(*conversation.turns[:-1], user(token)))


@FAMILIES
def test_likenesses_of_control_tokens_are_texts(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """What is no control token of this model is text."""
    processor = processor_of(family)
    conversation = example(user("<images> < |im_end|> <|image_pad>"), assistant("<think>b</think>"))
    family.proved(processor, family.encode(processor, conversation), conversation)


@FAMILIES
def test_turns_that_no_template_has_a_place_for(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """Unknown roles, a late system turn, media that the user does not show and lone questions are refused."""
    processor = processor_of(family)
    refusals = {
        "train.turns": (
            example(replace(user("Hi"), role="tool"), assistant("Hello.")),
            example(user("Hi"), system("Be brief."), assistant("Hello.")),
            example(user("Hi"), assistant("See: ", image())),
            example(system(frames(2)), user("Hi"), assistant("Hello.")),
        ),
        "train.no_answer": (example(user("Hi")), example(system("Be brief."))),
    }
    for code, conversations in refusals.items():
        for conversation in conversations:
            with pytest.raises(RowRejected) as refused:
                family.check(processor, conversation)
            assert refused.value.code == code


@FAMILIES
def test_media_that_the_processor_fails_on(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """They are refused before the processor fails, by sizes alone."""
    if not family.name.startswith("qwen"):
        pytest.skip("its processor takes media of any shape")
    processor = processor_of(family)
    with pytest.raises(RowRejected, match="one side is") as refused:
        family.check(processor, example(user(image(2001, 10)), assistant("A line.")))
    assert refused.value.code == "train.media"
    if family.name == "qwen3_vl":
        lone = FramesSize(width=64, height=48, numbers=(0,), total=1, fps=25.0)
        with pytest.raises(RowRejected, match="needs 2 frames"):
            family.check(processor, example(user(lone), assistant("Still.")))


@FAMILIES
def test_frozen_pixels_are_taken(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """Pixels that nobody may write to, as they come out of Arrow, give the same tensors; none is changed."""
    processor = processor_of(family)
    picture = image()
    frozen = np.frombuffer(picture.pixels.tobytes(), dtype=np.uint8).reshape(picture.pixels.shape)
    one = family.encode(processor, example(user(picture, "?"), assistant(".")))
    two = family.encode(processor, example(user(Image(pixels=frozen), "?"), assistant(".")))
    assert torch.equal(one.media["pixel_values"], two.media["pixel_values"])
    assert np.array_equal(picture.pixels, frozen)


@FAMILIES
def test_what_is_not_the_answer_is_found(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """The proof names the row and both texts when other tokens are labelled, and both lengths when those differ."""
    processor, conversation = processor_of(family), CONVERSATIONS["turns"]
    encoded = family.encode(processor, conversation)
    shifted = replace(encoded, labels=torch.where(encoded.labels.roll(1) == IGNORED, IGNORED, encoded.input_ids))
    with pytest.raises(TrainError, match=r"row 7 \(seven\): the model would learn .* and the assistant says"):
        family.proved(processor, shifted, conversation)
    nothing = replace(encoded, labels=torch.full_like(encoded.labels, IGNORED))
    with pytest.raises(TrainError, match=r"would learn \[\]"):
        family.proved(processor, nothing, conversation)
    longer = replace(encoded, input_ids=torch.cat([encoded.input_ids, encoded.input_ids[:1]]))
    with pytest.raises(TrainError, match="was foreseen to have"):
        family.proved(processor, longer, conversation)
