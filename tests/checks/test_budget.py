"""The budget of a training: which rows are told, what they cost together, and what is said of the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.checks.budget import budget_of
from pipeline.checks.dataset import Dataset, read_dataset
from pipeline.checks.facts import MEDIA_FACTS, ROW_FACTS
from pipeline.checks.files import LocalFiles
from pipeline.checks.options import Options
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.problem import Problem

TRAIN, TEST = "main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet"
IMAGE, VIDEO = 0, 1
"""Positions of the columns of media."""
VGA = 23 * 17 + 2
"""Tokens of 640 x 480 pixels for Qwen2.5-VL."""


def _dataset(folder: Path, shards: dict[str, int], **card: Any) -> Dataset:
    """Return a dataset with one config, images and a video a row; no check here reads more than its footers."""
    medium = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "images": {"feature": {"_type": "Image"}, "_type": "List"},
        "video": {"_type": "Video"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    schema = pa.schema([("images", pa.list_(medium)), ("video", medium), ("text", pa.string())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for name, rows in shards.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([{}] * rows, schema), folder / name)
    files = [{"split": split, "path": f"main/{split}-*.parquet"} for split in ("train", "test")]
    matter = {"configs": [{"config_name": "main", "data_files": files}], **card}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(matter)}---\n# Demo\n", encoding="utf-8")
    dataset, problems = read_dataset(LocalFiles(folder))
    assert dataset is not None
    assert {problem.code for problem in problems} <= {"SW104"}
    return dataset


def _rows(*characters: int | None, start: int = 0) -> pa.Table:
    rows = [{"row": start + place, "characters": count} for place, count in enumerate(characters)]
    return pa.Table.from_pylist(rows, ROW_FACTS)


def _media(*media: tuple[int, int, dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"row": row, "column": column, **facts} for row, column, facts in media], MEDIA_FACTS)


def _image(row: int, width: int | None = 640, height: int | None = 480) -> tuple[int, int, dict[str, Any]]:
    return row, IMAGE, {"width": width, "height": height, "frames": 1}


def _video(row: int, frames: int | None = 250, **facts: Any) -> tuple[int, int, dict[str, Any]]:
    return row, VIDEO, {"width": 640, "height": 272, "frames": frames, "fps": 25.0, **facts}


def _options(max_tokens: int | None = None, family: str = "qwen2.5-vl") -> Options:
    return Options(budget=family, max_tokens=max_tokens)


def _told(problems: list[Problem]) -> list[tuple[str, int | None, str]]:
    assert {problem.code for problem in problems} <= {"SW701"}
    return [(problem.file, problem.row, problem.message) for problem in problems]


def test_nobody_asked(tmp_path: Path) -> None:
    """Without a family there is no budget."""
    dataset = _dataset(tmp_path, {TRAIN: 1})
    assert budget_of(dataset, Options(max_tokens=1), {TRAIN: _rows(4000)}, {}) == ([], {})


def test_an_unknown_family(tmp_path: Path) -> None:
    """Another family is a mistake of whoever asks."""
    with pytest.raises(UsageError, match="there is no model family 'gpt'"):
        budget_of(_dataset(tmp_path, {TRAIN: 1}), _options(family="gpt"), {}, {})


def test_rows_that_cost_too_much(tmp_path: Path) -> None:
    """Each is told with its place and both numbers; those at the limit are not."""
    dataset = _dataset(tmp_path, {TRAIN: 5, TEST: 1})
    rows = {TRAIN: _rows(4 * (1000 - VGA), 4 * (1000 - VGA) + 1, 4001, 16, 8), TEST: _rows(4, start=7)}
    media = {
        TRAIN: _media(_image(0), _image(1), *[_image(3)] * 3, _video(4)),
        TEST: _media(_video(7, frames=1500)),
    }
    problems, facts = budget_of(dataset, _options(1000), rows, media)
    video = 10 * 23 * 10 + 2  # 20 frames, two by two, of 23 x 10 pieces
    minute = 6 * (video - 2) + 2
    assert _told(problems) == [
        (TRAIN, 1, f"1,001 tokens ({VGA} of vision, about {1001 - VGA} of text), and 1,000 are allowed"),
        (TRAIN, 2, "about 1,001 tokens of text, and 1,000 are allowed"),
        (TRAIN, 3, f"{3 * VGA + 4:,} tokens ({3 * VGA:,} of vision, about 4 of text), and 1,000 are allowed"),
        (TRAIN, 4, f"{video + 2:,} tokens ({video:,} of vision, about 2 of text), and 1,000 are allowed"),
        (
            TEST,
            7,
            f"{minute + 1:,} tokens ({minute:,} of vision, about 1 of text), and 1,000 are allowed",
        ),
    ]
    assert [(problem.config, problem.split) for problem in problems[-2:]] == [("main", "train"), ("main", "test")]
    assert all(problem.severity == "error" and problem.hint for problem in problems)
    assert (facts["over"], facts["refused"], facts["unmeasured"]) == (5, 0, 0)
    largest = {"file": TEST, "row": 7, "tokens": minute + 1, "vision_tokens": minute}
    assert facts["largest"] == largest | {"text_tokens": 1, "frames": 120, "pixels": 120 * 644 * 280}


def test_only_vision(tmp_path: Path) -> None:
    """A row without text is told without an estimate."""
    dataset = _dataset(tmp_path, {TRAIN: 1})
    problems, _ = budget_of(dataset, _options(100), {TRAIN: _rows(0)}, {TRAIN: _media(_image(0))})
    assert _told(problems) == [(TRAIN, 0, "393 tokens of vision, and 100 are allowed")]


def test_the_first_are_told_and_all_are_counted(tmp_path: Path) -> None:
    """No more problems are made than are shown, in the order of splits and rows."""
    dataset = _dataset(tmp_path, {TEST: 30, TRAIN: 7})
    rows = {TEST: _rows(*[500] * 30), TRAIN: _rows(*[500] * 7)}
    problems, facts = budget_of(dataset, _options(100), rows, {})
    places = [(problem.file, problem.row) for problem in problems]
    assert places == [(TRAIN, row) for row in range(7)] + [(TEST, row) for row in range(3)]
    assert facts["over"] == 37


def test_without_a_limit_nothing_is_too_much(tmp_path: Path) -> None:
    """Who only wants to know what a dataset costs is told."""
    dataset = _dataset(tmp_path, {TRAIN: 4, TEST: 2})
    rows = {TRAIN: _rows(0, 1, 4 * 7, 4 * 8), TEST: _rows(4 * 1000, 4 * 1024)}
    problems, facts = budget_of(dataset, _options(), rows, {TEST: _media(_image(0))})
    assert problems == []
    assert facts["family"] == "qwen2.5-vl"
    assert facts["allowed"] is None
    assert facts["rows"] == 6
    assert facts["mean"] == round((0 + 1 + 7 + 8 + 1000 + VGA + 1024) / 6, 1)
    assert facts["histogram"] == [
        {"from": 0, "to": 0, "rows": 1},
        {"from": 1, "to": 1, "rows": 1},
        {"from": 4, "to": 7, "rows": 1},
        {"from": 8, "to": 15, "rows": 1},
        {"from": 1024, "to": 2047, "rows": 2},
    ]
    train = {"rows": 4, "looked_at": 4, "tokens": 16, "vision_tokens": 0, "text_tokens": 16, "estimated": False}
    assert facts["splits"]["main/train"] == train
    assert facts["splits"]["main/test"]["tokens"] == 2024 + VGA
    assert json.loads(json.dumps(facts)) == facts


def test_an_epoch_of_a_sample_is_estimated(tmp_path: Path) -> None:
    """What was not looked at is taken to be like the rest, and that is said."""
    dataset = _dataset(tmp_path, {TRAIN: 10, TEST: 3})
    _, facts = budget_of(dataset, _options(), {TRAIN: _rows(40, 80, start=4)}, {TRAIN: _media(_image(4), _image(5))})
    train = {"rows": 10, "looked_at": 2, "tokens": 10 * VGA + 150, "vision_tokens": 10 * VGA, "text_tokens": 150}
    assert facts["splits"]["main/train"] == train | {"estimated": True}
    none = {"rows": 3, "looked_at": 0, "tokens": 0, "vision_tokens": 0, "text_tokens": 0, "estimated": True}
    assert facts["splits"]["main/test"] == none


def test_what_the_processor_refuses(tmp_path: Path) -> None:
    """Media on which the processor fails are told, whatever is allowed; each row once."""
    dataset = _dataset(tmp_path, {TRAIN: 3})
    media = _media(_image(0), _image(1, 8010, 40), _image(1, 1, 900), _video(2, frames=1))
    problems, facts = budget_of(dataset, _options(), {TRAIN: _rows(4, 4, 4)}, {TRAIN: media})
    sides = "one side is 200.25 times the other, and 200 times is the most"
    pairs = "frames are sampled 2 by 2, and it has 1"
    assert _told(problems) == [
        (TRAIN, 1, f"qwen2.5-vl refuses the image of 8,010 x 40 pixels in 'images': {sides}"),
        (TRAIN, 2, f"qwen2.5-vl refuses the video of 640 x 272 pixels in 'video': {pairs}"),
    ]
    assert (facts["over"], facts["refused"], facts["unmeasured"], facts["mean"]) == (0, 2, 0, VGA + 1.0)


def test_refused_rows_are_counted_beyond_those_told(tmp_path: Path) -> None:
    """Many refused rows are counted, and the first told."""
    dataset = _dataset(tmp_path, {TRAIN: 25})
    media = _media(*(_image(row, 500, 1) for row in range(25)))
    problems, facts = budget_of(dataset, _options(), {TRAIN: _rows(*[4] * 25)}, {TRAIN: media})
    assert [problem.row for problem in problems] == list(range(10))
    assert (facts["refused"], facts["unmeasured"], facts["mean"], facts["largest"]) == (25, 0, None, None)


def test_what_nobody_measured_is_counted_apart(tmp_path: Path) -> None:
    """A row with a medium of unknown size has no price; neither is it a problem."""
    dataset = _dataset(tmp_path, {TRAIN: 6})
    media = _media(
        _image(0, None, None),
        _video(1, frames=None, fps=None),
        _video(2, frames=None, duration=10.0),
        (3, 99, {"width": 5, "height": 5}),
        (4, None, {"width": 5, "height": 5}),
        _image(77),
    )
    problems, facts = budget_of(dataset, _options(1), {TRAIN: _rows(4, 4, 0, 4, 4, None)}, {TRAIN: media})
    assert [problem.row for problem in problems] == [2]
    assert (facts["rows"], facts["unmeasured"], facts["over"]) == (6, 4, 1)
    assert facts["splits"]["main/train"]["estimated"]


def test_rows_in_any_order(tmp_path: Path) -> None:
    """Media find their rows, however both tables are ordered."""
    dataset = _dataset(tmp_path, {TRAIN: 3})
    rows = pa.Table.from_pylist([{"row": row, "characters": 0} for row in (2, 0, 1)], ROW_FACTS)
    media = _media(_image(1), _image(2), _image(2), _image(0))
    _, facts = budget_of(dataset, _options(), {TRAIN: rows}, {TRAIN: media})
    assert facts["largest"]["row"] == 2
    assert facts["largest"]["tokens"] == 2 * VGA
    assert facts["splits"]["main/train"]["tokens"] == 4 * VGA


def test_a_shard_of_two_splits_and_one_of_none(tmp_path: Path) -> None:
    """A shard counts for each split that names it, is told once, and one that no split names is told, too."""
    dataset = _dataset(tmp_path, {TRAIN: 1, "extra.parquet": 1})
    dataset.splits[1].files.append(TRAIN)
    rows = {"extra.parquet": _rows(800), TRAIN: _rows(400)}
    problems, facts = budget_of(dataset, _options(50), rows, {})
    assert [(problem.file, problem.split) for problem in problems] == [(TRAIN, "train"), ("extra.parquet", "")]
    assert facts["rows"] == 2
    assert [split["tokens"] for split in facts["splits"].values()] == [100, 100]


@pytest.mark.parametrize(("language", "tokens"), [(["ja"], 12), (["en"], 3), (None, 3), ({"en": [1]}, 3), ([False], 3)])
def test_text_is_estimated_by_the_languages_of_the_card(tmp_path: Path, language: Any, tokens: int) -> None:
    """Twelve characters are twelve tokens where the card names only languages that write densely, else three."""
    dataset = _dataset(tmp_path, {TRAIN: 1}, language=language)
    _, facts = budget_of(dataset, _options(), {TRAIN: _rows(12)}, {})
    assert facts["largest"]["tokens"] == tokens
    assert facts["characters_per_text_token"] == 12 // tokens


@pytest.mark.parametrize("family", ["smolvlm2", "smolvlm2-2.2b", "qwen2-vl", "qwen2.5-vl", "qwen3-vl", "internvl"])
def test_a_dataset_without_rows(tmp_path: Path, family: str) -> None:
    """Nothing costs nothing."""
    dataset = _dataset(tmp_path, {TRAIN: 1})
    problems, facts = budget_of(dataset, _options(1, family), {TRAIN: _rows()}, {TRAIN: _media(_image(0))})
    assert problems == []
    assert (facts["rows"], facts["mean"], facts["largest"], facts["histogram"]) == (0, None, None, [])
