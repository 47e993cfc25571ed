"""Texts of rows: empty ones, wrongly decoded ones, paths of somebody's machine, secrets, and e-mail addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from pipeline.checks.mojibake import ABOUT_ENCODINGS, repaired_piece
from pipeline.checks.mojibake import SIEVE as MOJIBAKE_SIEVE
from pipeline.checks.row_findings import Rule
from pipeline.checks.secrets_in_text import MAIL_SIEVE, SECRET_SIEVE, find_mail, find_secret, masked
from pipeline.single_value import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.checks.row_batch import RowBatch, Texts
    from pipeline.checks.row_findings import Findings

MAIN = (
    *("text", "caption", "captions", "description", "title", "formula", "content", "value"),
    *("question", "questions", "query", "prompt", "instruction", "chosen", "rejected"),
    *("answer", "answers", "response", "output", "solution", "completion"),
)
"""Columns that rows are made of, so that an empty one is a mistake; others may be optional."""
PATH_WORDS = (
    *("path", "file", "dir", "folder", "url", "uri", "source", "src", "location"),
    *("image", "img", "picture", "photo", "video", "clip", "audio", "media"),
)
"""What stands in the names of columns that hold paths."""

_MACHINE = (
    r"^(?:file://[^\s]|(?:/(?:home|Users)/[^/\s]+/|/(?:root|mnt|scratch|workspace|Volumes|gpfs|lustre|cephfs|nfs|kaggle)/"
    r"|/content/drive/|[A-Za-z]:\\{1,2}[\w .()-]+\\|[A-Za-z]:/[^/\s]|\\\\[A-Za-z0-9._-]+\\)"
    r"(?:[^\s]{1,1000}|[^\r\n]{1,1000}\.[A-Za-z0-9]{2,5})$)"
)
"""A value that is a path below somebody's own folders, as a whole; a sentence that begins with one is none."""
_ENDINGS = "jpe?g|png|gif|bmp|tiff?|webp|mp4|avi|mov|mkv|webm|wav|mp3|flac|npy|npz|pt|txt|json|jsonl|csv|parquet"
_ABSOLUTE_FILE = rf"^/(?:[^/\r\n]+/)+[^/\r\n]+\.(?i:{_ENDINGS})$"
"""Any absolute path of a file; a column of them may also hold the paths of URLs."""
_ABSOLUTE = r"^(?:/|[A-Za-z]:[\\/]|\\\\|file://)"
_SUSPECT = f"{SECRET_SIEVE}|{MAIL_SIEVE}|{MOJIBAKE_SIEVE}"

FEW, HALF = 0.1, 0.5
"""The shares of empty texts up to which they are mistakes: in any column, and in one that rows are made of."""
EMPTY = Rule(
    code="SW404",
    message="{wrong} of {looked} texts are empty or only white space",
    hint="fill them in, or leave these rows out",
    most=FEW,
)
EMPTY_MAIN = replace(EMPTY, most=HALF)
_DAMAGED = Rule(
    code="SW405",
    message="{wrong} of {looked} texts were decoded with the wrong encoding: {example}",
    hint="read the annotations in their own encoding, and write the rows again",
)
_UNREADABLE = replace(
    _DAMAGED, message="{wrong} of {looked} texts are not UTF-8, so that many programs fail on them: {example}"
)
_PATH = Rule(
    code="SW408",
    message="{wrong} of {looked} values are absolute paths of somebody's machine, e.g. {example}",
    hint="write paths that are relative to the dataset, or leave them out",
)
_MANY_PATHS = replace(_PATH, least=FEW)
_MANY_FILES = replace(
    _PATH,
    least=HALF,
    message="{wrong} of {looked} values are absolute paths, good on one machine alone, e.g. {example}",
)
_MEDIA_PATH = replace(
    _PATH,
    message="{wrong} of {looked} media have an absolute path of somebody's machine, e.g. {example}",
    hint="keep the name of the file alone, as `datasets` does when it embeds the bytes",
)
_MAIL = Rule(
    code="SW410",
    message="{wrong} of {looked} texts hold an e-mail address, e.g. {example}",
    hint="take out those of people who did not agree to be found",
)
TAKEN = 1_000
"""Texts that become Python's own at a time."""
REVOKE = "revoke it, since it may have been read, and take it out of the row"


