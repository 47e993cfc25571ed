"""What is measured of a text: its length, and how much of it is special or repeated.

The measures are those of data-juicer's operators of the same names (text_length_filter, words_num_filter,
alphanumeric_filter, special_characters_filter, character_repetition_filter, word_repetition_filter,
flagged_words_filter), with three differences. Which characters are special is told by their Unicode category and not by
a list. In scripts that put no space between words every character is a word of its own, where data-juicer would want a
tokenizer. And numbers are words, which data-juicer strips away as special characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
"""Hiragana, katakana and Han characters."""
_PIECES = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")


@lru_cache(maxsize=65_536)
def _is_special(character: str) -> bool:
    """Tell whether a character is neither a letter nor a mark on one: digits, spaces, punctuation, symbols, emoji."""
    return category(character)[0] not in "LM"


@lru_cache(maxsize=65_536)
def _is_of_a_word(character: str) -> bool:
    return category(character)[0] in "LMN"


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without the punctuation and symbols around them."""
    words = []
    for piece in _PIECES.findall(text.lower()):
        first, last = 0, len(piece)
        while first < last and not _is_of_a_word(piece[first]):
            first += 1
        while last > first and not _is_of_a_word(piece[last - 1]):
            last -= 1
        if first < last:
            words.append(piece[first:last])
    return words


def special_ratio(text: str) -> float:
    """Return the share of characters that are neither letters nor marks on them; 0 for an empty text."""
    return sum(count for character, count in Counter(text).items() if _is_special(character)) / max(len(text), 1)


def letter_ratio(text: str) -> float:
    """Return the share of letters and digits (`str.isalnum`); 0 for an empty text."""
    return sum(count for character, count in Counter(text).items() if character.isalnum()) / max(len(text), 1)


def char_repetition(text: str, run: int) -> float:
    """Return which share the most frequent ones have of all runs of so many characters; 0 where there is no run.

    Of n different runs the floor(sqrt(n)) most frequent ones are taken, as far as they stand there more than once.
    """
    counts = sorted(Counter(text[first : first + run] for first in range(len(text) - run + 1)).values(), reverse=True)
    if not counts:
        return 0.0
    repeated = sum(count > 1 for count in counts)
    return sum(counts[: min(math.isqrt(len(counts)), repeated)]) / sum(counts)


def word_repetition(words: Sequence[str], run: int) -> float:
    """Return the share of runs of so many words that stand there more than once; 0 where there is no run."""
    counts = Counter(tuple(words[first : first + run]) for first in range(len(words) - run + 1)).values()
    return sum(count for count in counts if count > 1) / max(sum(counts), 1)


def flagged_ratio(words: Sequence[str], flagged: Collection[str]) -> float:
    """Return the share of words that are among the flagged ones; 0 where there are no words."""
    return sum(word in flagged for word in words) / max(len(words), 1)
