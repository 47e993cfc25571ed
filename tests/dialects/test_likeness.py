"""How dialects are told apart: by what only one of them writes, and with doubts where two write the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.dialects.registry import DIALECTS
from tests.dialects.examples import EXAMPLES, spoken

DATA = Path(__file__).parents[1] / "data"


def records_of(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON, JSON Lines or CSV file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    found: list[dict[str, Any]] = json.loads(text)
    return found


def ranked(records: list[dict[str, Any]]) -> list[str]:
    """Return the dialects that records fit, the best first."""
    scores = {name: one.likeness(records).score for name, one in DIALECTS.items()}
    return sorted((name for name in scores if scores[name]), key=lambda name: -scores[name])


OFTENER = {
    "llava, image empty, and a list": "qwen-vl",
    "llama-factory, roles, audio": "ms-swift",
}
"""Examples that fit another dialect better."""
REAL = {
    "annotations/ms_swift/alpaca.jsonl": "alpaca",
    "annotations/ms_swift/alpaca.csv": "alpaca",
    "annotations/ms_swift/alpaca2.csv": "alpaca",
    "annotations/ms_swift/chatml.jsonl": "ms-swift",
    "annotations/ms_swift/multi_modal_1.jsonl": "ms-swift",
    "annotations/ms_swift/multi_modal_2.jsonl": "ms-swift",
    "annotations/ms_swift/sharegpt.jsonl": "ms-swift",
    "datasets/datajuicer/source/demos/data/demo-dataset-images.jsonl": "data-juicer",
    "datasets/datajuicer/source/demos/data/demo-dataset-videos.jsonl": "data-juicer",
    "datasets/llamafactory/source/v1_multimodal_demo.jsonl": "llama-factory",
    "datasets/llamafactory/source/mllm_demo.json": "ms-swift",
    "datasets/qwenvl/source/single_images.json": "qwen-vl",
}


@pytest.mark.parametrize(("name", "best"), REAL.items())
def test_real_files_are_told(name: str, best: str) -> None:
    """The files of the projects themselves: LLaMA-Factory's own messages are written as ms-swift's, which is said."""
    records = records_of(DATA / name)
    found = ranked(records)
    assert found[0] == best
    if best == "ms-swift" and "llamafactory" in name:
        assert found[1] == "llama-factory"
        assert any("LLaMA-Factory writes" in doubt for doubt in DIALECTS[best].likeness(records).doubts)
        rows = [DIALECTS[other].read(record) for other in found[:2] for record in records]
        assert rows[: len(records)] == rows[len(records) :]


@pytest.mark.parametrize("name", ["fetv/source/fetv_data.json", "videofeedback/source/example.jsonl"])
def test_what_is_no_conversation_fits_nothing(name: str) -> None:
    """Rows with columns of their own are of no dialect."""
    records = records_of(DATA / "datasets" / name) if name.endswith(".jsonl") else [{"video_id": "1", "prompt": "a"}]
    assert ranked(records) == []


def test_examples_are_told() -> None:
    """Examples fit their own dialect best, but for those that another one writes more often."""
    best = {name: ranked([example.record])[0] for name, example in EXAMPLES.items()}
    assert {name: found for name, found in best.items() if found != EXAMPLES[name].dialect} == OFTENER


def test_one_image_a_row_is_a_doubt() -> None:
    """LLaVA and Qwen-VL write the same rows, are read to the same, and say so."""
    records = [{"id": "1", "image": "a.jpg", "conversations": spoken("<image>\nWhat?")}]
    assert ranked(records)[:2] == ["llava", "qwen-vl"]
    assert DIALECTS["llava"].likeness(records).doubts == (
        "Qwen-VL writes one image a row like LLaVA; both are read to the same rows.",
    )
    assert DIALECTS["llava"].read(records[0]) == DIALECTS["qwen-vl"].read(records[0])


def test_records_that_do_not_fit_are_doubts() -> None:
    """A share that is rejected or different lowers the score, and its first record is named with its reason."""
    good = {"id": "1", "image": "a.jpg", "conversations": spoken("<image>\nWhat?")}
    found = DIALECTS["llava"].likeness([good, good | {"image": None}, {"text": "x"}, good])
    assert 0.4 < found.score < 0.5
    assert found.doubts[:2] == (
        "1 of 4 records look different, the first of them is record 3.",
        (
            "1 of 4 records do not fit; record 2: 1 times '<image>' in the texts, but the record names 0 images; each "
            "stands for one."
        ),
    )
    assert DIALECTS["llava"].likeness([]).score == 0
