"""Formulas in LaTeX: exact match, BLEU over tokens and character error rate, all after normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from train.scoring.captions import error_rate_of_all
from train.scoring.edit_distance import character_error_rate
from train.scoring.latex_tokens import latex_text, latex_tokens, unbalanced_braces
from train.scoring.overlap import bleu
from train.scoring.scores import Outcome, RowScores, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.scoring.scores import ScoredRow, TaskSpec


def score(_: TaskSpec, rows: Sequence[ScoredRow]) -> Outcome:
    """Score formulas; `latex_tokens` says what counts as the same."""
    predictions = [latex_tokens(row.prediction) for row in rows]
    truths = [latex_tokens(row.truth) for row in rows]
    pairs = [(latex_text(prediction), latex_text(truth)) for prediction, truth in zip(predictions, truths, strict=True)]
    same = [float(prediction == truth) for prediction, truth in zip(predictions, truths, strict=True)]
    tokens = bleu([_as_words(tokens) for tokens in predictions], [_as_words(tokens) for tokens in truths], "none")
    per_row = [
        RowScores(
            row=row.row,
            values={
                "exact_match": same[place],
                "bleu": tokens.per_row[place],
                "cer": character_error_rate(*pairs[place]),
            },
        )
        for place, row in enumerate(rows)
    ]
    values = {"exact_match": mean(same), "bleu": tokens.score, "cer": error_rate_of_all(pairs)}
    unbalanced = sum(unbalanced_braces(prediction) for prediction in predictions)
    notes = ["BLEU's words are tokens of LaTeX", *tokens.notes]
    return Outcome(values=values, per_row=per_row, counts={"unbalanced_braces": unbalanced}, notes=notes)


def _as_words(tokens: list[str]) -> str:
    """Write tokens as words between blanks; a blank that is a token itself is seen as `␣`."""
    return " ".join(token.replace(" ", "␣") for token in tokens)
