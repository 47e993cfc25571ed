"""Turns as texts in which tags such as `<image>` stand for media: what can be written so, and whether it was."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.rows.canonical import CanonicalRow, CanonicalTurn

TAGS = {"image": "<image>", "video": "<video>"}
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
"""How ShareGPT, and LLaVA after it, call roles."""
ROLES = {role: role for role in SPEAKERS}
"""How OpenAI, and many after it, do."""
_ORDER = ("user", "assistant")


def alternating(row: CanonicalRow, title: str) -> tuple[CanonicalTurn | None, tuple[CanonicalTurn, ...]]:
    """Return the system turn, if any, and the others, which go from user to assistant and end with the assistant.

    Raises:
        RowRejected: `export.turns`, or `export.media_in_system`.
    """
    system = row.turns[0] if row.turns and row.turns[0].role == "system" else None
    turns = row.turns[1:] if system is not None else row.turns
    if not turns or len(turns) % 2 or any(turn.role != _ORDER[place % 2] for place, turn in enumerate(turns)):
        raise RowRejected("export.turns", f"turns that do not go from user to assistant and end so, as {title} has it")
    if system is not None and any(not isinstance(part, str) for part in system.parts):
        raise RowRejected("export.media_in_system", f"a medium in the system's turn, where {title} has only text")
    return system, turns


def refuse_media_in_answers(row: CanonicalRow, title: str) -> None:
    """Refuse a row whose assistant shows something.

    Raises:
        RowRejected: `export.media_in_answer`.
    """
    if any(turn.role == "assistant" and not isinstance(part, str) for turn in row.turns for part in turn.parts):
        raise RowRejected("export.media_in_answer", f"a medium in an answer, where {title} has only text")


def tagged_text(
    turn: CanonicalTurn, title: str, tags: Mapping[str, str] | None = None, *, also: tuple[str, ...] = ()
) -> str:
    """Return what a turn says, with a tag for each medium; no text may hold a tag, nor what is in `also`.

    Raises:
        RowRejected: `export.tag_in_text`.
    """
    tags = tags or TAGS
    said = []
    for part in turn.parts:
        if isinstance(part, str):
            if found := next((tag for tag in (*tags.values(), *also) if tag in part), None):
                raise RowRejected("export.tag_in_text", f"a text that holds {found}, which {title} takes for a medium")
            said.append(part)
        else:
            said.append(tags[part.kind])
    return "".join(said)


def drop_system(system: CanonicalTurn | None, row: CanonicalRow, losses: Losses, why: str) -> None:
    """Say that the system's turn is left out, if there is one that says something."""
    if system is not None and system.parts:
        losses.note("export.system_turn", f"the system's turn: {why}", row, str(system.parts[0]))


def problem_of_turns(
    turns: Any,
    keys: tuple[str, str],
    speakers: Mapping[str, str],
    media: Mapping[str, int],
    *,
    in_answers: bool = False,
    system: bool = True,
) -> str | None:
    """Say what is wrong with written turns; None: nothing.

    `keys` are those of role and text, `speakers` say how the format calls each role, `media` how many of each tag there
    must be; `in_answers`: also in answers, `system`: there may be a system's turn in front.
    """
    if not isinstance(turns, list) or any(not isinstance(turn, dict) for turn in turns):
        return "there are no turns"
    roles = [turn.get(keys[0]) for turn in turns]
    texts = [turn.get(keys[1]) for turn in turns]
    if any(not isinstance(text, str) for text in texts):
        return "a turn has no text"
    if system and roles[:1] == [speakers["system"]]:
        if any(tag in texts[0] for tag in media):
            return "there is a tag in the system's turn"
        roles, texts = roles[1:], texts[1:]
    if not roles or len(roles) % 2 or any(role != speakers[_ORDER[place % 2]] for place, role in enumerate(roles)):
        return f"the roles do not alternate: {roles}"
    found = Counter({tag: sum(text.count(tag) for text in texts) for tag in media})
    for tag, count in media.items():
        if found[tag] != count:
            return f"{found[tag]} times {tag}, but {count} files"
    if not in_answers and any(tag in text for tag in media for text in texts[1::2]):
        return "there is a tag in an answer"
    return None


def missing_file(folder: Path, paths: list[Any]) -> str | None:
    """Say which path leads to no file of the folder; None: all do."""
    for path in paths:
        if not isinstance(path, str) or path.startswith("/") or not (folder / path).is_file():
            return f"the file {path!r} is not there"
    return None


def listed(value: Any) -> list[Any]:
    """Return what a key holds that may be missing, one value, or a list."""
    return [] if value is None else value if isinstance(value, list) else [value]
