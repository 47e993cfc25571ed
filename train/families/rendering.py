"""Conversations as text, by a chat template that marks what the assistant says.

The text must be the one that the model meets when it is used, so the template of the checkpoint decides. Released ones
do not mark what the assistant says; ours write the same and mark it, which is tried on a few conversations for every
checkpoint.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from train.example import Frames, FramesSize, TrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.example import Turn

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
TEMPLATES = Path(__file__).parent / "templates"
Message = dict[str, Any]

_TEXT: Message = {"type": "text", "text": "What is it?"}
_ANSWER: Message = {"role": "assistant", "content": [{"type": "text", "text": " A  rabbit.\nTwo "}]}
_SYSTEM: Message = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
_IMAGE: Message = {"type": "image"}
_VIDEO: Message = {"type": "video"}


def _asked(*content: Message) -> Message:
    return {"role": "user", "content": list(content)}


TRIED: tuple[tuple[Message, ...], ...] = (
    (_asked(_TEXT), _ANSWER, _asked(_TEXT), _ANSWER),
    (_SYSTEM, _asked(_TEXT), _ANSWER),
    (_asked(_IMAGE, _TEXT), _ANSWER, _asked(_TEXT), _ANSWER),
    (_SYSTEM, _asked(_TEXT, _IMAGE, _IMAGE, _TEXT), _ANSWER, _asked(_IMAGE)),
)
"""Conversations on which two templates are compared."""
TRIED_WITH_VIDEO: tuple[tuple[Message, ...], ...] = (
    (_asked(_VIDEO, _TEXT), _ANSWER),
    (_SYSTEM, _asked(_TEXT, _VIDEO, _TEXT), _ANSWER, _asked(_VIDEO)),
)
"""The same with videos, for which SmolVLM's processor takes another template."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, media still one placeholder each."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """From where to where the assistant speaks, in characters, its end-of-turn token included."""


def messages(turns: Sequence[Turn]) -> list[Message]:
    """Return turns as chat templates take them."""
    # SmolVLM's template looks at the first part of each turn
    return [{"role": turn.role, "content": [_part(part) for part in turn.parts or ("",)]} for turn in turns]


def _part(part: object) -> Message:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return _VIDEO if isinstance(part, Frames | FramesSize) else _IMAGE


def rendered(
    template: str, turns: Sequence[Turn], special: dict[str, str], *, end: str, opened: bool = False
) -> Rendered:
    """Return turns as text; with `opened`, up to where the assistant is to speak next.

    Args:
        template: One with `generation` around what the assistant says.
        turns: As they follow each other.
        special: The tokenizer's `special_tokens_map`, which templates may use.
        end: The end-of-turn token. What a template marks behind it is not learnt: nobody asks a model for it.
        opened: Is this a prompt?
    """
    text, spans = _render(template, messages(turns), special, opened=opened, marked=True)
    found = []
    for start, stop in spans:
        last = text.rfind(end, start, stop)
        found.append((start, stop if last < 0 else last + len(end)))
    return Rendered(text, tuple(found))


@functools.lru_cache(maxsize=64)
def agreed(name: str, ours: str, own: str | None, own_video: str | None, special: tuple[tuple[str, str], ...]) -> str:
    """Return the template to train with: the checkpoint's own if it marks what the assistant says, else ours.

    Args:
        name: The family's, for errors.
        ours: The text of the family's template.
        own: The text of the checkpoint's template, if it has one.
        own_video: The text of the template that its processor takes when there are videos, if that is another.
        special: The tokenizer's special tokens, by name.

    Raises:
        TrainError: the checkpoint's template writes something else than ours.
    """
    if own is None:
        return ours
    if _MARK.search(own):
        return own
    for tried, template in ((TRIED, own), (TRIED_WITH_VIDEO, own_video or own)):
        for conversation in tried:
            _compare(name, ours, template, conversation, dict(special))
    return ours


@functools.cache
def template_text(file: str) -> str:
    """Return a template of ours."""
    return (TEMPLATES / file).read_text(encoding="utf-8")


def _compare(name: str, ours: str, own: str, conversation: tuple[Message, ...], special: dict[str, str]) -> None:
    for opened in (False, True):
        expected, _ = _render(ours, list(conversation), special, opened=opened)
        try:
            written, _ = _render(own, list(conversation), special, opened=opened)
        except TemplateError as error:
            written = f"an error: {error}"
        if written != expected:
            place = next(
                (at for at, (one, two) in enumerate(zip(written, expected, strict=False)) if one != two),
                min(len(written), len(expected)),
            )
            raise TrainError(
                f"the checkpoint's chat template writes a conversation differently than {name} models do, and does "
                f"not mark what the assistant says: {written[max(0, place - 40) : place + 40]!r} where it should be "
                f"{expected[max(0, place - 40) : place + 40]!r}",
                hint="put {% generation %} and {% endgeneration %} around what the assistant says in the checkpoint's "
                "chat_template.jinja, or take a checkpoint with the released template",
            )


def _render(
    template: str, conversation: list[Message], special: dict[str, str], *, opened: bool, marked: bool = False
) -> tuple[str, list[tuple[int, int]]]:
    texts, spans = render_jinja_template(
        conversations=[conversation],
        chat_template=template,
        return_assistant_tokens_mask=marked,
        add_generation_prompt=opened,
        **special,
    )
    return texts[0], spans[0] if marked else []
