"""What training asks of a family of models: where its parts are, and how a conversation becomes tensors.

A family is a frozen record of facts and a few functions, one file each; `registry.py` finds it by `config.model_type`.
What is the same for all of them stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pipeline.errors import RowRejected
from pipeline.tokens.family import Refused
from train.example import Encoded, Frames, FramesSize, Image, ImageSize, TrainError
from train.families.admission import admit
from train.families.control_tokens import control_tokens
from train.families.processor_call import called
from train.families.rendering import Rendered, agreed, rendered, template_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from train.example import Example, Medium

IGNORED = -100
"""The label of a token that is not learnt, as torch's cross entropy has it."""
KINDS = {"image": Image | ImageSize, "video": Frames | FramesSize}


class Expansion(NamedTuple):
    """What a processor writes in the place of one medium, with every run of placeholders drawn together into one."""

    text: str
    more: int
    """Placeholders that were drawn together: so many tokens more than the text has."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Models that are put together, and see media, in one way."""

    name: str
    """What people and files call it."""
    model_types: tuple[str, ...]
    """`config.model_type` of its models."""
    vision: str
    """Prefix of the names of the vision tower's modules, without the dot behind, in the class that
    `AutoModelForImageTextToText` gives. In Qwen's models the projector is inside."""
    projector: tuple[str, ...]
    """Prefixes of the modules between vision tower and text model."""
    text: str
    """Prefix of the text model's modules; the head beside it is `lm_head`."""
    lora_targets: str
    """Regular expression for whole names of modules that LoRA may touch: linear layers of the text model only."""
    mixes_media: bool
    """May one example hold images and videos?"""
    template: str
    """File below `templates/`: the released models' chat template, with `generation` around what is learnt."""
    end_of_turn: str
    """The token with which the assistant ends; it is learnt, and what the template writes behind it is not."""
    before_answer: str = ""
    """What the template writes between a prompt and the assistant's text; it is learnt, since models write it."""
    image: Callable[[Any, ImageSize], Expansion]
    """Of a processor and an image's size; raises `pipeline.tokens.family.Refused`."""
    videos: Callable[[Any, Sequence[FramesSize]], list[Expansion]]
    """Of a processor and all videos of an example; raises `pipeline.tokens.family.Refused`."""
    call: Callable[[Any, str, Sequence[Image], Sequence[Frames]], dict[str, Tensor]] = called
    """Calls the processor for one example; tokens have a batch dimension of 1."""
    join: Callable[[Sequence[dict[str, Tensor]]], dict[str, Tensor]] | None = None
    """Media of several examples as one batch; None where each tensor goes on in its first dimension."""
    place: Callable[[Any, Encoded], Tensor] | None = None
    """Position ids from a model's config and one example; None where they count from 0."""
    video_template: Callable[[], str] | None = None
    """The chat template that the processor takes instead of its own where there is a video."""

    def check(self, processor: Any, example: Example) -> None:
        """Let an example through that this family can be trained on; its media may be sizes.

        Raises:
            RowRejected: `train.turns`, `train.mixed`, `train.placeholder`, `train.no_answer` or `train.media`, which
                is a medium that the processor fails on.
        """
        self._admit(processor, example)
        self._expansions(processor, example.media)

    def encode(self, processor: Any, example: Example) -> Encoded:
        """Return an example as tensors, learnt where the assistant speaks and nowhere else.

        The text is cut where the assistant begins and ends, so that no token reaches over: what stands before an
        answer has the very tokens that it has as a prompt.

        Raises:
            RowRejected: it cannot be trained on; see `check`.
            TrainError: what the processor gave is not what was asked for.
        """
        self.check(processor, example)
        marked, count, number = self._marked(processor, example)
        tensors = self._called(processor, marked, example.media)
        ids = tensors["input_ids"][0]
        cuts = (ids == number).nonzero()[:, 0].tolist()
        if len(cuts) != count:
            raise TrainError(f"{example.row}: the processor kept {len(cuts)} of {count} marks around the answers")
        labels = torch.full_like(ids, IGNORED)
        for start, stop in zip(cuts[::2], cuts[1::2], strict=True):
            labels[start:stop] = ids[start:stop]
        return _encoded(example, tensors, labels, kept=ids != number)

    def prompt(self, processor: Any, example: Example) -> Encoded:
        """Return what a model is given to answer the last user's turn; an assistant's turn behind it is left out.

        Nothing in it is labelled.

        Raises:
            RowRejected: a model of this family cannot be asked it; see `check`.
        """
        turns = example.turns[:-1] if example.turns and example.turns[-1].role == "assistant" else example.turns
        admit(processor, turns, mixes_media=self.mixes_media)
        media = [part for turn in turns for part in turn.parts if not isinstance(part, str)]
        self._expansions(processor, media)
        written = self._rendered(processor, replace(example, turns=turns), opened=True)
        tensors = self._called(processor, written.text, media)
        ids = tensors["input_ids"][0]
        return _encoded(example, tensors, torch.full_like(ids, IGNORED), kept=torch.ones_like(ids, dtype=torch.bool))

    def length(self, processor: Any, example: Example) -> int:
        """Return how many tokens `encode` gives, from sizes alone: no medium is decoded.

        Raises:
            RowRejected: it cannot be trained on; see `check`.
        """
        self._admit(processor, example)
        marked, count, _ = self._marked(processor, example)
        more = -count
        if example.media:
            images, videos = self._expansions(processor, example.media)
            marked = _replaced(marked, {processor.image_token: images, processor.video_token: videos})
            more += sum(expansion.more for expansion in (*images, *videos))
        return len(processor.tokenizer(marked, add_special_tokens=False)["input_ids"]) + more

    def proved(self, processor: Any, encoded: Encoded, example: Example) -> None:
        """Prove that what is learnt is what the assistant says, and that the length was foreseen.

        Raises:
            TrainError: it is not; names the row and both texts, or both lengths.
        """
        tokenizer = processor.tokenizer
        normalizer = tokenizer.backend_tokenizer.normalizer
        expected = [
            self.before_answer + "".join(str(part) for part in turn.parts) + self.end_of_turn
            for turn in example.turns
            if turn.role == "assistant"
        ]
        if normalizer is not None:
            expected = [normalizer.normalize_str(text) for text in expected]
        learnt = [tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in _runs(encoded.labels)]
        if learnt != expected:
            raise TrainError(f"{example.row}: the model would learn {learnt!r}, and the assistant says {expected!r}")
        foreseen = self.length(processor, example)
        if foreseen != encoded.length:
            raise TrainError(
                f"{example.row}: it was foreseen to have {foreseen:,} tokens and has {encoded.length:,}; this "
                "processor sees media otherwise than its family",
            )

    def media_batch(self, media: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the media of several examples, each `Encoded.media`, as arguments of one call of the model.

        The order of the examples is that of their rows in the batch, or in the packed row. Examples without media are
        empty; what none of them has is absent.
        """
        if self.join is not None:
            return self.join(media)
        names = dict.fromkeys(name for one in media for name in one)
        return {name: torch.cat([one[name] for one in media if name in one]) for name in names}

    def positions(self, config: Any, encoded: Encoded) -> Tensor:
        """Return the position ids of an example that stands alone, to be joined with others in one packed row.

        Args:
            config: Of the whole model, `model.config`.
            encoded: One example.

        Returns:
            [1, length] of int64; for Qwen's models [4, 1, length]: the place in the text, by which packed examples are
            told apart, then time, row and column.
        """
        if self.place is not None:
            return self.place(config, encoded)
        return torch.arange(encoded.length)[None]

    def chat_template(self, processor: Any) -> str:
        """Return the template that is trained with: it writes what the checkpoint's own writes.

        Raises:
            TrainError: the checkpoint's template writes something else, and does not mark what the assistant says.
        """
        own = processor.chat_template or processor.tokenizer.chat_template
        if isinstance(own, dict):
            own = own.get("default")
        special = tuple(sorted((name, str(token)) for name, token in processor.tokenizer.special_tokens_map.items()))
        own_video = self.video_template() if self.video_template is not None else None
        return agreed(self.name, template_text(self.template), own, own_video, special)

    def _admit(self, processor: Any, example: Example) -> None:
        admit(processor, example.turns, mixes_media=self.mixes_media)
        if not any(turn.role == "assistant" for turn in example.turns):
            raise RowRejected("train.no_answer", "the assistant says nothing in it, so there is nothing to learn")

    def _rendered(self, processor: Any, example: Example, *, opened: bool = False) -> Rendered:
        template, special = self.chat_template(processor), processor.tokenizer.special_tokens_map
        written = rendered(template, example.turns, special, end=self.end_of_turn, opened=opened)
        for kind, token in (("image", processor.image_token), ("video", processor.video_token)):
            shown = sum(isinstance(medium, KINDS[kind]) for medium in example.media)
            places = written.text.count(token)
            if places != shown:
                raise TrainError(
                    f"{example.row}: the checkpoint's chat template has places for {places} of {shown} {kind}s",
                    hint=f"its chat_template.jinja must write {token} for each part of the type {kind!r}",
                )
        return written

    def _marked(self, processor: Any, example: Example) -> tuple[str, int, int]:
        """Return the text with a token before and behind each answer, how many these are, and the token's id."""
        written = self._rendered(processor, example)
        if not written.spans:
            raise TrainError(f"{example.row}: the chat template marks nothing that the assistant says")
        cutter, number = control_tokens(processor).cutter(written.text)
        places = [place for span in written.spans for place in span]
        parts = [written.text[one:two] for one, two in zip([0, *places], [*places, None], strict=True)]
        return cutter.join(parts), len(places), number

    def _called(self, processor: Any, text: str, media: Sequence[Medium]) -> dict[str, Tensor]:
        images = [medium for medium in media if isinstance(medium, Image)]
        videos = [medium for medium in media if isinstance(medium, Frames)]
        assert len(images) + len(videos) == len(media), "sizes are for `length`"
        return self.call(processor, text, images, videos)

    def _expansions(self, processor: Any, media: Sequence[Medium]) -> tuple[list[Expansion], list[Expansion]]:
        """Return what stands for images, and what for videos.

        Raises:
            RowRejected: the processor fails on one.
        """
        sizes = [medium.size if isinstance(medium, Image | Frames) else medium for medium in media]
        try:
            images = [self.image(processor, size) for size in sizes if isinstance(size, ImageSize)]
            videos = self.videos(processor, [size for size in sizes if isinstance(size, FramesSize)])
        except Refused as reason:
            raise RowRejected("train.media", f"the model's processor fails on a medium: {reason}") from reason
        return images, videos


def _replaced(text: str, expansions: dict[str, list[Expansion]]) -> str:
    """Return a text with its placeholders replaced, each by the next of its kind."""
    for placeholder, ones in expansions.items():
        if ones:
            head, *rest = text.split(placeholder)
            text = head + "".join(one.text + part for one, part in zip(ones, rest, strict=True))
    return text


def _encoded(example: Example, tensors: dict[str, Tensor], labels: Tensor, *, kept: Tensor) -> Encoded:
    """Return tensors of the tokens that are kept; what is no tensor of tokens is of the media."""
    types = tensors.get("mm_token_type_ids")
    of_tokens = ("input_ids", "attention_mask", "mm_token_type_ids")
    return Encoded(
        row=example.row,
        input_ids=tensors["input_ids"][0][kept],
        labels=labels[kept],
        token_types=None if types is None else types[0][kept],
        media={name: tensor for name, tensor in tensors.items() if name not in of_tokens},
    )


def _runs(labels: Tensor) -> list[list[int]]:
    """Return the ids of each run of labelled tokens."""
    runs: list[list[int]] = []
    inside = False
    for label in labels.tolist():
        if label != IGNORED:
            if not inside:
                runs.append([])
            runs[-1].append(label)
        inside = label != IGNORED
    return runs
