"""The formats that `datasets` loads, loaded by it: as people do, from the folder alone, with a clean cache, offline."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipeline.exports.export import export
from pipeline.exports.registry import format_named
from pipeline.report import Quiet
from tests.exports.canonical_rows import MEDIA
from tests.exports.small_datasets import IMAGES, VIDEOS, talks, write_split
from tests.project import png

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.exports.format_folder import Exported

LOADER = """
import hashlib, json, sys
import datasets

datasets.disable_progress_bars()

def told(value):
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        data = value["bytes"] if value["bytes"] is not None else open(value["path"], "rb").read()
        return hashlib.sha256(data).hexdigest()
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    return [told(item) for item in value] if isinstance(value, list) else value

for number, (what, options) in enumerate(json.load(sys.stdin)):
    try:
        loaded = datasets.load_dataset(what, **options, cache_dir=f"{sys.argv[1]}/{number}")
        found = {}
        for name, split in loaded.items():
            kinds = json.loads(json.dumps(split.features.to_dict()))
            found[name] = {"features": kinds, "rows": [told(row) for row in split.data.to_pylist()]}
        print(json.dumps(found), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
"""
CLIP = (MEDIA / "fixture.mov").read_bytes()
PICTURES = [png(number, (9, 6)) for number in range(3)]
ROWS: list[tuple[list[tuple[str, str]], list[bytes], list[bytes]]] = [
    ([("user", "<image>What?"), ("assistant", "2024-01-01")], [PICTURES[0]], []),
    ([("user", "<image> or <image>?"), ("assistant", "2024-01-02")], PICTURES[:2], []),
    ([("user", "Only words?"), ("assistant", '"Yes", it is.\n')], [], []),
    ([("user", "<video>When?"), ("assistant", "Now.")], [], [CLIP]),
    ([("user", "<image><video>Both?"), ("assistant", "Yes.")], [PICTURES[2]], [CLIP]),
    ([("user", "Only words again?"), ("assistant", "2024-01-03")], [], []),
]
SPLITS = {"train": ROWS[:5], "validation_of_words": ROWS[5:]}
CONVERSATION = {
    "column": "messages",
    "role_key": "role",
    "text_key": "content",
    "roles": {"user": "user", "assistant": "assistant"},
    "tokens": {"<image>": "images", "<video>": "videos"},
}


def sha256(data: bytes) -> str:
    """Return the hash of a medium."""
    return hashlib.sha256(data).hexdigest()


def dataset(folder: Path) -> Path:
    """Write a dataset of two splits, of which the second has no media and nothing but nulls in a column."""
    labels = {"kind": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "score": {"dtype": "int64", "_type": "Value"}}
    for split, rows in SPLITS.items():
        media = {"images": [images for _, images, _ in rows], "videos": [videos for _, _, videos in rows]}
        score = pa.array([None if split != "train" else number for number in range(len(rows))], pa.int64())
        extras = {
            "kind": [number % 2 for number in range(len(rows))],
            "score": score,
            "day": ["2024-05-01"] * len(rows),
        }
        table = talks([talk for talk, _, _ in rows], media, **extras)
        write_split(folder, table, {**IMAGES, **VIDEOS, **labels, "messages": {}}, split=split)
    return folder


def loads(scratch: Path, *asked: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what `datasets` loads: features, and rows with the hashes of their media."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    offline = {"HF_HOME": str(scratch / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", LOADER, str(scratch / "cache")]
    done = subprocess.run(
        command, input=json.dumps(asked), env=clean | offline, capture_output=True, text=True, check=True, timeout=120
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Export the dataset to the formats that `datasets` loads."""
    folder = dataset(tmp_path_factory.mktemp("loaded") / "talk")
    formats = [format_named(name) for name in ("trl", "webdataset", "folder", "csv")]
    done = export(folder, formats, out=folder.parent / "out", conversation=CONVERSATION, display=Quiet())
    return {one.format.name: one for one in done}


@pytest.fixture(scope="module")
def loaded(exported: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Load them all in one process, since to begin one takes seconds."""
    place = {name: done.folder for name, done in exported.items()}
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "trl": (str(place["trl"]), {}),
        "webdataset": (str(place["webdataset"]), {}),
        "images": (str(place["folder"] / "images"), {}),
        "videos": (str(place["folder"] / "videos"), {}),
        "imagefolder": ("imagefolder", {"data_dir": str(place["folder"] / "images" / "default" / "train")}),
        "videofolder": ("videofolder", {"data_dir": str(place["folder"] / "videos" / "default")}),
        "csv": ("csv", {"data_files": str(place["csv"] / "train.csv"), "keep_default_na": False}),
    }
    found = dict(zip(asked, loads(tmp_path_factory.mktemp("loads"), *asked.values()), strict=True))

    def one(name: str) -> dict[str, Any]:
        assert "error" not in found[name], found[name]
        return found[name]

    return one


def parts(content: list[dict[str, Any]]) -> str:
    """Return a content as a text with placeholders."""
    return "".join(part["text"] if part["type"] == "text" else f"<{part['type']}>" for part in content)


def said(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the messages of a row as they were written down."""
    return [(message["role"], parts(message["content"])) for message in row["messages"]]


def test_trl(exported: dict[str, Exported], loaded: Callable[[str], dict[str, Any]]) -> None:
    """Every split loads with typed messages and images; a row without images has an empty list; videos are left out."""
    found = loaded("trl")
    features = found["train"]["features"]
    assert features["images"] == {"feature": {"_type": "Image"}, "_type": "List"}
    rows = [row for split in SPLITS for row in found[split]["rows"]]
    expected = [(talk, images) for talk, images, videos in ROWS if not videos]
    assert [(said(row), row["images"]) for row in rows] == [(t, [*map(sha256, images)]) for t, images in expected]
    assert [row["kind"] for row in rows] == ["cat", "dog", "cat", "cat"]
    losses = {loss.code: [one.row for one in loss.examples] for loss in exported["trl"].losses.found}
    assert losses == {"export.video": [3, 4]}


def test_webdataset(loaded: Callable[[str], dict[str, Any]]) -> None:
    """Rows with different members load, because the README.md says which there are."""
    found = loaded("webdataset")
    train = found["train"]["rows"]
    assert [said(row["json"]) for row in train] == [talk for talk, _, _ in SPLITS["train"]]
    for row, (_, images, videos) in zip(train, SPLITS["train"], strict=True):
        for kind, media in (("images", images), ("videos", videos)):
            fields = [name.removeprefix(f"{row['__key__']}.") for name in row["json"][kind]]
            assert [row[field] for field in fields] == [*map(sha256, media)]
    assert [row["txt"] for row in train] == [talk[1][1] for talk, _, _ in SPLITS["train"]]
    assert found["validation_of_words"]["rows"][0]["json"]["day"] == "2024-05-01"


def test_image_folder(loaded: Callable[[str], dict[str, Any]]) -> None:
    """Rows without videos are an ImageFolder, one without pictures among them, and dates stay texts."""
    for found in (loaded("images"), loaded("imagefolder")):
        rows = found["train"]["rows"]
        assert [said(row) for row in rows] == [talk for talk, _, videos in SPLITS["train"] if not videos]
        assert [row["images"] for row in rows] == [[sha256(PICTURES[0])], [*map(sha256, PICTURES[:2])], []]
        assert [row["day"] for row in rows] == ["2024-05-01"] * 3
    words = loaded("images")["validation_of_words"]["rows"]
    assert [(said(row), row["images"], row["score"]) for row in words] == [(ROWS[5][0], [], None)]


def test_video_folder(exported: dict[str, Exported], loaded: Callable[[str], dict[str, Any]]) -> None:
    """Rows with videos are a VideoFolder; the pictures of a row with both are paths beside its metadata."""
    for found in (loaded("videos"), loaded("videofolder")):
        rows = found["train"]["rows"]
        assert [said(row) for row in rows] == [talk for talk, _, videos in SPLITS["train"] if videos]
        assert [row["videos"] for row in rows] == [[sha256(CLIP)], [sha256(CLIP)]]
        folder = exported["folder"].folder / "videos" / "default" / "train"
        paths = [[folder / path for path in row["images"]] for row in rows]
        assert [[path.read_bytes() for path in one] for one in paths] == [[], [PICTURES[2]]]


def test_csv(exported: dict[str, Exported], loaded: Callable[[str], dict[str, Any]]) -> None:
    """A question and its answer are cells; other rows have their messages as JSON; media are paths beside the table."""
    rows = loaded("csv")["train"]["rows"]
    for row, (talk, images, videos) in zip(rows, SPLITS["train"], strict=True):
        for kind, media in (("images", images), ("videos", videos)):
            paths = json.loads(row[kind] or "[]")
            assert [(exported["csv"].folder / path).read_bytes() for path in paths] == media
        if row["messages"]:
            assert said({"messages": json.loads(row["messages"])}) == talk
        else:
            tokens = "<image>" * len(images) + "<video>" * len(videos)
            assert [("user", tokens + row["question"]), ("assistant", row["answer"])] == talk
    assert [bool(row["messages"]) for row in rows] == [False, True, False, False, False]
    assert "system" not in rows[0]
