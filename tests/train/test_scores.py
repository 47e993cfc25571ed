"""Metrics against known values of their sources, and what must hold for any text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.scoring.captions import error_rate_of_all, for_exact_match, one_line
from train.scoring.choices import option_in
from train.scoring.edit_distance import character_error_rate, edit_distance, edits
from train.scoring.latex_tokens import latex_text, latex_tokens, unbalanced_braces
from train.scoring.numbers_in_text import numbers_in
from train.scoring.overlap import bleu, chrf, cutting_of
from train.scoring.rank_correlation import ranks, spearman
from train.scoring.short_answers import normalised, vqa_accuracy

TEXTS = st.text(st.characters(), max_size=60)
LATEX = st.lists(
    st.sampled_from(
        [*"{}^_$ab1= \n\\[]()&", r"\frac", r"\text", r"\bf", r"\[", r"\]", r"\(", r"\)", r"\ ", "```", "``"]
    )
).map("".join)
NUMBERS = st.lists(st.integers(-5, 5), min_size=2, max_size=30)
FIVE = (
    "visual quality",
    "temporal consistency",
    "dynamic degree",
    "text-to-video alignment",
    "factual consistency",
)
OPTIONS = {"A": "a cat", "B": "a dog", "C": "a big dog", "D": "an apple"}


def test_edit_distance_of_the_textbook() -> None:
    """Three edits make a sitting of a kitten, and the rate is of the true text's letters."""
    assert edit_distance("kitten", "sitting") == 3
    assert character_error_rate("kitten", "sitting") == pytest.approx(3 / 7)
    assert character_error_rate("", "abc") == 1
    assert character_error_rate("abcdef", "abc") == 1
    assert (character_error_rate("", ""), character_error_rate("x", "")) == (0, 1)


def test_error_rate_of_all_counts_characters() -> None:
    """A long text weighs more than a short one, and nothing true is no rate."""
    assert error_rate_of_all([("aaaa", "aaaa"), ("", "b")]) == pytest.approx(1 / 5)
    assert error_rate_of_all([("x", "")]) is None


@given(TEXTS, TEXTS)
def test_edits_lead_from_one_text_to_the_other(one: str, other: str) -> None:
    """The runs of edits cover both texts in order, and equal runs are equal."""
    found = edits(one, other)
    assert "".join(one[edit.of_one] for edit in found) == one
    assert "".join(other[edit.of_other] for edit in found) == other
    assert all(one[edit.of_one] == other[edit.of_other] for edit in found if edit.kind == "equal")


def test_bleu_by_hand() -> None:
    """Five of six words, three of five pairs, one of four triples, none of three: Papineni's formula, smoothed."""
    precisions = (5 / 6, 3 / 5, 1 / 4, 1 / (2 * 3))
    score = bleu(["the cat sat on the mat"], ["the cat is on the mat"], "13a").score
    assert score == pytest.approx(100 * math.prod(precisions) ** 0.25)


def test_bleu_of_short_texts() -> None:
    """Brevity costs exp(1 - r/c), over all texts; a single text counts only the orders that it has."""
    found = bleu(["a b c d e f g h", "x"], ["a b c d e f g h i j", "x"], "13a")
    assert found.score == pytest.approx(100 * math.exp(1 - 11 / 9))
    assert found.per_row == pytest.approx([100 * math.exp(1 - 10 / 8), 100])
    assert "version" in found.notes[0]


def test_bleu_of_texts_without_four_words() -> None:
    """Texts that are too short for BLEU score 0 even where they are right, and that is said."""
    found = bleu(["a dog"], ["a dog"], "13a")
    assert (found.score, found.per_row) == (0, [pytest.approx(100)])
    assert "four words" in found.notes[1]


@pytest.mark.parametrize(
    ("language", "cutting", "said", "true", "words"),
    [
        ("zh-Hans", "zh", "我爱北京", "我爱南京", 4),
        ("ja", "ja-mecab", "猫が庭を走る", "猫が庭を走った", 5),
        ("th", "char", "แมวดำ", "แมวดำ", 5),
        ("de_AT", "13a", "Der Hund bellt.", "Der Hund bellt.", 4),
    ],
)
def test_words_are_cut_by_language(language: str, cutting: str, said: str, true: str, words: int) -> None:
    """Languages without blanks are cut by sacrebleu's ways for them, Japanese by its dictionary."""
    from sacrebleu.metrics import BLEU

    assert cutting_of(language) == cutting
    assert BLEU(tokenize=cutting).corpus_score([said], [[true]]).sys_len == words
    assert bleu([said], [true], cutting_of(language)).score > 0


