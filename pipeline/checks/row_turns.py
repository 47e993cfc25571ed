"""Conversations of rows: whose turn it is, who has the last word, and whether placeholders are as many as media."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks.report import SHOWN
from pipeline.checks.row_batch import counts_of
from pipeline.checks.row_findings import Rule
from pipeline.checks.row_texts import EMPTY, EMPTY_MAIN, HALF, check_empty
from pipeline.checks.value_hashes import is_list, lengths_of
from pipeline.conversation import Ready
from pipeline.single_value import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.checks.columns import Columns, Conversation
    from pipeline.checks.row_batch import RowBatch, Texts
    from pipeline.checks.row_findings import Findings
    from pipeline.schema import Schema

NOBODY, SYSTEM, USER, ASSISTANT, TOOL = range(5)
SPEAKERS = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
ROLES = {
    **SPEAKERS,
    "developer": SYSTEM,
    "human": USER,
    **dict.fromkeys(("gpt", "function_call", "tool_call"), ASSISTANT),
    **dict.fromkeys(("tool", "observation", "function", "tool_response", "ipython"), TOOL),
}
"""Who speaks in a role, by the names that trainings know."""
_AFTER = np.zeros((5, 5), bool)
"""Who may speak after whom; before the first turn it is nobody."""
for _before, _next in ((NOBODY, (SYSTEM, USER)), (SYSTEM, (USER,)), (USER, (ASSISTANT,)), (ASSISTANT, (USER, TOOL))):
    _AFTER[_before, list(_next)] = True
_AFTER[TOOL, [ASSISTANT, TOOL, USER]] = True

TURNS = "let user and assistant take turns, after a system turn or none, or leave the row out"
_NO_TURNS = Rule(code="SW407", message="the conversation has no turns", hint="leave the row out", each=True, most=HALF)
_NO_LAST_WORD = Rule(
    code="SW407",
    message="the last turn is {example}, and not the assistant's",
    hint="take the turns behind the assistant's last one away, or leave the row out",
    each=True,
    most=HALF,  # where no row ends so, these are prompts
)
_PLACEHOLDERS = Rule(
    code="SW406",
    message="{example}",
    hint="write one placeholder for each medium, or leave the row out",
    each=True,
    most=HALF,  # else they stand for something else
)
TOKENS = {
    "image": ("<image>", "<__dj__image>", "<|image|>", "<ImageHere>", "<|image_pad|>", "<image_placeholder>"),
    "video": ("<video>", "<__dj__video>", "<|video|>", "<VideoHere>", "<|video_pad|>"),
}
"""Placeholders for media in texts, as LLaVA, data-juicer, Qwen and others write them."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """What stands for media of some columns in a text."""

    pattern: str
    key: str
    """Where the text is, e.g. `conversations[].value`."""
    media: tuple[str, ...]
    kind: str
    """What these media are called."""
    rule: Rule = _PLACEHOLDERS


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What is to be known of the conversations and placeholders of a config."""

    conversation: Conversation | None
    speakers: Mapping[str, int] = field(default_factory=lambda: ROLES)
    placeholders: tuple[Placeholder, ...] = ()
    calls_tools: bool = False
    """Whether messages have more to say than their text."""

    @property
    def roles(self) -> str:
        """The key of the roles, or nothing."""
        talk = self.conversation
        return f"{talk.name}[].{talk.role_key}" if talk is not None else ""

    @property
    def texts(self) -> str:
        """The key of the texts, or nothing."""
        talk = self.conversation
        return f"{talk.name}[].{talk.text_key}" if talk is not None else ""


def talk_of(columns: Columns, arrow: pa.Schema, schema: Schema | None) -> Talk:
    """Tell how conversations and placeholders are written: as the schema says, or as it is commonly done."""
    talk = columns.conversation
    speakers: Mapping[str, int] = ROLES
    ready = schema.conversation if schema is not None and isinstance(schema.conversation, Ready) else None
    if talk is not None and ready is not None and ready.column == talk.name:
        talk = replace(talk, role_key=ready.role_key, text_key=ready.text_key)
        speakers = {role: SPEAKERS[meaning] for role, meaning in ready.roles.items()}
    found = Talk(conversation=talk, speakers=speakers)
    kinds = [column.type for column in arrow if talk is not None and column.name == talk.name and is_list(column.type)]
    turns = [kind.value_type for kind in kinds if pa.types.is_struct(kind.value_type)]
    calls = any("tool" in item.name or "function" in item.name for kind in turns for item in kind)
    return replace(found, calls_tools=calls, placeholders=_placeholders(found, columns, schema))


def _placeholders(talk: Talk, columns: Columns, schema: Schema | None) -> tuple[Placeholder, ...]:
    if schema is not None and (schema.placeholders or isinstance(schema.conversation, Ready)):
        named = [(rule.token, rule.column, rule.media) for rule in schema.placeholders]
        if isinstance(schema.conversation, Ready):
            ready = schema.conversation
            key = f"{ready.column}[].{ready.text_key}"
            named += [(token, key, media) for token, media in ready.tokens.items()]
        sure = replace(_PLACEHOLDERS, most=1.0)
        return tuple(
            Placeholder(re.escape(token), key, (media,), schema.columns[media].media or "medium", sure)
            for token, key, media in named
        )
    keys = [talk.texts] if talk.texts else list(columns.texts)
    return tuple(
        Placeholder("|".join(map(re.escape, tokens)), key, media, kind)
        for kind, tokens in TOKENS.items()
        if (media := tuple(column.name for column in columns.media if column.kind == kind))
        for key in keys
    )