def check_texts(batch: RowBatch, findings: Findings, *, roles: str = "") -> None:
    """Look at all texts of a batch; what stands at the key `roles` is no text."""
    conversation = batch.columns.conversation
    for texts in batch.texts.values():
        if texts.key == roles:
            continue
        if not texts.is_json and (conversation is None or texts.column != conversation.name):
            check_empty(texts, findings, EMPTY_MAIN if _last_word(texts.key) in MAIN else EMPTY)
            _check_paths(texts, findings)
        _check_suspects(texts, findings)
    for texts in batch.paths.values():
        _count(_MEDIA_PATH, texts, _matching(texts.values, _ABSOLUTE), findings)


def check_empty(texts: Texts, findings: Findings, rule: Rule, *, chosen: np.ndarray | None = None) -> None:
    """Count the texts that say nothing, of all or of those at the chosen positions."""
    values, rows = (texts.values, texts.rows) if chosen is None else (texts.values.take(chosen), texts.rows[chosen])
    empty = pc.or_(pc.equal(pc.binary_length(values), 0), pc.utf8_is_space(values))
    findings.tally(rule, texts.key, looked=len(values) - values.null_count, rows=rows[_true(empty)])


def _check_paths(texts: Texts, findings: Findings) -> None:
    named = any(word in _last_word(texts.key) for word in PATH_WORDS)
    absolute = _matching(texts.values, _ABSOLUTE)
    candidates = texts.values.take(absolute)
    machine = absolute[_matching(candidates, _MACHINE)]
    _count(_PATH if named else _MANY_PATHS, texts, machine, findings)
    if named:
        _count(_MANY_FILES, texts, np.setdiff1d(absolute[_matching(candidates, _ABSOLUTE_FILE)], machine), findings)


def _check_suspects(texts: Texts, findings: Findings) -> None:
    """Look at secrets, addresses and damage, which one pass over all texts leaves few candidates of."""
    suspects = _matching(texts.values, _SUSPECT)
    values = texts.values.take(suspects)
    for position, text in _at(texts, suspects[_matching(values, SECRET_SIEVE)]):
        if (found := find_secret(text)) is not None:
            message = f"{found[0]}: {found[1]}"
            findings.add(code="SW409", row=int(texts.rows[position]), key=texts.key, message=message, hint=REVOKE)
    _count_found(_MAIL, texts, suspects[_matching(values, MAIL_SIEVE)], find_mail, findings)
    damaged = np.setdiff1d(suspects[_matching(values, MOJIBAKE_SIEVE)], texts.unreadable)
    damaged = np.delete(damaged, _matching(texts.values.take(damaged), ABOUT_ENCODINGS))
    _count_found(_DAMAGED, texts, damaged, _damage, findings)
    _count(_UNREADABLE, texts, texts.unreadable, findings)


def _damage(text: str) -> str:
    found = repaired_piece(text)
    if found is None:
        return ""
    damaged, meant = found
    return f"{shown(damaged)} should be {shown(meant)}" if meant else f"{shown(damaged)} has lost a character"


def _count_found(
    rule: Rule, texts: Texts, positions: np.ndarray, find: Callable[[str], str], findings: Findings
) -> None:
    """Count the texts in which something is found."""
    found = [(position, said) for position, text in _at(texts, positions) if (said := find(text))]
    chosen = np.array([position for position, _ in found], np.int64)
    _count(rule, texts, chosen, findings, example=lambda number: found[number][1])


def _at(texts: Texts, positions: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield some texts, each with its position."""
    for start in range(0, len(positions), TAKEN):
        some = positions[start : start + TAKEN]
        yield from zip(some.tolist(), texts.values.take(some).to_pylist(), strict=True)


def _count(
    rule: Rule,
    texts: Texts,
    positions: np.ndarray,
    findings: Findings,
    *,
    example: Callable[[int], str] | None = None,
) -> None:
    """Count the texts at some positions as wrong; an example of them is shown without its secrets."""
    findings.tally(
        rule,
        texts.key,
        looked=len(texts.values) - texts.values.null_count,
        rows=texts.rows[positions],
        example=example or (lambda number: shown(masked(texts.values[positions[number]].as_py()[:1_000]))),
    )


def _matching(values: pa.Array, pattern: str) -> np.ndarray:
    """Return the positions of the texts in which a pattern is found."""
    return _true(pc.match_substring_regex(values, pattern))


def _true(answers: pa.Array) -> np.ndarray:
    return np.flatnonzero(pc.fill_null(answers, False).to_numpy(zero_copy_only=False))


def _last_word(key: str) -> str:
    return key.removesuffix("[]").rpartition(".")[2].lower()
