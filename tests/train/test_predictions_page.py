"""The page of predictions: everything in one file, nothing of a stranger's but text, the worst first."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RowRejected
from pipeline.printable import escaped
from train.example import Frames, Image, RowRef, TrainError
from train.metrics_file import Measured
from train.pages.page_text import LONGEST, difference_block
from train.pages.predictions_page import PageFacts, Sample, samples_of, worst_first, write_page
from train.pages.text_difference import differences
from train.pages.thumbnails import thumbnails
from train.scoring.comparison import compare
from train.scoring.predictions import AFTER, BEFORE, Prediction
from train.scoring.scores import ScoredRow, Scores, TaskSpec
from train.scoring.tasks import evaluate_texts

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&--><!-- \x1b[31m\u202eevil\u2066 \x00 ]]>"
TEXTS = st.text(st.characters(), max_size=40)
VOID = {"meta", "img", "br", "source"}


class _Page(HTMLParser):
    """A page taken apart; fails on what is not nested well."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def _prediction(number: int, model: str, text: str, truth: str = "a dog runs", **more: object) -> Prediction:
    row = RowRef(number=number, shard="clips/test-00000-of-00001.parquet", row=number, id=HOSTILE)
    return Prediction(
        model=model,
        of="x",
        row=row,
        prompt=f"What is it? {HOSTILE}",
        prediction=text,
        truth=truth,
        **more,  # type: ignore[arg-type]
    )


def _samples(*texts: tuple[str, str]) -> tuple[list[Sample], Scores, Scores]:
    task = TaskSpec(kind="caption")
    predictions, both = [], []
    for place, model in enumerate((BEFORE, AFTER)):
        answers = [_prediction(number, model, pair[place]) for number, pair in enumerate(texts)]
        scores = evaluate_texts(task, [one.scored for one in answers])
        both.append(scores)
        for answer, scored in zip(answers, scores.per_row, strict=True):
            more = {"scores": scored.values, "note": HOSTILE, "cut_off": True}
            predictions.append(_prediction(answer.row.number, model, answer.prediction, **more))
    return samples_of(predictions), both[0], both[1]


def _image(row: RowRef) -> list[Image | Frames]:
    pixels = np.full((60, 80, 3), row.number * 20, np.uint8)
    pixels[10:50, 10:70] = 255 - row.number
    return [Image(pixels=pixels)]


def _written(path: Path, samples: list[Sample], **more: object) -> str:
    facts = more.pop("facts", PageFacts(title=HOSTILE, facts=[("name", HOSTILE)]))
    media = more.pop("media", _image)
    write_page(path, facts, samples, media, main="chrf", **more)  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8")


def test_nothing_of_a_strangers_but_text(tmp_path: Path) -> None:
    """Texts, names, notes and titles with HTML, controls and marks of direction are seen, and do nothing."""
    samples, before, after = _samples((HOSTILE, f"a dog {HOSTILE}"), ("", "a dog runs"))
    lines = [Measured(step=step, values={"loss": 1.0 / step}) for step in (1, 2)]
    facts = PageFacts(title=HOSTILE, facts=[(HOSTILE, HOSTILE)], scores=compare(before, after), metrics=lines)
    html = _written(tmp_path / "page.html", samples, facts=facts)
    page = _Page(html)
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "link", "form", "base"} == set()
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(url.startswith("data:image/") for url in page.attributes("src") + page.attributes("srcset"))
    assert all(url.startswith("#row-") for url in page.attributes("href"))
    assert not re.search(r"https?:|url\(|@import", html)
    assert "default-src 'none'" in html
    text = "".join(page.text)
    assert text.count("<script>alert(1)</script>") >= 10
    assert not set(text) & set("\x1b\u202e\u2066\x00")
    assert r"\u202e" in text


@given(said=TEXTS, true=TEXTS)
@settings(max_examples=60, deadline=None)
def test_any_text_is_shown(said: str, true: str) -> None:
    """Whatever was said, its box is well formed and holds it with what cannot be seen as escapes."""
    page = _Page(difference_block(said, true))
    kept = "".join(
        text for text, inside in zip(page.text, _insides(difference_block(said, true)), strict=True) if inside != "del"
    )
    assert kept == (escaped(said, keep="\n\t\u200c\u200d\u00a0\u3000") or "(empty)")


def _insides(html: str) -> list[str]:
    """Return for each run of text the tag that it stands in."""
    found: list[str] = []

    class Reader(_Page):
        def handle_data(self, data: str) -> None:
            super().handle_data(data)
            found.append(self.open[-1])

    Reader(html)
    return found


@given(said=TEXTS, true=TEXTS)
@settings(max_examples=150, deadline=None)
def test_differences_are_both_texts(said: str, true: str) -> None:
    """Without what is missing the pieces are what was said, without what was said they are what is true."""
    pieces = differences(said, true)
    assert "".join(piece.text for piece in pieces if piece.kind != "missing") == said
    assert "".join(piece.text for piece in pieces if piece.kind != "said") == true
    assert all(piece.text for piece in pieces)
    kinds = [piece.kind for piece in pieces]
    assert all(one != other for one, other in pairwise(kinds))


