"""The door to py3langid: which language a text is in, told by a model that comes with the library.

The model is a naive Bayes classifier over bytes (langid.py, Lui and Baldwin 2012, trained anew for py3langid). It knows
nothing of short texts that no classifier could know; their score says so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pipeline.curate_spec import LANGUAGES

MACROLANGUAGE = {"arz": "ar", "ary": "ar", "nn": "no", "sdh": "ku", "uzs": "uz", "wuu": "zh", "yue": "zh"}
"""Languages of the model that are one with another (ISO 639-3), since short texts do not tell them apart."""
NO_LANGUAGE = "zxx"
"""What the model calls a text without words."""


def language_of(text: str) -> tuple[str | None, float]:
    """Return the most probable language of a text and its probability; None: there are no letters in it."""
    if not any(map(str.isalpha, text)):
        return None, 0.0
    scores: dict[str, float] = {}
    for label, score in _identifier().rank(text):
        language = MACROLANGUAGE.get(label, label)
        scores[language] = scores.get(language, 0.0) + score
    language = max(scores, key=lambda label: scores[label])
    return (language, scores[language]) if language in LANGUAGES else (None, 0.0)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Return the classifier; reading it takes most of a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
