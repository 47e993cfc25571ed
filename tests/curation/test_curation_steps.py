"""Steps of curation in builds: texts, conversations and draws, each drop by name, and each measure told."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import RecipeError, RejectsError

if TYPE_CHECKING:
    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}
CONVERSATION = {"column": "turns", "tokens": {"<image>": "images"}}
TURNS = {"list": {"struct": {"from": "string", "value": "string"}}}


def _curate(project: Project, rows: list[dict[str, Any]], columns: dict[str, Any], *steps: Any, **schema: Any) -> Any:
    project.rows("rows.jsonl", rows)
    project.write(ONE_SPLIT | {"curate": list(steps)}, columns, **schema)
    return project.build(upto="curate")


def _lines(project: Project) -> dict[int, str]:
    return {row["line"]: row["reason"] for row in project.rejected()}


def test_texts_of_columns(project: Project) -> None:
    """One text a row, from a column, a list or several columns; null is empty; the manifest has rows and quantiles."""
    rows = [
        {"title": "Cat", "lines": ["sits on the mat", "and sleeps"], "label": "cat"},
        {"title": None, "lines": [], "label": "dog"},
        {"title": "https://example.org", "lines": ["buy now"], "label": "cat"},
        {"title": "ha", "lines": ["ha " * 40], "label": "dog"},
    ]
    columns = {
        "title": {"type": "string", "nullable": True},
        "lines": {"list": "string"},
        "label": {"class_label": ["cat", "dog"]},
    }
    report = _curate(
        project,
        rows,
        columns,
        {"text": {"columns": ["title", "lines"], "lacks": "https?://", "max_char_repetition": 0.5}},
        {"text": {"column": "title", "min_chars": 1}},
        {"text": {"columns": ["label", "title"], "matches": "^cat\nCat$", "min_words": 2}},
    )
    assert _lines(project) == {3: "curate.text.lacks", 4: "curate.text.max_char_repetition", 2: "curate.text.min_chars"}
    steps = json.loads((project.work / "manifest.json").read_bytes())["stages"]["curate"]["configs"]["default"]["steps"]
    assert [(step["rows_in"], step["rows_out"]) for step in steps] == [(4, 2), (2, 1), (1, 1)]
    assert steps[1]["rejected"] == {"curate.text.min_chars": 1}
    assert steps[1]["measured"] == {"chars": {"values": 2, "min": 0, "p05": 0, "median": 0, "p95": 0, "max": 3}}
    assert report.stages[-1].table[0].split() == [
        *("step", "rows", "in", "left", "out", "measure", "min", "5%", "median", "95%", "max")
    ]
    assert report.stages[-1].table[3].split() == ["2", "text", "2", "1", "chars", "0", "0", "0", "0", "3"]


@pytest.mark.parametrize("how", ["ready", "templates"])
def test_texts_of_turns(project: Project, how: str) -> None:
    """What the assistant says is judged, without the placeholders of media, wherever the conversation comes from."""
    said = [
        "A cat.",
        "Un chat est assis sur le tapis rouge.",
        "",
        "<image>一只猫坐在红色的垫子上",
        "A cat sits on a mat.",
    ]
    if how == "ready":
        rows: list[dict[str, Any]] = [
            {
                "turns": [{"from": "human", "value": "Qu'est-ce que c'est ?"}, {"from": "gpt", "value": text}],
                "images": project.pictures(text.count("<image>")),
            }
            for text in said
        ]
        columns: dict[str, Any] = {"turns": TURNS, "images": {"list": "image"}}
        conversation: Any = CONVERSATION
    else:
        rows = [{"answer": text.replace("<image>", "")} for text in said]
        columns = {"answer": "string"}
        conversation = [{"user": "Qu'est-ce que c'est ?"}, {"assistant": "{{ answer }}"}]
    step = {"text": {"turns": "assistant", "languages": ["en", "zh"], "min_chars": 8}}
    _curate(project, rows, columns, step, conversation=conversation)
    assert _lines(project) == {1: "curate.text.min_chars", 2: "curate.text.languages", 3: "curate.text.min_chars"}
    assert "its language is fr" in project.rejected()[1]["message"]


def test_a_conversation_that_is_none(project: Project) -> None:
    """A row whose turns cannot be told apart is a defect, by name."""
    rows = [{"turns": [{"from": "robot", "value": "Hello"}], "images": []}]
    columns = {"turns": TURNS, "images": {"list": "image"}}
    _curate(project, rows, columns, {"text": {"turns": ["user"], "min_chars": 1}}, conversation=CONVERSATION)
    assert _lines(project) == {1: "conversation.role"}


def test_workers_change_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are judged the same in this process and over several."""
    from pipeline import executor

    draw = random.Random(3)  # noqa: S311  (texts, no secrets)
    words = ["cat", "mat", "猫", "http://x.y", "no", "\U0001f600"]
    rows = [{"text": " ".join(draw.choices(words, k=draw.randrange(9)))} for _ in range(300)]
    step = {"text": {"column": "text", "min_words": 2, "max_special_ratio": 0.4, "lacks": "http"}}
    first = _curate(project, rows, {"text": "string"}, step).stages[-1].table
    rejected = project.rejected()
    assert 0 < len(rejected) < len(rows)
    monkeypatch.setattr(executor, "WORTH_A_POOL", 1)
    for file in (project.work / "plan").glob("*.curate.json"):
        file.unlink()
    assert project.build(upto="curate", workers=2).stages[-1].table == first
    assert project.rejected() == rejected