@pytest.mark.parametrize(
    ("said", "true", "marked"),
    [
        ("a big dog", "a red dog", "a [big|red] dog"),
        ("a dog runs", "a dog runs", "a dog runs"),
        ("the volcanokoniosis", "the volcanoconiosis", "the volcano[k|c]oniosis"),
        ("一只狗在跑", "一只猫在跑", "一只[狗|猫]在跑"),
        (r"\alpha+1", r"\beta+1", r"[\alpha|\beta]+1"),
        ("quality: 3", "quality: 2", "quality: [3|2]"),
        ("one two three", "one 2 3", "one [two three|2 3]"),
    ],
)
def test_differences_are_readable(said: str, true: str, marked: str) -> None:
    """Words are exchanged as words, letters in words that are alike, and characters where there are no blanks."""
    shown = ""
    for piece in differences(said, true):
        shown += {"same": "{}", "said": "[{}|", "missing": "{}]"}[piece.kind].format(piece.text)
    assert shown == marked


def test_long_texts(tmp_path: Path) -> None:
    """A text without end is cut, and the page says by how much."""
    samples, *_ = _samples(("word " * 20_000, "a dog runs"))
    page = _Page(_written(tmp_path / "page.html", samples))
    assert f"{100_000 - LONGEST:,} more characters" in "".join(page.text)
    assert (tmp_path / "page.html").stat().st_size < 60_000


def test_the_worst_comes_first(tmp_path: Path) -> None:
    """Samples are in order of what the trained model answers, the page shows so many, and media of those alone."""
    samples, *_ = _samples(("a dog runs", "a dog"), ("x", "x"), ("y", "a dog runs"), ("a dog runs", "x"))
    assert [sample.row.number for sample in worst_first(samples, "chrf")] == [3, 1, 0, 2]
    asked: list[int] = []

    def media(row: RowRef) -> list[Image | Frames]:
        asked.append(row.number)
        return _image(row)

    html = _written(tmp_path / "page.html", samples, media=media, most=2)
    assert asked == [3, 1]
    assert re.findall(r'<article class="card" id="(row-\d+)"', html) == ["row-3", "row-1"]
    assert "2 of 4" in html
    assert set(_Page(html).attributes("href")) == {"#row-1", "#row-3"}


def test_answers_that_could_not_be_read_come_first() -> None:
    """A row without a number is worse than one with the worst."""
    samples = [
        Sample(
            row=RowRef(number=n, shard="s", row=n),
            prompt="",
            truth="",
            answers={AFTER: _prediction(n, AFTER, "", scores={"mae": mae})},
        )
        for n, mae in enumerate([0.0, 3.0, None])
    ]
    assert [sample.row.number for sample in worst_first(samples, "mae")] == [2, 1, 0]


def test_pictures_are_inside(tmp_path: Path) -> None:
    """Images and frames are small JPEGs in the page; media that cannot be had leave a reason in their place."""
    frames = Frames(pixels=np.zeros((12, 90, 160, 3), np.uint8), numbers=tuple(range(0, 120, 10)), total=120, fps=25.0)

    def media(row: RowRef) -> list[Image | Frames]:
        if row.number == 0:
            return [frames]
        if row.number == 1:
            raise RowRejected("media.decode", f"it does not decode {HOSTILE}")
        if row.number == 2:
            raise TrainError("there is no such row", hint="look")
        return []

    samples, *_ = _samples(*[("x", "y")] * 4)
    page = _Page(_written(tmp_path / "page.html", samples, media=media))
    pictures = [base64.b64decode(url.partition("base64,")[2]) for url in page.attributes("src")]
    assert [PIL.Image.open(io.BytesIO(one)).size for one in pictures] == [(160, 90)] * 8
    assert page.attributes("alt")[0] == "frame 0, 0.0 s"
    assert page.attributes("alt")[-1] == "frame 110, 4.4 s"
    text = "".join(page.text)
    assert "there is no picture: it does not decode <script>" in text
    assert "there is no picture: there is no such row" in text


def test_a_formula_on_an_empty_page_can_be_read() -> None:
    """Margins of one colour go where they are most of a picture; a picture all of one colour stays."""
    pixels = np.full((2000, 1600, 3), 255, np.uint8)
    pixels[300:340, 200:600] = 0
    (one,) = thumbnails(Image(pixels=pixels))
    assert (one.width, one.height) == (416, 56)
    assert "1600 x 2000 pixels, shown without its empty margins" in one.says
    (plain,) = thumbnails(Image(pixels=np.full((20, 10, 3), 7, np.uint8)))
    assert (plain.width, plain.height) == (10, 20)


def test_a_page_of_one_model(tmp_path: Path) -> None:
    """Without a comparison the page has the one model's scores, and nothing of a before."""
    samples, _, after = _samples(("x", "a dog"))
    only = [Sample(row=one.row, prompt="", truth=one.truth, answers={AFTER: one.answers[AFTER]}) for one in samples]
    html = _written(tmp_path / "page.html", only, facts=PageFacts(title="t", scores=after))
    text = "".join(_Page(html).text)
    assert "chrF" in text
    assert "before" not in text.replace("\n", " ").partition("Samples")[2].replace("true text", "")


def test_no_samples(tmp_path: Path) -> None:
    """A page without samples is one, too."""
    assert "Samples" in _written(tmp_path / "page.html", [])
    empty = evaluate_texts(TaskSpec(kind="caption"), [])
    assert "there are no texts" in _written(tmp_path / "page.html", [], facts=PageFacts(title="t", scores=empty))


def test_truths_of_many_people() -> None:
    """Where people's answers are the truth, a sample shows each once."""
    row = ScoredRow(row=RowRef(number=0, shard="s", row=0), prediction="x").row
    one = Prediction(model=AFTER, of="", row=row, prompt="", prediction="x", truth="", answers=("a", "b", "a"))
    assert samples_of([one])[0].truth == "a / b"
