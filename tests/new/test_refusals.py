"""Files that `new` has never seen the like of: it asks or refuses, and writes nothing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import RecipeError, ShardwrightError, UsageError
from tests.new.asking import ask
from tests.project import png

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COCO = {
    "info": {"year": 2017},
    "images": [{"id": 1, "file_name": "1.jpg", "height": 4, "width": 4}, {"id": 2, "file_name": "2.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 1, "bbox": [0, 0, 2, 2], "category_id": 1},
        {"id": 2, "image_id": 2, "bbox": [0, 0, 2, 2], "category_id": 1},
    ],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
}
VQA = {
    "task_type": "Open-Ended",
    "questions": [
        {"image_id": 458752, "question": "What is this photo taken looking through?", "question_id": 458752000},
        {"image_id": 458752, "question": "What position is this man playing?", "question_id": 458752001},
    ],
}
SQUAD = {
    "version": "v2.0",
    "data": [
        {"title": "A", "paragraphs": [{"qas": [{"question": "In?", "id": "5", "answers": []}], "context": "Text."}]},
        {"title": "B", "paragraphs": []},
    ],
}
PACKAGE = {"name": "left-pad", "version": "1.0.0", "scripts": {"test": "node test"}, "dependencies": {"a": "^1.0"}}
GEO = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1.0, 2.0]}, "properties": {"name": "x"}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1.0, 2.0]}, "properties": {"name": "y"}},
    ],
}
LOGS = "time,level,path,status\n2024-01-01T00:00:00,INFO,/index.html,200\n2024-01-01T00:00:01,WARN,/a.css,404\n"
AUDIO = '{"audio_filepath": "wavs/1.wav", "duration": 1.5, "text": "hello"}\n' * 3


def numbers(path: Path) -> None:
    """Write a Parquet file of numbers."""
    pq.write_table(pa.table({"x": [1.0, 2.0], "y": [3, 4]}), path)


def written(value: Any) -> Callable[[Path], object]:
    """Return what writes text, bytes, or JSON."""
    if isinstance(value, bytes):
        return lambda path: path.write_bytes(value)
    return lambda path: path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


STRANGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "COCO": ("instances.json", written(COCO), "lists of records under 'images', 'annotations', 'categories'"),
    "VQA v2": ("questions.json", written(VQA), "lists of records under 'questions'"),
    "SQuAD": ("squad.json", written(SQUAD), "lists of records under 'data'"),
    "a package": ("package.json", written(PACKAGE), "its records have 'name', 'version', 'scripts', 'dependencies'"),
    "GeoJSON": ("places.json", written(GEO), "lists of records under 'features'"),
    "logs": ("access.csv", written(LOGS), "its records have 'time', 'level', 'path', 'status'"),
    "numbers": ("x.parquet", numbers, "its records have 'x', 'y'"),
    "sounds": ("manifest.jsonl", written(AUDIO), "'audio_filepath' names sounds"),
    "nothing": ("empty.json", written(b""), "empty.json"),
    "junk": ("junk.json", written(hashlib.shake_256(b"junk").digest(4_000)), "junk.json"),
    "a page": ("page.html", written("<html></html>"), "page.html"),
    "an answer to every question": (
        "q.jsonl",
        written('{"question": "a?", "answers": ["b"]}\n' * 3),
        "is like nothing",
    ),
}


@pytest.mark.parametrize("name", sorted(STRANGE))
@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
def test_it_refuses(tmp_path: Path, name: str, as_folder: bool) -> None:
    """What is no dialect, and no table with media, is not guessed at; exit code 2, and what there is."""
    file, write, said = STRANGE[name]
    source = tmp_path / "source"
    source.mkdir()
    write(source / file)
    with pytest.raises(UsageError) as error:
        ask(source if as_folder else source / file, tmp_path / "mine")
    assert error.value.exit_code == 2
    if not (as_folder and name == "a page"):
        assert said in str(error.value)
    assert not (tmp_path / "mine" / "recipes").exists()


def test_as_it_is(tmp_path: Path) -> None:
    """What is refused can be taken with its columns as they are, if that is said."""
    path = tmp_path / "logs.csv"
    path.write_text(LOGS, encoding="utf-8")
    asked = ask(path, tmp_path, dialect="table")
    assert asked.schema["columns"] == {"time": "string", "level": "string", "path": "string", "status": "int64"}
    assert "conversation" not in asked.schema
    asked.build()
    assert [row["status"] for row in asked.rows()] == [200, 404]


def test_media_that_are_nowhere(tmp_path: Path) -> None:
    """Most of the media missing is a question, and --media answers it, also with paths of another machine."""
    for name in ("images", "elsewhere/pictures"):
        (tmp_path / "data" / name).mkdir(parents=True)
    rows = [{"image": f"/home-of-x/data/{n}.png", "caption": f"a picture {n}"} for n in range(4)]
    path = tmp_path / "data" / "pairs.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(UsageError, match="4 are not found, such as") as error:
        ask(path, tmp_path)
    assert "--media" in error.value.hint
    far = tmp_path / "far" / "pictures"
    far.mkdir(parents=True)
    for n in range(4):
        (far / f"{n}.png").write_bytes(png(n))
    asked = ask(path, tmp_path, media=far.parent)
    spec = asked.recipe["configs"]["default"]["media"]["image"]
    assert spec == {"source": "media", "path": "{{ item.removeprefix('/home-of-x/data/') }}"}
    assert asked.recipe["sources"]["media"] == {"path": "../far/pictures"}
    assert asked.build().reasons == {}
    assert len(asked.rows()) == 4


def test_some_media_that_are_missing(tmp_path: Path) -> None:
    """A few missing media are told with examples, and the recipe lets so many rows go, not more."""
    rows = [{"image": f"{n}.png", "caption": f"a picture {n}"} for n in range(10)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for n in range(8):
        (tmp_path / f"{n}.png").write_bytes(png(n))
    asked = ask(tmp_path / "pairs.jsonl", tmp_path)
    assert "8 of 10 files found" in asked.said
    assert "missing: 8.png, 9.png" in " ".join(asked.said.split())
    assert asked.recipe["rejects"] == {"max_share": 0.21}
    assert asked.build().reasons == {"media.missing": 2}


def test_media_on_two_sides(tmp_path: Path) -> None:
    """Pictures that two splits name are told, and the rows that the build will leave out are allowed for."""
    (tmp_path / "set").mkdir()
    for n in range(6):
        (tmp_path / "set" / f"{n}.png").write_bytes(png(n))
    for split, numbers_ in (("train", range(6)), ("test", range(4, 6))):
        rows = [{"image": f"{n}.png", "caption": f"a picture {n}"} for n in numbers_]
        (tmp_path / "set" / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    asked = ask(tmp_path / "set", tmp_path)
    assert "2 files of 'image' are named in more than one split" in " ".join(asked.said.split())
    assert asked.build().reasons == {"split.leak": 2}
    assert (len(asked.rows()), len(asked.rows(split="test"))) == (4, 2)


def test_two_readings_are_a_question(tmp_path: Path) -> None:
    """Records that two dialects read to other rows are not decided by chance."""
    rows = [{"query": "What?", "response": "A dog.", "instruction": "Say more.", "input": "", "output": "x"}] * 3
    path = tmp_path / "both.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(UsageError) as error:
        ask(path, tmp_path)
    assert error.value.exit_code == 2
    assert "can be read in" in error.value.what
    assert {"--dialect ms-swift", "--dialect alpaca"} <= set(error.value.allowed.split(" or "))
    assert "dialect: alpaca" in str(ask(path, tmp_path, dialect="alpaca").recipe).replace("'", "")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
LEAVES |= st.sampled_from(["a.png", "../a.png", "/etc/hosts", "<image>", "\x1b[2J", "https://u:p@x/y.mp4?token=1"])
KEYS = st.sampled_from(
    ["image", "images", "video", "text", "messages", "conversations", "query", "response", "__key__"]
)
KEYS |= st.sampled_from(["instruction", "output", "split", "`", "{{a}}", " ", "caption", "root", "file_name", "\x1b"])
TURNS = st.lists(st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "x"]), "value": LEAVES}), max_size=3)
VALUES = st.recursive(
    LEAVES | TURNS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
ROWS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=4)
CONTENTS = ROWS.map(json.dumps) | st.dictionaries(KEYS, VALUES, max_size=3).map(json.dumps)
CONTENTS |= ROWS.map(lambda rows: "\n".join(map(json.dumps, rows))) | st.text(max_size=60)


@given(
    content=CONTENTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60),
    name=st.sampled_from(["a.json", "train.jsonl", "b.csv", "c.parquet", "dataset_info.json", "d.tar", "\x1b.json"]),
    dialect=st.sampled_from([None, None, "table", "llava", "ms-swift"]),
    as_folder=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, dialect: str | None, as_folder: bool
) -> None:
    """Whatever stands in a file, there is a recipe that holds, or an error that says what to do."""
    folder = tmp_path_factory.mktemp("any")
    (folder / name).write_bytes(content)
    try:
        asked = ask(folder if as_folder else folder / name, folder / "mine", dialect=dialect)
    except RecipeError:
        raise  # it wrote something that does not hold
    except ShardwrightError:
        return
    assert "\x1b" not in asked.said


def test_depth_and_size_are_bounded(tmp_path: Path) -> None:
    """JSON of ten thousand brackets, a row of a megabyte, and two thousand keys end in words."""
    for number, text in enumerate(
        (
            "[" * 10_000 + "]" * 10_000,
            json.dumps([{"image": "x" * 1_000_000, "caption": "y"}] * 3),
            json.dumps([{f"key{n}": n for n in range(3_000)}] * 2),
        )
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError) as error:
            ask(path, tmp_path)
        assert len(str(error.value)) < 3_000