def test_limits_of_groups(project: Project) -> None:
    """So many rows of each value or picture stay, the same ones every time; others with another seed."""
    names = project.pictures(3)
    rows = [{"image": names[number % 3], "kind": "ab"[number > 9], "n": number} for number in range(30)]
    columns = {"image": "image", "kind": "string", "n": "int64"}
    _curate(project, rows, columns, {"limit": 4, "per": "image", "seed": 5})
    first = _lines(project)
    assert set(first.values()) == {"curate.limit"}
    stay = [number for number in range(30) if number + 1 not in first]
    assert [sum(number % 3 == group for number in stay) for group in range(3)] == [4, 4, 4]
    _curate(project, rows, columns, {"limit": 12, "per": "kind"})
    assert sorted(_lines(project)) != sorted(first)
    assert {row["message"] for row in project.rejected()} == {'over the limit of 12 rows where kind is "b"'}
    assert len(project.rejected()) == 8
    assert all(line > 10 for line in _lines(project))


def test_sample_and_multiple(project: Project) -> None:
    """A share is drawn row by row, and stays drawn when rows are added; a multiple keeps as many as it can."""
    rows = [{"n": number} for number in range(1_000)]
    _curate(project, rows, {"n": "int64"}, {"sample": 0.3, "seed": 7})
    first = set(_lines(project))
    assert 650 < len(first) < 750
    _curate(project, rows + [{"n": -1}] * 50, {"n": "int64"}, {"sample": 0.3, "seed": 7})
    assert {line for line in _lines(project) if line <= 1_000} == first
    _curate(project, rows, {"n": "int64"}, {"sample": 1}, {"multiple_of": 256, "seed": 1}, {"at_least": 768})
    assert len(project.rejected()) == 1_000 - 768
    assert {row["message"] for row in project.rejected()} == {"1,000 rows are not a multiple of 256; 768 are kept"}


def test_multiple_of_each_split(project: Project) -> None:
    """Splits that have files of their own are each a multiple."""
    project.rows("a.jsonl", [{"n": number} for number in range(23)])
    project.rows("b.jsonl", [{"n": number} for number in range(14)])
    splits = {"train": {"files": "a.jsonl"}, "test": {"files": "b.jsonl"}}
    config = {"splits": splits, "split_by": {"group": "none"}}
    project.write({"configs": {"default": config}, "curate": [{"multiple_of": 10}]}, {"n": "int64"})
    project.build(upto="curate")
    assert [row["split"] for row in project.rejected()] == ["train"] * 3 + ["test"] * 4


@pytest.mark.parametrize(
    ("step", "words"),
    [({"at_least": 11}, "10 rows are left, and `at_least` wants 11"), ({"multiple_of": 16}, "10 rows are left, fewer")],
)
def test_too_few_rows_stop_the_build(project: Project, step: dict[str, int], words: str) -> None:
    """Fewer rows than are wanted are an error that says what to do."""
    with pytest.raises(RejectsError, match=words):
        _curate(project, [{"n": number} for number in range(10)], {"n": "int64"}, step)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"text": {"column": "txt", "min_chars": 1}}, "unknown column 'txt' (did you mean 'text'?)"),
        ({"text": {"columns": ["text", "image"], "min_chars": 1}}, "unknown column 'image'"),
        ({"text": {"turns": ["user"], "min_chars": 1}}, "has no conversation"),
        ({"text": {"column": "text"}}, "at least one limit"),
        ({"text": {"column": "text", "columns": ["text"], "min_chars": 1}}, "exactly one of column, columns, turns"),
        ({"text": {"column": "text", "languages": ["english"]}}, "'english' is no language that can be told"),
        ({"text": {"column": "text", "matches": "("}}, "is not a regular expression"),
        ({"text": {"column": "text", "min_words": 5, "max_words": 3}}, "min_words 5 is larger than max_words 3"),
        ({"text": {"column": "text", "max_flagged_ratio": 0.1}}, "goes with `flagged_words`"),
        ({"text": {"column": "text", "min_chars": 1, "char_run": 5}}, "goes with `max_char_repetition`"),
        ({"limit": 3, "per": "imag"}, "unknown column 'imag' (did you mean 'image'?)"),
        ({"sample": 0.5, "per": "text"}, "`per` goes with `limit`"),
        ({"at_least": 5, "seed": 1}, "`seed` goes with `limit`"),
        ({"sample": 1.5}, "1.5"),
        ({"video": {"static": False}}, "has no video column"),
    ],
)
def test_mistakes(project: Project, step: dict[str, Any], words: str) -> None:
    """Every mistake in a step is one line with its place."""
    with pytest.raises(RecipeError) as error:
        _curate(project, [{"text": "x"}], {"text": "string", "image": {"type": "image", "nullable": True}}, step)
    (mistake,) = error.value.mistakes
    assert mistake.key.startswith("curate[0]")
    assert words in str(mistake)


def test_an_old_step_is_made_of_what_it_was(project: Project) -> None:
    """Keys that a step leaves out are no part of what its result is known by, so that new keys change no old result."""
    from pipeline.curate_spec import CurateSpec

    assert CurateSpec.model_validate({"image": {"min_side": 64}}).made_of() == {"image": {"min_side": 64}}
    assert CurateSpec.model_validate({"limit": 3, "seed": 0}).made_of() == {"limit": 3}
    _curate(project, [{"n": 1}], {"n": "int64"})
    assert project.build(upto="curate").stages[-1].skipped
