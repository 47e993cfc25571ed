"""Captions and other free texts: exact match, BLEU, chrF, character error rate."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from train.scoring.edit_distance import character_error_rate, edit_distance
from train.scoring.overlap import bleu, chrf, cutting_of
from train.scoring.scores import Outcome, RowScores, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.scoring.scores import ScoredRow, TaskSpec

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_ENDS = ".。．!！"  # noqa: RUF001  full stops of other scripts are meant
"""Marks that may be missing at the end of a caption."""


def one_line(text: str) -> str:
    """Return a text as its words are compared: composed (NFC), blanks of any kind as one, none around it.

    What cannot be written as UTF-8, and the null character, become U+FFFD: tokenizers written in C stop there.
    """
    return " ".join(unicodedata.normalize("NFC", _UNWRITABLE.sub("\ufffd", text)).split())


def for_exact_match(text: str) -> str:
    """Return a caption as it is compared for equality: width, case, blanks and a closing full stop do not count.

    In Unicode's words: NFKC, case folding, one line, without closing `.`, `。` or `!` of any width.
    """
    return one_line(unicodedata.normalize("NFKC", one_line(text)).casefold()).rstrip(_ENDS).rstrip()


def score(task: TaskSpec, rows: Sequence[ScoredRow]) -> Outcome:
    """Score captions."""
    predictions = [one_line(row.prediction) for row in rows]
    truths = [one_line(row.truth) for row in rows]
    same = [for_exact_match(row.prediction) == for_exact_match(row.truth) for row in rows]
    words = bleu(predictions, truths, cutting_of(task.language))
    characters = chrf(predictions, truths)
    pairs = list(zip(predictions, truths, strict=True))
    per_row = [
        RowScores(
            row=row.row,
            values={
                "exact_match": float(same[place]),
                "bleu": words.per_row[place],
                "chrf": characters.per_row[place],
                "cer": character_error_rate(*pairs[place]),
            },
        )
        for place, row in enumerate(rows)
    ]
    values = {
        "exact_match": mean([float(one) for one in same]),
        "bleu": words.score,
        "chrf": characters.score,
        "cer": error_rate_of_all(pairs),
    }
    return Outcome(values=values, per_row=per_row, notes=words.notes + characters.notes)


def error_rate_of_all(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return all edits as a share of all true characters; None where there are none.

    Long texts count for more than short ones, as is usual for error rates.
    """
    characters = sum(len(truth) for _, truth in pairs)
    if not characters:
        return None
    return sum(edit_distance(prediction, truth) for prediction, truth in pairs) / characters
