"""TRL, data-juicer, WebDataset, folders and CSV: what each writes, loses by name, and finds wrong afterwards."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.exports import trl
from pipeline.exports.export import export
from pipeline.exports.registry import format_named
from pipeline.exports.webdataset import WebDataset
from pipeline.report import Quiet
from tests.exports.canonical_rows import MEDIA
from tests.exports.small_datasets import IMAGES, records, talks, write_split
from tests.project import png, tree

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.format_folder import Exported
    from pipeline.exports.writer import Format

NAMES = ("trl", "data-juicer", "webdataset", "folder", "csv")
CLIP = (MEDIA / "fixture.mov").read_bytes()
PICTURES = [png(number, (9, 6)) for number in range(4)]
LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
NUMBER = {"dtype": "int64", "_type": "Value"}


def talking(folder: Path, **extras: Any) -> Path:
    """Write four rows of an image, a question and an answer each."""
    rows = [[("user", f"<image>Question {number}?"), ("assistant", f"Answer {number}.")] for number in range(4)]
    told = {**IMAGES, "messages": {}, **{name: {} for name in extras}}
    write_split(folder, talks(rows, {"images": [[picture] for picture in PICTURES]}, **extras), told)
    return folder


def exported(folder: Path, *formats: Format, out: Path | None = None) -> dict[str, Exported]:
    """Export a dataset."""
    done = export(folder, list(formats), out=out or folder.parent / "out", display=Quiet())
    return {one.format.name: one for one in done}


def losses(done: Exported) -> dict[str, list[str]]:
    """Return code -> sentences."""
    found: dict[str, list[str]] = {}
    for loss in done.losses.found:
        found.setdefault(loss.code, []).append(loss.sentence)
    return found


def written(done: Exported) -> list[dict[str, Any]]:
    """Return the records of the only file of an export, as plainly as can be."""
    path = done.folder / done.written[0].files[0]
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            return [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]  # type: ignore[arg-type]
    return records(path)


def test_other_columns_stay_or_are_named(tmp_path: Path) -> None:
    """Columns go along, but for those that a format reads itself and values that it cannot hold."""
    extras: dict[str, Any] = {
        "prompt": ["a", "b", "c", None],
        "score": [0.5, float("nan"), None, 2.0],
        "day": pa.array([1, 2, 3, 4], pa.date32()),
        "x_file_name": ["a", "b", "c", "d"],
        "text": ["t", "", None, "="],
        "raw": [b"1", None, None, None],
        "nested": [{"a": [1, 2], "b": None}, None, {"a": [], "b": "x"}, None],
    }
    done = exported(talking(tmp_path / "talk", **extras), *map(format_named, NAMES))
    column = "values of the column '{}': {} has a column of that name itself"
    not_json = "values of the column '{}' that JSON cannot hold: bytes, and numbers that are none"
    assert losses(done["trl"]) == {"export.column_name": [column.format("prompt", "TRL")]}
    assert losses(done["data-juicer"]) == {
        "export.column_name": [column.format("text", "data-juicer")],
        "export.not_json": [not_json.format("raw"), not_json.format("score")],
    }
    assert losses(done["folder"])["export.column_name"] == [column.format("x_file_name", "the metadata")]
    assert losses(done["csv"])["export.empty_text"] == [
        "empty texts in the column 'text', which cannot be told from nulls"
    ]
    first = {name: written(one)[0] for name, one in done.items()}
    assert first["trl"]["nested"] == {"a": [1, 2], "b": None}
    assert (first["trl"]["day"], first["trl"]["raw"]) == ("1970-01-02", b"1")
    assert (first["webdataset"]["day"], first["webdataset"]["prompt"]) == ("1970-01-02", "a")
    assert first["folder"]["nested"] == {"a": [1, 2], "b": None}
    assert (first["csv"]["nested"], first["csv"]["score"], first["csv"]["day"]) == (
        '{"a":[1,2],"b":null}',
        "0.5",
        "1970-01-02",
    )
    assert [row["text"] for row in written(done["csv"])] == ["t", "", "", "="]


def test_media_that_no_turn_shows(tmp_path: Path) -> None:
    """A column of media beside the conversation goes where formats have a place for it, and is named elsewhere."""
    folder = tmp_path / "talk"
    rows = [[("user", "<image>What?"), ("assistant", "That.")]]
    table = talks(rows, {"images": [[PICTURES[0]]]}, mask=[{"bytes": PICTURES[1], "path": "mask.png"}])
    write_split(folder, table, {**IMAGES, "messages": {}, "mask": {"_type": "Image"}})
    conversation = {
        "column": "messages",
        "role_key": "role",
        "text_key": "content",
        "roles": {"user": "user", "assistant": "assistant"},
        "tokens": {"<image>": "images"},
    }
    formats = [format_named(name) for name in NAMES]
    done = export(folder, formats, out=tmp_path / "out", conversation=conversation, display=Quiet())
    for one in done:
        (row,) = written(one)
        if one.format.name in ("trl", "data-juicer"):
            assert losses(one) == {
                "export.loose_media": ["media of the column 'mask', which no turn of the conversation shows"]
            }
            assert "mask" not in row
            continue
        assert losses(one) == {}
        if one.format.name == "webdataset":
            with tarfile.open(one.folder / one.written[0].files[0]) as tar:
                data = tar.extractfile(row["mask"])
                assert data is not None
                assert data.read() == PICTURES[1]
            continue
        beside = (one.folder / one.written[0].files[0]).parent
        assert (beside / row["mask_file_name" if one.format.name == "folder" else "mask"]).read_bytes() == PICTURES[1]


def test_rows_without_a_conversation(tmp_path: Path) -> None:
    """A table of pictures and labels becomes what each loader calls such a thing: `file_name`, a member, a path."""
    folder = tmp_path / "table"
    table = pa.table(
        {
            "image": [{"bytes": data, "path": f"cat {number}.png"} for number, data in enumerate(PICTURES[:2])],
            "kind": [0, 1],
            "caption": ["A cat.", "A dog."],
        }
    )
    write_split(folder, table, {"image": {"_type": "Image"}, "kind": LABEL})
    done = exported(folder, *(format_named(name) for name in ("webdataset", "folder", "csv")))
    rows = {name: written(one) for name, one in done.items()}
    for number, data in enumerate(PICTURES[:2]):
        values = {"kind": ("cat", "dog")[number], "caption": ("A cat.", "A dog.")[number]}
        place = rows["folder"][number].pop("file_name")
        assert place.startswith(f"cat {number}-")
        assert (done["folder"].folder / "images" / "default" / "train" / place).read_bytes() == data
        assert (done["csv"].folder / rows["csv"][number].pop("image")).read_bytes() == data
        assert rows["webdataset"][number].pop("image") == f"00000000{number}.png"
        assert all(one[number] == values for one in rows.values())
    with tarfile.open(done["webdataset"].folder / "train-000000.tar") as tar:
        assert tar.getnames() == [f"00000000{n}.{field}" for n in (0, 1) for field in ("png", "json", "txt")]
        captions = [tar.extractfile(f"00000000{number}.txt") for number in (0, 1)]
        assert [file and file.read() for file in captions] == [b"A cat.", b"A dog."]


def test_archives_are_full_and_always_the_same(tmp_path: Path) -> None:
    """Archives are cut at a size, keys go on over them, and the same dataset gives the same bytes."""
    folder = talking(tmp_path / "talk")
    size = 2 * max(map(len, PICTURES)) + 1_000
    trees = []
    for number in (1, 2):
        done = exported(folder, WebDataset(shard_bytes=size), out=tmp_path / f"out{number}")["webdataset"]
        assert done.written[0].files == tuple(f"train-00000{number}.tar" for number in range(2))
        keys = []
        for file in done.written[0].files:
            with tarfile.open(done.folder / file) as tar:
                keys += [name.partition(".")[0] for name in tar.getnames() if name.endswith(".json")]
                assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar} == {(0, 0, 0, "", 0o644)}
        assert keys == [f"00000000{key}" for key in range(4)]
        trees.append(tree(done.folder))
    assert trees[0] == trees[1]


def test_parquet_is_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are cut at a size and named by how many there are."""
    monkeypatch.setattr(trl, "GROUP_BYTES", 1)
    monkeypatch.setattr(trl, "SHARD_BYTES", len(PICTURES[0]) + len(PICTURES[1]) + 1)
    done = exported(talking(tmp_path / "talk"), format_named("trl"))["trl"]
    assert done.written[0].files == tuple(f"train-0000{number}-of-00002.parquet" for number in range(2))
    rows = [row for file in done.written[0].files for row in pq.read_table(done.folder / file).to_pylist()]
    assert [row["images"][0]["bytes"] for row in rows] == PICTURES
    assert not list(done.folder.glob("*unfinished*"))


