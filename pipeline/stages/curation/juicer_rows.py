r"""Rows on their way to data-juicer and back.

A row goes as data-juicer's JSON lines have it, with `__shardwright_row__` as what it is known by:

    {"text": "[[human]]: <__dj__image>\nWhat?\n[[gpt]]: A dog. <|__dj__eoc|>", "images": ["/…/media/<sha256>.jpg"],
     "stars": 5, "__shardwright_row__": 7}

What comes back is laid beside what was sent. Only values that differ are changes; of a conversation these are texts of
turns, for its turns and media stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.conversation import MediaPart, Ready, compile_conversation
from pipeline.errors import RowRejected
from pipeline.juicer_spec import ROW
from pipeline.samples import iter_values, media_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.conversation import Message
    from pipeline.juicer_spec import DataJuicerSpec
    from pipeline.recipe import Config
    from pipeline.schema import Schema

TOKENS = {"image": "<__dj__image>", "video": "<__dj__video>"}
END = "<|__dj__eoc|>"
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
_ROLES = {speaker: role for role, speaker in SPEAKERS.items()}
_TURN = re.compile(rf"(?:\A|(?<=\s))\[\[({'|'.join(_ROLES)})\]\]:[ \n]?")
_MEDIA = re.compile("(" + "|".join(map(re.escape, TOKENS.values())) + ")")

Turn = tuple[str, list[str]]
"""A role, and its texts and tokens in their order."""


@dataclass(frozen=True, slots=True)
class SentRow:
    """One row as it is sent."""

    position: int
    values: dict[str, Any]
    """What a step reads of it: columns of the schema."""
    media: list[dict[str, Any]]
    """As the plan has them."""
    record: dict[str, Any]
    """As data-juicer sees it, but for the places of its media."""


class Exchange:
    """What a config's rows are for data-juicer, and what comes back of them."""

    def __init__(self, schema: Schema, spec: DataJuicerSpec) -> None:
        self.kinds = sorted({column.media for column in schema.media_columns if column.media is not None})
        """Kinds of media that rows may hold."""
        self._spec, self._conversation = spec, schema.conversation
        self._media = schema.media_columns
        self._said: Callable[[dict[str, Any]], list[Message]] | None = None
        columns = set(spec.columns)
        if spec.text is not None:
            columns.add(spec.text)
        elif schema.conversation is not None:
            self._said = compile_conversation(
                schema.conversation, {name: column.type for name, column in schema.columns.items()}
            )
            columns |= {column.name for column in schema.value_columns}
        self.columns = sorted(columns)
        """The columns that are read."""
        self.back = ["text", *spec.columns]
        """The columns of records whose values come back."""

    @property
    def changed_columns(self) -> list[str]:
        """The columns that may be changed."""
        if self._spec.text is not None:
            return [self._spec.text, *self._spec.columns]
        ready = isinstance(self._conversation, Ready)
        return [*([self._conversation.column] if ready else []), *self._spec.columns]  # type: ignore[union-attr]

    def rows(self, build: Build, config: Config, samples: pa.Table) -> Iterator[SentRow]:
        """Yield the rows that have a text, in their order."""
        values = (row for _, rows in iter_values(build, samples, config.name, self.columns) for row in rows)
        facts = (row for _, rows in media_facts(build, samples, config.name) for row in rows)
        for position, (row, media) in enumerate(zip(values, facts, strict=True)):
            text, shown = self._text(row, media)
            if text is None:
                continue
            record: dict[str, Any] = {"text": text, ROW: position}
            record |= {f"{kind}s": [one["sha256"] for one in shown if one["kind"] == kind] for kind in self.kinds}
            record |= {name: row[name] for name in self._spec.columns}
            yield SentRow(position, row, shown, record)

    def _text(self, row: dict[str, Any], media: list[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
        """Return the text of a row, and its media in the order in which the text shows them."""
        if self._said is None:
            return (None if self._spec.text is None else row[self._spec.text]), media
        found: dict[str, list[dict[str, Any]]] = {column.name: [] for column in self._media}
        for one in media:
            found[self._media[one["column"]].name].append(one)
        held = {
            column.name: found[column.name] if column.is_list else next(iter(found[column.name]), None)
            for column in self._media
        }
        shown, turns = [], []
        for message in self._said({**row, **held}):
            pieces = []
            for part in message.parts:
                if isinstance(part, MediaPart):
                    medium = found[part.column][part.position or 0]
                    shown.append(medium)
                    pieces.append(TOKENS[medium["kind"]])
                else:
                    pieces.append(part.text)
            turns.append(f"[[{SPEAKERS[message.role]}]]: {''.join(pieces)}")
        return "\n".join(turns) + f" {END}", shown

    def changes(self, sent: SentRow, values: dict[str, Any]) -> dict[str, Any]:
        """Return the columns of a row that have other values now.

        Raises:
            RowRejected: the text cannot be brought back, because turns or media of it are others.
        """
        # NaN, for one, is null in JSON
        before = orjson.loads(orjson.dumps({name: sent.record[name] for name in self.back}))
        changed = {name: values[name] for name in self._spec.columns if values[name] != before[name]}
        text = values["text"]
        if text == before["text"]:
            return changed
        if self._said is None:
            assert self._spec.text is not None
            return {self._spec.text: text, **changed}
        return {**self._brought_back(sent, text), **changed}

    def _brought_back(self, sent: SentRow, text: Any) -> dict[str, Any]:
        if not isinstance(self._conversation, Ready):
            raise RowRejected(
                "curate.data_juicer.turns",
                "its text was changed, and is made from templates; `text: COLUMN` of the step says what is changed",
            )
        was, now = turns_of(sent.record["text"]), turns_of(text) if isinstance(text, str) else None
        messages = sent.values[self._conversation.column]
        if was is None or now is None or len(was) != len(messages) or _frame(was) != _frame(now):
            raise RowRejected(
                "curate.data_juicer.turns", f"its turns or media are others in the changed text: {str(text)[:200]!r}"
            )
        told = []
        for message, old, new in zip(messages, was, now, strict=True):
            if old == new:
                told.append(message)
                continue
            waiting = iter(self._placeholders(message))
            pieces = [next(waiting) if piece in TOKENS.values() else piece for piece in new[1]]
            told.append({**message, self._conversation.text_key: "".join(pieces)})
        return {self._conversation.column: told}

    def _placeholders(self, message: dict[str, Any]) -> list[str]:
        """Return the placeholders of a turn, in their order, as the column writes them."""
        assert isinstance(self._conversation, Ready)
        tokens = sorted(self._conversation.tokens, key=len, reverse=True)
        text = message[self._conversation.text_key]
        return re.findall("|".join(map(re.escape, tokens)), text) if tokens else []


def turns_of(text: str) -> list[Turn] | None:
    """Return the turns of a text as it is sent, or None where it is none such."""
    bare = text.rstrip()
    if not bare.endswith(END) or not _TURN.match(bare):
        return None
    pieces = _TURN.split(bare.removesuffix(END).removesuffix(" "))
    last = len(pieces) - 2
    return [
        (_ROLES[pieces[place]], _MEDIA.split(said if place == last else said.removesuffix("\n")))
        for place, said in ((place, pieces[place + 1]) for place in range(1, len(pieces), 2))
    ]


def _frame(turns: list[Turn]) -> list[tuple[str, list[str]]]:
    """Return what of turns may not be changed: who speaks, and where media are."""
    return [(role, [piece for piece in pieces if piece in TOKENS.values()]) for role, pieces in turns]
