"""What is measured of texts, against values computed by hand and, where it is installed, against data-juicer."""

from __future__ import annotations

import math
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curate_spec import LANGUAGES, TextFilter
from pipeline.stages.curation.by_text import judge
from pipeline.stages.curation.language import MACROLANGUAGE, NO_LANGUAGE, _identifier, language_of
from pipeline.stages.curation.text_measures import (
    char_repetition,
    flagged_ratio,
    letter_ratio,
    special_ratio,
    word_repetition,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("A cat, and a DOG!", ["a", "cat", "and", "a", "dog"]),
        ("it's well-known (2,000 m)", ["it's", "well-known", "2,000", "m"]),
        ("--- ... <image>", ["image"]),
        ("一只猫。", ["一", "只", "猫"]),
        ("高清 iPhone照片", ["高", "清", "iphone", "照", "片"]),
        ("ネコ", ["ネ", "コ"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("naïve cafe\u0301", ["naïve", "cafe\u0301"]),
        ("😀 👍🏽", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Words lose the punctuation around them; a Han character or kana is a word; Hangul and Devanagari have spaces."""
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "special", "letters"),
    [
        ("", 0.0, 0.0),
        ("abcd", 0.0, 1.0),
        ("ab 12", 3 / 5, 4 / 5),  # digits are special to data-juicer, and letters to its alphanumeric filter
        ("!?", 1.0, 0.0),
        ("猫\uff0c好", 1 / 3, 2 / 3),
        ("cafe\u0301", 0.0, 4 / 5),  # a mark is a part of its letter
        ("ok 😀", 2 / 4, 2 / 4),
    ],
)
def test_special_and_letters(text: str, special: float, letters: float) -> None:
    """Shares of characters, by hand."""
    assert special_ratio(text) == pytest.approx(special)
    assert letter_ratio(text) == pytest.approx(letters)


def test_char_repetition() -> None:
    """Runs by hand: of `abababab` the runs of two are ab four times and ba three times; one of two counts."""
    assert char_repetition("abababab", 2) == pytest.approx(4 / 7)
    assert char_repetition("abcdefgh", 2) == 0.0
    assert char_repetition("aaaa", 2) == 1.0
    assert char_repetition("short", 10) == 0.0
    assert char_repetition("", 1) == 0.0


def test_word_repetition() -> None:
    """Runs by hand: `a b a b c` has a b twice, b a and b c once."""
    assert word_repetition(["a", "b", "a", "b", "c"], 2) == pytest.approx(2 / 4)
    assert word_repetition(["a"], 2) == 0.0
    assert word_repetition([], 1) == 0.0
    assert word_repetition(["no"] * 12, 10) == 1.0


def test_flagged_words() -> None:
    """Whole words count, whatever their case."""
    assert flagged_ratio(words_of("Buy NOW, nowhere else"), {"now"}) == pytest.approx(1 / 4)
    assert flagged_ratio([], {"now"}) == 0.0


def _char_repetition_of_data_juicer(text: str, run: int) -> float:
    """Return what data-juicer's character_repetition_filter computes, written out from its description."""
    runs = [text[first : first + run] for first in range(len(text) - run + 1)]
    if not runs:
        return 0.0
    counts = sorted((runs.count(one) for one in set(runs)), reverse=True)
    taken = min(int(math.sqrt(len(counts))), len([count for count in counts if count != 1]))
    return sum(counts[:taken]) / sum(counts)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \u4e00\u0301!1", max_size=60), st.integers(1, 12))
def test_measures_of_any_text(text: str, run: int) -> None:
    """Every measure is a share, and the repetition of runs is that of data-juicer."""
    words = words_of(text)
    for share in (special_ratio(text), letter_ratio(text), word_repetition(words, run), char_repetition(text, run)):
        assert 0 <= share <= 1
    assert char_repetition(text, run) == pytest.approx(_char_repetition_of_data_juicer(text, run))
    assert all(word == word.lower() and not set(word[:1] + word[-1:]) & set(string.punctuation) for word in words)


LIMITS = TextFilter(
    column="text",
    min_chars=2,
    max_words=9,
    max_special_ratio=0.5,
    max_char_repetition=0.3,
    char_run=2,
    lacks=r"\d{3}",
    flagged_words=["spam"],
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="ab 1!\u4e00\U0001f600", max_size=30), max_size=12), st.integers(0, 12))
def test_streaming_is_the_same_as_the_whole(texts: list[str], cut: int) -> None:
    """Wherever texts are cut into batches, the same is said of each."""
    whole = judge(LIMITS, list(texts))
    assert judge(LIMITS, list(texts[:cut])) + judge(LIMITS, list(texts[cut:])) == whole


def test_what_is_said_of_a_text() -> None:
    """A text that breaks a limit is told with its measure and its beginning; the first limit in the table counts."""
    judged = judge(
        LIMITS, ["a", "fine words", "call 123 now", "no SPAM please", "one two three four five six seven 8 9 0"]
    )
    assert [broken for _, broken in judged] == [
        ("curate.text.min_chars", "chars is 1, min_chars is 2: 'a'"),
        None,
        ("curate.text.lacks", r"'\\d{3}' is found in it: '123': 'call 123 now'"),
        ("curate.text.max_flagged_ratio", "flagged_ratio is 0.333333, max_flagged_ratio is 0: 'no SPAM please'"),
        ("curate.text.max_words", "words is 10, max_words is 9: 'one two three four five six seven 8 9 0'"),
    ]
    measured = judged[1][0]
    assert measured == {"chars": 10, "words": 2, "special_ratio": 0.1, "char_repetition": 0.0, "flagged_ratio": 0.0}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A cat sits on the mat and looks at the dog.", "en"),
        ("Un chat est assis sur le tapis.", "fr"),
        ("一只猫坐在垫子上", "zh"),
        ("高清图片 iphone", "zh"),  # the model says Wu, which is Chinese
        ("猫はマットの上に座っている", "ja"),
        ("", None),
        ("123 !? 😀", None),
    ],
)
def test_languages(text: str, language: str | None) -> None:
    """Languages of short texts; what has no letters has none."""
    found, score = language_of(text)
    assert found == language
    assert 0 <= score <= 1
    assert (score == 0) == (language is None)
    assert language_of(text) == (found, score)


def test_known_languages_are_those_of_the_model() -> None:
    """The recipe knows the languages that the model tells apart."""
    labels = set(_identifier().labels)
    assert labels - MACROLANGUAGE.keys() - {NO_LANGUAGE} == LANGUAGES
    assert set(MACROLANGUAGE) <= labels
    assert set(MACROLANGUAGE.values()) <= LANGUAGES
