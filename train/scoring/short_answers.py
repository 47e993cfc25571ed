"""Short answers, as in VQA and TextVQA: how many people said the same.

Accuracy as in Antol et al. 2015 (arXiv 1505.00468): over all sets of people with one left out, the mean of
min(1, people in the set who said it / 3). Answers are normalised as the server of the challenges and MMF do it, which
TextVQA (Singh et al. 2019) is scored with: lower case; `,` and `?` go; a possessive `'s` becomes a word; other marks go
where one of them stands beside a blank, else they become blanks; full stops go unless a digit follows; numbers in words
up to ten become digits; articles go; a contraction without its apostrophe is the same as with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from train.scoring.scores import Outcome, RowScores, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.scoring.scores import ScoredRow, TaskSpec

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(value) for value, word in enumerate(_NUMBERS)}}
_ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTION = re.compile(
    r"(?:(?:ai|are|ca|could|did|does|do|had|has|have|is|might|must|need|ought|sha|should|was|were|wo|would)nt(?:ve)?)"
    r"|(?:could|might|must|not|should|would|they|you|we|what|where|who)ve"
    r"|(?:there|they|you|what|why)re|(?:how|it|they|there|what|who|why|you|somebody|someone|something)ll"
    r"|(?:he|how|it|there|they|where|who|you|someone|something)d|(?:he|it|she|there|they|we|who|you|someone|something)dve"
    r"|maam|oclock|twas|yall(?:ll|dve)?"
)
"""Contractions without their apostrophes, but for those that are words of their own then (`well`, `were`, `shed`)."""
_PEOPLE = 3
"""So many people who said the same make an answer right."""


def normalised(answer: str) -> str:
    """Return an answer as answers are compared."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    text = " ".join(text.split())
    for mark in _MARKS:
        if mark in text:
            beside_a_blank = f"{mark} " in text or f" {mark}" in text
            text = text.replace(mark, "" if beside_a_blank else " ")
    words = [_DIGITS.get(word, word) for word in _FULL_STOP.sub("", text).split()]
    return " ".join(_without_apostrophes(word) for word in words if word not in _ARTICLES)


def _without_apostrophes(word: str) -> str:
    letters = word.replace("'", "")
    return letters if _CONTRACTION.fullmatch(letters) else word


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Return the accuracy of a prediction, 0 to 1, by what people answered (ten of them, in VQA and TextVQA).

    With fewer than four people no set of the others has three; then all the others must have said it, and where there
    is one answer the prediction must be it.
    """
    said = normalised(prediction)
    same = [normalised(answer) == said for answer in answers]
    if len(same) < 2:
        return float(any(same))
    needed = min(_PEOPLE, len(same) - 1)
    return sum(min(1.0, (sum(same) - one) / needed) for one in same) / len(same)


def score(_: TaskSpec, rows: Sequence[ScoredRow]) -> Outcome:
    """Score short answers; a row without answers has its truth for the only one."""
    per_row = []
    few = 0
    for row in rows:
        answers = row.answers or (row.truth,)
        few += len(answers) <= _PEOPLE
        per_row.append(RowScores(row=row.row, values={"vqa_accuracy": vqa_accuracy(row.prediction, answers)}))
    accuracy = mean([one.values["vqa_accuracy"] or 0.0 for one in per_row])
    return Outcome(values={"vqa_accuracy": accuracy}, per_row=per_row, counts={"rows_with_few_answers": few})
