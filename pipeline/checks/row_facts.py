"""Facts of rows, for the checks of the whole dataset: hashes of what they say, and how much it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks.facts import ROW_FACTS
from pipeline.checks.row_turns import ASSISTANT, speakers_of
from pipeline.checks.value_hashes import (
    NOTHING,
    hashes_of,
    hashes_of_lists,
    hashes_of_runs,
    lengths_of,
    sum_of_named,
)

if TYPE_CHECKING:
    from pipeline.checks.row_batch import RowBatch, Texts
    from pipeline.checks.row_turns import Talk


def facts_of(batch: RowBatch, talk: Talk, group: str | None) -> pa.Table:
    """Return ROW_FACTS of a batch; `group` is the column whose values must stay on one side."""
    chats = None
    if talk.conversation is not None and talk.roles in batch.texts:
        chats = batch.values[talk.conversation.name]
    hashes = {name: hashes_of(array) for name, array in batch.values.items() if array is not chats}
    if talk.conversation is not None and chats is not None:
        turns = hashes_of(pc.list_flatten(chats))
        hashes[talk.conversation.name] = hashes_of_lists(chats, turns)
        speakers = speakers_of(batch.texts[talk.roles], talk.speakers)
        question, answer = _of_conversation(turns, speakers, lengths_of(chats))
    else:
        question, answer = _of_labels(batch, hashes)
    spoken = [batch.texts[talk.texts]] if talk.texts in batch.texts else list(batch.texts.values())
    columns = {
        "row": pa.array(np.arange(batch.start, batch.start + batch.rows)),
        "values": pa.array(sum_of_named(list(hashes.items()), batch.rows)),
        "question": question,
        "answer": answer,
        "group": _group(batch, hashes, group),
        "characters": pa.array(_characters(spoken, batch)),
    }
    return pa.table(columns, schema=ROW_FACTS)


def _group(batch: RowBatch, hashes: dict[str, np.ndarray], group: str | None) -> pa.Array:
    if group is None or group not in hashes:
        return pa.nulls(batch.rows, pa.uint64())
    return pa.array(hashes[group], mask=batch.values[group].is_null().to_numpy(zero_copy_only=False))


def _characters(spoken: list[Texts], batch: RowBatch) -> np.ndarray:
    total = np.zeros(batch.rows, np.int64)
    for texts in spoken:
        lengths = pc.fill_null(pc.utf8_length(texts.values), 0).to_numpy()
        total += np.bincount(texts.rows - batch.start, weights=lengths, minlength=batch.rows).astype(np.int64)
    return total


def _of_labels(batch: RowBatch, hashes: dict[str, np.ndarray]) -> tuple[pa.Array, pa.Array]:
    """Return the same question for all rows, and the hash of the class labels as the answer."""
    labels = [name for name in batch.columns.labels if name in hashes]
    if not labels:
        return pa.nulls(batch.rows, pa.uint64()), pa.nulls(batch.rows, pa.uint64())
    lacking = np.any([batch.values[name].is_null().to_numpy(zero_copy_only=False) for name in labels], axis=0)
    answer = sum_of_named([(name, hashes[name]) for name in labels], batch.rows)
    return pa.array(np.full(batch.rows, NOTHING), mask=lacking), pa.array(answer, mask=lacking)


def _of_conversation(turns: np.ndarray, speakers: np.ndarray, lengths: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Return the hashes of what stands before the last word of the assistant, and of that."""
    starts = np.cumsum(lengths) - lengths
    numbers = np.arange(len(turns)) - np.repeat(starts, lengths)
    last = np.full(len(lengths), -1, np.int64)
    np.maximum.at(last, np.repeat(np.arange(len(lengths)), lengths), np.where(speakers == ASSISTANT, numbers, -1))
    questions = hashes_of_runs(turns[numbers < np.repeat(last, lengths)], np.maximum(last, 0))
    answers = np.append(turns, NOTHING)[np.where(last >= 0, starts + last, len(turns))]
    return pa.array(questions, mask=last < 0), pa.array(answers, mask=last < 0)
