"""The door to sacrebleu: how much of what is said is said in the true text, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

Cutting = Literal["13a", "zh", "ja-mecab", "char", "none"]
"""sacrebleu's names for its ways to cut words; `none` cuts at blanks alone."""

_CUTTINGS: dict[str, Cutting] = {
    "zh": "zh",
    "yue": "zh",
    "ja": "ja-mecab",
    # written without blanks between words, and sacrebleu knows no words of theirs
    **dict.fromkeys(("th", "lo", "my", "km", "bo"), "char"),
}


def cutting_of(language: str) -> Cutting:
    """Return how BLEU cuts the words of a language, given as `zh`, `zh-Hans` or `zh_CN`; `13a` of all with blanks."""
    return _CUTTINGS.get(language.replace("_", "-").partition("-")[0].casefold(), "13a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A score of all texts, from 0 to 100, one of each, and how they were made."""

    score: float
    per_row: list[float]
    notes: list[str]
    """sacrebleu's signature, by which numbers of different papers are compared, and what is odd."""


def bleu(predictions: Sequence[str], truths: Sequence[str], cutting: Cutting) -> Overlap:
    """Return BLEU over all texts (Papineni et al. 2002; Post 2018), and for each with effective order.

    Texts are one line each; there must be some.
    """
    from sacrebleu.metrics import BLEU

    # `force` only keeps it from calling texts that end in a lone full stop already cut
    whole = BLEU(tokenize=cutting, force=True)
    single = BLEU(tokenize=cutting, force=True, effective_order=True)
    score = whole.corpus_score(predictions, [truths]).score
    per_row = [
        single.sentence_score(prediction, [truth]).score for prediction, truth in zip(predictions, truths, strict=True)
    ]
    notes = [f"BLEU {whole.get_signature()}"]
    if not score and any(per_row):
        # of texts this short the corpus score is 0 by definition, even where all of them are right
        notes.append("BLEU is 0 because no generated text is four words long")
    return Overlap(score=float(score), per_row=cast("list[float]", per_row), notes=notes)


def chrf(predictions: Sequence[str], truths: Sequence[str]) -> Overlap:
    """Return chrF2 over all texts (Popović 2015), and for each. Texts are one line each; there must be some."""
    from sacrebleu.metrics import CHRF

    whole = CHRF()
    score = whole.corpus_score(predictions, [truths]).score
    per_row = [
        whole.sentence_score(prediction, [truth]).score for prediction, truth in zip(predictions, truths, strict=True)
    ]
    signature = f"chrF {whole.get_signature()}"
    return Overlap(score=float(score), per_row=cast("list[float]", per_row), notes=[signature])