def test_chrf_by_hand() -> None:
    """`ab` for `abc`: precision 1, recalls 2/3 and 1/2 of the orders both have, and recall counts twice."""
    recall = (2 / 3 + 1 / 2) / 2
    assert chrf(["ab"], ["abc"]).score == pytest.approx(100 * 5 * recall / (4 + recall), abs=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "rho"),
    [
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),  # the example of scipy.stats.spearmanr
        # IQ and hours of television, of Wikipedia's article on the coefficient
        ([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17], -29 / 165),
        ([1, 1, 2, 2], [1, 2, 1, 2], 0.0),
        ([1, 2], [4, 3], -1.0),
    ],
)
def test_spearman_known_values(one: list[float], other: list[float], rho: float) -> None:
    """Rank correlations that others published come out to the last digits."""
    assert spearman(one, other) == pytest.approx(rho, abs=1e-12)


@given(NUMBERS)
def test_spearman_looks_at_the_order_alone(values: list[int]) -> None:
    """Growing functions change nothing, falling ones the sign, sides are alike, and ties share the mean of ranks."""
    other = [value * value % 7 for value in values]
    rho = spearman(values, other)
    assert ranks(values).sum() == pytest.approx(len(values) * (len(values) + 1) / 2)
    assert np.array_equal(ranks([value**3 for value in values]), ranks(values))
    if rho is None:
        assert len(set(values)) == 1 or len(set(other)) == 1
    else:
        assert spearman([value**3 for value in values], other) == pytest.approx(rho)
        assert spearman([-value for value in values], other) == pytest.approx(-rho)
        assert spearman(other, values) == pytest.approx(rho)


def test_nothing_to_order() -> None:
    """One pair, or a side without differences, has no correlation; sides of different lengths are our own bug."""
    assert spearman([1], [2]) is None
    assert spearman([], []) is None
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    with pytest.raises(ValueError, match="paired"):
        spearman([1], [1, 2])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A Dog.", "a dog", True),
        (" a\t\u3000dog\n", "a dog", True),
        ("\uff21\uff22\uff23\uff01", "abc", True),
        ("cafe\u0301", "café", True),
        ("STRASSE", "straße", True),
        ("一只猫。", "一只猫", True),
        ("a dog", "the dog", False),
        ("a, dog", "a dog", False),
    ],
)
def test_captions_that_are_the_same(one: str, other: str, same: bool) -> None:
    """Width, case, blanks and a closing full stop do not count; words and marks inside do."""
    assert (for_exact_match(one) == for_exact_match(other)) is same


@given(TEXTS)
def test_one_line_is_writable_and_final(text: str) -> None:
    """Any text becomes one line of UTF-8 without a null, and once more changes nothing."""
    line = one_line(text)
    assert line.encode().decode() == line
    assert not set(line) & set("\0\n\r\t")
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (r"$\frac{1}{2}$", [r"\frac", "1", "2"]),
        (r"\frac12", [r"\frac", "1", "2"]),
        (r"\[ x ^ { 2 } \]", ["x", "^", "2"]),
        ("```latex\n$$x_{ij}$$\n```", ["x", "_", "{", "i", "j", "}"]),
        (r"{\bf y}", ["{", r"\bf", "y", "}"]),
        (r"{\bf}", ["{", r"\bf", "}"]),
        (r"x^{\prime}", ["x", "^", r"\prime"]),
        (r"1{,}000", ["1", "{", ",", "}", "0", "0", "0"]),
        (r"\text{if  x}", [r"\text", "{", "i", "f", " ", "x", "}"]),
        (r"a\ ", ["a", "\\ "]),
        ("$a$ and $b$", ["$", "a", "$", "a", "n", "d", "$", "b", "$"]),
        (r"\$5\$", [r"\$", "5", r"\$"]),
        ("\\", ["\\"]),
        ("", []),
    ],
)
def test_latex_is_cut_into_tokens(text: str, tokens: list[str]) -> None:
    """What TeX does not tell apart is cut alike, and what it does stays different."""
    assert latex_tokens(text) == tokens


@given(LATEX)
def test_comparable_latex_is_final(text: str) -> None:
    """A formula in its comparable form stays what it is, and blanks where TeX sees none make no difference."""
    tokens = latex_tokens(text)
    assert latex_tokens(latex_text(tokens)) == tokens
    assert unbalanced_braces(tokens) in (True, False)


@given(st.lists(st.sampled_from(["a", "1", "+", r"\alpha", "{", "}", "^", "_"])))
def test_blanks_in_formulas_do_not_count(pieces: list[str]) -> None:
    """Where no text command stands, blanks between tokens change nothing."""
    assert latex_tokens(" ".join(pieces)) == latex_tokens("  \n".join(pieces))


