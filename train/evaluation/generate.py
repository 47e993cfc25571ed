"""What a model answers: greedily, so that the same model and the same rows give the same texts.

Prompts of a batch stand beside each other with what fills them up on their left, so that all answers begin at the same
place; nothing attends to it, and positions begin behind it. What a checkpoint's generation_config.json asks for
(sampling, temperatures, penalties for words that come again) is left aside: a formula may say the same twice.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from train.batching.media import media_arguments
from train.example import TrainError
from train.no_network import working_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from train.example import Encoded, Example, RowRef
    from train.families.family import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model answered to one prompt."""

    row: RowRef
    text: str
    """Without special tokens."""
    tokens: int
    """That the model wrote, the one with which it ended included."""
    cut_off: bool
    """Whether the limit of tokens came before the end."""


def generate_texts(
    model: Any,
    processor: Any,
    family: Family,
    examples: Iterable[Example],
    *,
    max_new_tokens: int,
    batch: int = 1,
) -> Iterator[Answer]:
    """Yield what a model answers to the last user's turn of each example, in order; an answer in it is not shown to it.

    `batch` examples are held at a time. The network is to be forbidden by whoever asks (`train.no_network`).

    Raises:
        RowRejected: a model of this family cannot be asked an example; see `Family.check`.
    """
    waiting = iter(examples)
    while some := list(islice(waiting, batch)):
        prompts = []
        for example in some:
            with working_on(example.row):
                prompts.append(family.prompt(processor, example))
        yield from answers_to(model, processor, family, prompts, max_new_tokens=max_new_tokens)


def answers_to(
    model: Any,
    processor: Any,
    family: Family,
    prompts: Sequence[Encoded],
    *,
    max_new_tokens: int,
    heard: Callable[[str], object] | None = None,
    stopping: Callable[[], bool] | None = None,
) -> list[Answer]:
    """Return what a model answers to prompts, all at once.

    Args:
        model: With adapters of peft or without.
        processor: Of the model.
        family: Of the model.
        prompts: As `Family.prompt` gives them.
        max_new_tokens: Tokens of an answer at the most.
        heard: Called with each piece of the text as it comes, where there is one prompt.
        stopping: Asked behind each token whether to end there.

    Raises:
        TrainError: the device's memory is too small.
    """
    tokenizer = processor.tokenizer
    ends = end_ids(model, tokenizer, family)
    filler = next(one for one in (tokenizer.pad_token_id, tokenizer.eos_token_id, *ends) if one is not None)
    inputs = left_padded(prompts, family, pad_id=filler)
    length = inputs["input_ids"].shape[1]
    streamed = _Heard(processor, family, heard) if heard is not None else None
    greedy = _greedy(model, ends=sorted(ends), filler=filler, max_new_tokens=max_new_tokens)
    with memory_errors(len(prompts)), greedy as bare, torch.no_grad():
        given = {name: _placed(own, bare) for name, own in inputs.items()}
        out = bare.generate(**given, streamer=streamed, stopping_criteria=_criteria(stopping))
    return [
        _answer(prompt, written[length:].tolist(), processor, family, ends=ends)
        for prompt, written in zip(prompts, out, strict=True)
    ]


def end_ids(model: Any, tokenizer: Any, family: Family) -> set[int]:
    """Return the tokens with which an answer ends: the family's end of turn, and what the checkpoint names."""
    said = bare_model(model).generation_config.eos_token_id
    named = said if isinstance(said, list) else [said]
    return {one for one in (tokenizer.convert_tokens_to_ids(family.end_of_turn), *named) if one is not None}


def left_padded(prompts: Sequence[Encoded], family: Family, *, pad_id: int) -> dict[str, Any]:
    """Return prompts as arguments of `generate`: [prompts, length], filled up on the left, and their media in order."""
    longest = max(prompt.length for prompt in prompts)

    def beside(rows: Sequence[Tensor], value: int) -> Tensor:
        return torch.stack([pad(row, (longest - row.shape[0], 0), value=value) for row in rows])

    inputs = {
        "input_ids": beside([prompt.input_ids for prompt in prompts], pad_id),
        "attention_mask": beside([torch.ones_like(prompt.input_ids) for prompt in prompts], 0),
    }
    types = [prompt.token_types for prompt in prompts if prompt.token_types is not None]
    if types:
        inputs["mm_token_type_ids"] = beside(types, 0)
    return inputs | media_arguments(prompts, family)


def bare_model(model: Any) -> Any:
    """Return the model inside of what peft wrapped around it; its layers have their adapters all the same."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


@contextmanager
def memory_errors(rows: int) -> Iterator[None]:
    """Turn a device's full memory into an error that says what helps.

    Raises:
        TrainError: the memory is too small for so many rows.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        many = f"{rows} rows at once" if rows > 1 else "one row"
        raise TrainError(
            f"the device's memory is too small to ask the model {many}",
            hint="take a smaller --batch, fewer --frames, a smaller --longest-side, or --precision bf16",
        ) from None


@contextmanager
def _greedy(model: Any, *, ends: list[int], filler: int, max_new_tokens: int) -> Iterator[Any]:
    """Give the bare model, set to answer greedily; afterwards it is as it was."""
    from transformers import GenerationConfig

    from train.models.load import quiet

    bare = bare_model(model)
    training, own = model.training, bare.generation_config
    model.eval()
    # its own would fill in whatever is not said here
    bare.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=filler,
        use_cache=True,
    )
    try:
        with quiet():
            yield bare
    finally:
        bare.generation_config = own
        model.train(training)


def _placed(value: Any, model: Any) -> Any:
    """Return a tensor on the model's device, pixels in its precision."""
    return value.to(device=model.device, dtype=model.dtype if value.is_floating_point() else value.dtype)


def _answer(prompt: Encoded, written: list[int], processor: Any, family: Family, *, ends: set[int]) -> Answer:
    end = next((place for place, token in enumerate(written) if token in ends), None)
    tokens = len(written) if end is None else end + 1
    text = text_of(written[:tokens], processor, family)
    return Answer(row=prompt.row, text=text, tokens=tokens, cut_off=end is None)


def text_of(tokens: Sequence[int], processor: Any, family: Family) -> str:
    """Return what a model wrote as text, without special tokens and what the template writes before an answer."""
    text: str = processor.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.removeprefix(family.before_answer)


class _Heard:
    """Tells the text of an answer as it comes; transformers calls it a streamer."""

    def __init__(self, processor: Any, family: Family, heard: Callable[[str], object]) -> None:
        self._processor, self._family, self._heard = processor, family, heard
        self._tokens: list[int] | None = None
        self._told = 0

    def put(self, tokens: Tensor) -> None:
        """Take the prompt, and then token after token."""
        if self._tokens is None:
            self._tokens = []
            return
        self._tokens += tokens.reshape(-1).tolist()
        text = text_of(self._tokens, self._processor, self._family)
        # a character may be of several tokens, and is none before the last of them
        self._tell(text.rstrip("\ufffd"))

    def end(self) -> None:
        """Tell what was held back."""
        self._tell(text_of(self._tokens or [], self._processor, self._family))

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self._heard(text[self._told :])
            self._told = len(text)


def _criteria(stopping: Callable[[], bool] | None) -> Any:
    """Return what ends a generation when it is asked to."""
    if stopping is None:
        return None
    from transformers import StoppingCriteriaList

    def asked(input_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), stopping(), dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([asked])