def check_turns(batch: RowBatch, talk: Talk, findings: Findings) -> None:
    """Look at the turns of the conversations of a batch, and at empty texts in them."""
    roles, texts = batch.texts.get(talk.roles), batch.texts.get(talk.texts)
    if talk.conversation is None or roles is None or texts is None:
        return
    key = talk.conversation.name
    lengths = lengths_of(batch.values[key])
    ends = np.cumsum(lengths)
    first, last = (ends - lengths)[lengths > 0], ends[lengths > 0] - 1
    speakers = speakers_of(roles, talk.speakers)
    if not talk.calls_tools:
        theirs = speakers == ASSISTANT
        check_empty(texts, findings, EMPTY_MAIN, chosen=np.flatnonzero(theirs))
        check_empty(texts, findings, EMPTY, chosen=np.flatnonzero(~theirs))
    numbers = np.arange(batch.start, batch.start + batch.rows)
    findings.tally(_NO_TURNS, key, looked=batch.rows, rows=numbers[lengths == 0])
    before = np.roll(speakers, 1)
    before[first] = NOBODY
    wrong = ~_AFTER[before, speakers]
    wrong |= texts.values.is_null().to_numpy(zero_copy_only=False) & (not talk.calls_tools)
    places = np.flatnonzero(wrong)
    places = places[np.unique(texts.rows[places], return_index=True)[1]]  # the first of each row
    for place in places[:SHOWN]:
        row = int(texts.rows[place])
        turn = int(place - (ends - lengths)[row - batch.start])
        message = _what_is_wrong(turn, int(place), roles=roles, texts=texts, speakers=speakers, talk=talk)
        findings.add(code="SW407", row=row, key=key, message=message, hint=TURNS)
    findings.add_uncounted("SW407", len(places[SHOWN:]))
    sound = ~np.isin(texts.rows[last], texts.rows[places])
    silent = last[(speakers[last] != ASSISTANT) & sound]
    findings.tally(
        _NO_LAST_WORD,
        key,
        looked=int(sound.sum()),
        rows=texts.rows[silent],
        example=lambda number: f"of {shown(roles.values[silent[number]].as_py())}",
    )


def speakers_of(roles: Texts, known: Mapping[str, int]) -> np.ndarray:
    """Return who speaks in each turn."""
    encoded = roles.values.dictionary_encode()
    meant = [known.get(role, NOBODY) for role in encoded.dictionary.to_pylist()]
    numbers = pc.fill_null(encoded.indices, len(meant)).to_numpy()
    found: np.ndarray = np.array([*meant, NOBODY], np.int64)[numbers]
    return found


def _what_is_wrong(turn: int, place: int, *, roles: Texts, texts: Texts, speakers: np.ndarray, talk: Talk) -> str:
    role, here = roles.values[place].as_py(), f"turn {turn + 1}"
    if role is None:
        return f"{here} has no role"
    if speakers[place] == NOBODY:
        return f"{here} has the unknown role {shown(role)}; known: {', '.join(talk.speakers)}"
    if texts.values[place].as_py() is None:
        return f"{here}, of {shown(role)}, has no text"
    if turn == 0:
        return f"the first turn is of {shown(role)}, and not the user's"
    return f"{here} is of {shown(role)}, right after one of {shown(roles.values[place - 1].as_py())}"


def check_placeholders(batch: RowBatch, talk: Talk, findings: Findings) -> None:
    """Compare the placeholders in the texts of a batch with the media of their rows."""
    for placeholder in talk.placeholders:
        texts = batch.texts.get(placeholder.key)
        counts = [count for name in placeholder.media if (count := _media(batch, name)) is not None]
        if texts is None or not counts:
            continue
        media = np.sum(counts, axis=0)
        named = pc.fill_null(pc.count_substring_regex(texts.values, placeholder.pattern), 0).to_numpy()
        tokens = np.bincount(texts.rows - batch.start, weights=named, minlength=batch.rows).astype(np.int64)
        wrong = np.flatnonzero(media != tokens)
        findings.tally(
            placeholder.rule,
            placeholder.key,
            looked=int(((media > 0) | (tokens > 0)).sum()),
            rows=wrong + batch.start,
            example=partial(_mismatch_at, tokens[wrong], media[wrong], placeholder.kind),
        )


def _media(batch: RowBatch, name: str) -> np.ndarray | None:
    """Return how many media of a column each row has; media beside the shards are paths in a column of texts."""
    if name in batch.media:
        return batch.media[name]
    return counts_of(batch.values[name]) if name in batch.values else None


def _mismatch_at(tokens: np.ndarray, media: np.ndarray, kind: str, number: int) -> str:
    placeholders = _many(int(tokens[number]), "placeholder")
    return f"{placeholders} for {kind}s in the text, {_many(int(media[number]), kind)} in the row"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