def test_braces_without_partner() -> None:
    """Braces that close before they open are unbalanced, too."""
    assert [unbalanced_braces(latex_tokens(text)) for text in ("{ab", "a}b{", "{ab}", r"\{")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "values", "problems"),
    [
        ("visual quality: 3\ntemporal consistency: 2", {"visual quality": 3, "temporal consistency": 2}, 3),
        ("**Visual_Quality** = 3/4, dynamic-degree (2)", {"visual quality": 3, "dynamic degree": 2}, 3),
        ('{"visual quality": 3.0, "factual consistency": 1}', {"visual quality": 3, "factual consistency": 1}, 3),
        ("visual quality is 2 out of 4", {"visual quality": 2}, 4),
        ("[3, 2, 3, 3, 1]", dict(zip(FIVE, [3, 2, 3, 3, 1], strict=True)), 0),
        ("3, 2, 3", {}, 1),
        ("Sorry.", {}, 1),
        ("visual quality, dynamic degree: 3", {"dynamic degree": 3}, 4),
        ("visual quality: 2-3", {}, 5),
        ("visual quality: 7", {}, 5),
        ("visual quality: -1", {}, 5),
        ("visual quality: 2, then again visual quality: 3", {}, 5),
        ("visual quality: 2. Yes, visual quality 2.", {"visual quality": 2}, 4),
        (f"visual quality: {'9' * 400}", {}, 5),
        ("visual quality: v2.1.3 of 2", {"visual quality": 2}, 4),
    ],
)
def test_numbers_are_read_by_name_or_as_a_list(text: str, values: dict[str, float], problems: int) -> None:
    """Each name gets the number behind it; what is missing, said twice, a range or out of bounds is named instead."""
    read = numbers_in(text, FIVE, (1, 4))
    assert read.values == values
    assert len(read.problems) == problems


def test_numbers_in_other_scripts() -> None:
    """Names and numbers need no blanks around them where a script has none."""
    assert numbers_in("视觉质量3分\uff0c动态程度\uff1a\uff12", ("视觉质量", "动态程度"), None).values == {
        "视觉质量": 3,
        "动态程度": 2,
    }


@given(st.one_of(TEXTS, st.text("0123456789.,/-: visual quality", max_size=80)))
def test_any_text_gives_numbers_or_reasons(text: str) -> None:
    """Whatever is said, each name has a number in bounds or the text has a reason why not."""
    read = numbers_in(text, FIVE, (1, 4))
    assert all(1 <= value <= 4 for value in read.values.values())
    assert len(read.values) == 5 or read.problems


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("**B**.", "B"),
        ("The answer is (B).", "B"),
        ("the answer is b", "B"),
        ("The answer is a dog", "B"),
        ("Answer: B", "B"),
        ("ANSWER: B because it barks", "B"),
        ("The correct option is B.", "B"),
        ("答案是B", "B"),
        ("所以\uff0c故选B。", "B"),
        ("答えはBです", "B"),
        ("B. a cat", "B"),
        ("I would pick B", "B"),
        ("It is (c), I think", "C"),
        ("A dog is there.", "B"),
        ("It is a big dog", "C"),
        ("I think it must be A", "A"),
        ("an apple", "D"),
        ("A. cat\nB. dog", None),
        ("The answer is B. No, the answer is C.", None),
        ("Either B or C", None),
        ("a cat and an apple", None),
        ("E", None),
        ("None of these", None),
        ("", None),
        ("It shows a dog. " * 20, None),
        ("B-52", None),
    ],
)
def test_which_option_is_named(text: str, letter: str | None) -> None:
    """The rule of the module, case by case; what says two things says nothing."""
    assert option_in(text, OPTIONS) == letter


@given(TEXTS)
def test_any_text_names_an_option_or_none(text: str) -> None:
    """Whatever is said, it is one of the letters or nothing, with and without options."""
    assert option_in(text, OPTIONS) in (*OPTIONS, None)
    assert len(option_in(text, {}) or "A") == 1


@pytest.mark.parametrize(("same", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy_of_ten_people(same: int, accuracy: float) -> None:
    """The table of the VQA challenge: 0, 0.3, 0.6, 0.9 and 1 for none to four of ten people."""
    assert vqa_accuracy("yes", ["yes"] * same + ["no"] * (10 - same)) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("answers", "accuracy"), [((), 0), (("yes",), 1), (("no",), 0), (("yes", "yes"), 1), (("yes", "no"), 0.5)]
)
def test_vqa_accuracy_of_few_people(answers: tuple[str, ...], accuracy: float) -> None:
    """Few people cannot have three others; then all of them must agree."""
    assert vqa_accuracy("yes", answers) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ("The Dog!", "dog"),
        ("two dogs", "2 dogs"),
        ("none", "0"),
        ("10,000", "10000"),
        ("1.5", "1.5"),
        ("U.S.A.", "usa"),
        ("wi-fi", "wi fi"),
        ("coca - cola", "coca cola"),
        ("McDonald's", "mcdonald 's"),
        ("don't", "dont"),
        ("  new\nyork ", "new york"),
        ("were", "were"),
        ("we're", "we're"),
    ],
)
def test_answers_are_normalised(answer: str, same: str) -> None:
    """The steps of the challenges' normalisation, each seen in an answer."""
    assert normalised(answer) == normalised(same) == same