def test_a_table_stays_readable_to_people(tmp_path: Path) -> None:
    """One question and its answer are cells, a lone image is a path, and what has commas, quotes or lines is quoted."""
    folder = tmp_path / "talk"
    image = [{"bytes": PICTURES[0], "path": "a.png"}]
    rows = [[{"role": "user", "content": '<image>"What", now?\nSay.'}, {"role": "assistant", "content": "=SUM(A1)"}]]
    write_split(folder, pa.table({"messages": rows, "image": image}), {"messages": {}, "image": {"_type": "Image"}})
    done = exported(folder, format_named("csv"))["csv"]
    text = (done.folder / "train.csv").read_bytes().decode()
    path = next((done.folder / "media").rglob("*.png")).relative_to(done.folder).as_posix()
    assert text == f'image,question,answer\r\n{path},"""What"", now?\nSay.",=SUM(A1)\r\n'


def test_metadata_that_would_be_guessed_wrongly_are_parquet(tmp_path: Path) -> None:
    """JSON Lines stay where the loader guesses the types as meant; else all splits of the config are Parquet."""
    done = exported(talking(tmp_path / "talk", day=["x", "y", "z", "u"]), format_named("folder"))["folder"]
    assert done.written[0].files == ("images/default/train/metadata.jsonl",)
    folder = talking(tmp_path / "days", day=["2024-01-01"] * 4)
    done = exported(folder, format_named("folder"), out=tmp_path / "days_out")["folder"]
    assert done.written[0].files == ("images/default/train/metadata.parquet",)
    assert [row["day"] for row in written(done)] == ["2024-01-01"] * 4


