"""Which conversations a family can be trained on, as far as their turns and texts tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.printable import escaped
from train.example import Frames, FramesSize
from train.families.control_tokens import control_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.example import Turn

ROLES = ("system", "user", "assistant")


def admit(processor: Any, turns: Sequence[Turn], *, mixes_media: bool) -> None:
    """Let a conversation through that a processor renders whole and as it is meant.

    Raises:
        RowRejected: `train.turns`, a role, an order or a medium for which chat templates have no place;
            `train.mixed`, images and videos in one example of a family that sees only one kind;
            `train.placeholder`, a text that writes a control token.
    """
    for place, turn in enumerate(turns):
        _admit_turn(turn, place)
    if not mixes_media:
        kinds = {
            isinstance(part, Frames | FramesSize) for turn in turns for part in turn.parts if not isinstance(part, str)
        }
        if len(kinds) > 1:
            raise RowRejected(
                "train.mixed",
                f"{_count(turns, video=False)} and {_count(turns, video=True)} in one example; this family's processor "
                "would show the model only the videos",
            )
    written = control_tokens(processor).written
    for turn in turns:
        for part in turn.parts:
            found = written.search(part) if isinstance(part, str) else None
            if found:
                raise RowRejected(
                    "train.placeholder",
                    f"the {turn.role}'s text writes {escaped(found.group())}, a control token of this model, at "
                    f"character {found.start():,}",
                )


def _admit_turn(turn: Turn, place: int) -> None:
    media = [part for part in turn.parts if not isinstance(part, str)]
    if turn.role not in ROLES:
        raise RowRejected("train.turns", f"turn {place + 1} is of {escaped(turn.role)!r}; known are {', '.join(ROLES)}")
    if turn.role == "system" and place:
        raise RowRejected(
            "train.turns", f"turn {place + 1} is the system's, which chat templates take only as the first"
        )
    if turn.role != "user" and media:
        raise RowRejected(
            "train.turns", f"turn {place + 1} is the {turn.role}'s and holds a medium; only the user shows media"
        )


def _count(turns: Sequence[Turn], *, video: bool) -> str:
    count = sum(
        isinstance(part, Frames | FramesSize) is video
        for turn in turns
        for part in turn.parts
        if not isinstance(part, str)
    )
    return f"{count} {'video' if video else 'image'}{'s' if count != 1 else ''}"