def damaged(name: str, folder: Path, file: str) -> None:
    """Make a file of an export break the rule of its format."""
    path = folder / file
    if name == "trl":
        table = pq.read_table(path)
        images = pa.array([[]] * table.num_rows, table.schema.field("images").type)
        pq.write_table(
            table.set_column(table.schema.get_field_index("images"), table.schema.field("images"), images), path
        )
    elif name == "webdataset":
        with tarfile.open(path) as tar:
            members = [(member, tar.extractfile(member)) for member in tar]
            kept = [(member, data.read()) for member, data in members if data and not member.name.endswith("1.png")]
        with tarfile.open(path, "w") as tar:
            for member, data in kept:
                tar.addfile(member, io.BytesIO(data))
    else:
        next(one for one in sorted(folder.rglob("*.png"))).unlink()


SAID = {
    "trl": "train-00000-of-00001.parquet row 0: 1 parts of type image, but 0 images",
    "data-juicer": " is not there",
    "webdataset": "train-000000.tar: 000000001: the member '000000001.png' is not there",
    "folder": " is not there",
    "csv": " is not there",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_rule_is_proved_on_what_is_there(tmp_path: Path, name: str) -> None:
    """What was written passes; the same files, damaged, do not, and it is said where."""
    done = exported(talking(tmp_path / "talk"), format_named(name))[name]
    assert done.format.check(done.folder, list(done.written)) == []
    damaged(name, done.folder, done.written[0].files[0])
    problems = done.format.check(done.folder, list(done.written))
    assert len(problems) == (4 if name == "trl" else 1)
    assert SAID[name] in problems[0]
