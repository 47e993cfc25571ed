"""WebDataset shards: samples out of members, as records; media stay in their tar."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import SourceError
from pipeline.readers.read import read
from pipeline.readers.record import BadRecord, ReadOptions
from pipeline.sources.listing import write_listing
from pipeline.sources.webdataset import field_of, samples_listed, shard_patterns
from tests.project import Project, png, tree
from tests.sources.test_in_place import write_tar

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"key": "string", "png": "image", "txt": "string", "cls": "int64", "caption": "string"}


def sample(key: str, number: int) -> dict[str, bytes]:
    """Return the members of a sample."""
    told = {"caption": f"c {number}", "width": 8}
    return {
        f"{key}.png": png(number),
        f"{key}.json": json.dumps(told, indent=1).encode(),
        f"{key}.txt": f"text {number}\n".encode(),
        f"{key}.cls": b"3\n",
    }


def recipe(project: Project, files: str, columns: dict[str, Any] | None = None, **rows: Any) -> None:
    """Write a recipe that reads shards."""
    config = {
        "rows": {"files": files, "format": "webdataset", **rows},
        "splits": {"train": "rest"},
        "fields": {"key": "__key__"},
    }
    project.write({"configs": {"default": config}}, columns or COLUMNS)


def listed(members: dict[str, bytes], tmp_path: Path) -> tuple[int, list[dict[str, Any] | str]]:
    """Return how many members are in no sample, and the records, or what is wrong with those that are none."""
    lost, lines = samples_listed("a/s.tar", list(members), members.get)
    write_listing(tmp_path / "listing", lines)
    found: list[tuple[int, Any]] = []
    for part in read(tmp_path / "listing", ReadOptions(format="webdataset")):
        if isinstance(part, BadRecord):
            found.append((part.line, part.code))
        else:
            found += zip(part.lines, part.rows, strict=True)
    return lost, [value for _, value in sorted(found, key=lambda one: one[0])]


def test_names_are_cut_at_the_first_dot() -> None:
    """As the webdataset library cuts them."""
    assert field_of("0001.JPG") == ("0001", "jpg")
    assert field_of("a.b/0001.left.png") == ("a.b/0001", "left.png")
    assert [field_of(name) for name in ("README", ".hidden", "a/.x.jpg", "0001.")] == [None] * 4


def test_fields_by_their_endings(tmp_path: Path) -> None:
    """Texts, integers and JSON are values; all else is a path into the shard, and is never unpickled."""
    members = {
        "1.jpg": b"-",
        "1.json": b'{"a": 1,\r\n "b": {"c": "x\\ny"}}',
        "1.caption.txt": "é".encode(),
        "1.cls": b" 7\n",
        "1.meta.json": b"[1,\n2]",
        "1.pyd": b"\x80\x04.",
        "2.json": b" [3] ",
        "3.json": b"{ }",
    }
    lost, rows = listed({**members, "LICENSE": b"x"}, tmp_path)
    assert lost == 1
    assert rows == [
        {
            "__key__": "1",
            "jpg": "a/s.tar/1.jpg",
            "a": 1,
            "b": {"c": "x\ny"},
            "caption.txt": "é",
            "cls": 7,
            "meta.json": [1, 2],
            "pyd": "a/s.tar/1.pyd",
        },
        {"__key__": "2", "json": [3]},
        {"__key__": "3"},
    ]


@pytest.mark.parametrize(
    ("member", "data", "code"),
    [
        ("1.json", b'{"a": 1}, "jpg": "/etc/passwd", "b": {"c": 2}', "read.json"),
        ("1.json", b"{", "read.json"),
        ("1.json", b'{"a": 1, "a": 2}', "read.duplicate_key"),
        ("1.json", b'{"jpg": "other.tar/1.jpg"}', "read.duplicate_key"),
        ("1.json", b'{"__key__": "x"}', "read.duplicate_key"),
        ("1.txt", b"\xff", "read.encoding"),
        ("1.cls", b"seven", "read.integer"),
        ("1.cls", b"9" * 40, "read.integer"),
    ],
)
def test_a_bad_member_costs_its_sample(tmp_path: Path, member: str, data: bytes, code: str) -> None:
    """The samples around it are read."""
    members = {"0.jpg": b"", "1.jpg": b"", member: data, "2.jpg": b""}
    assert listed(members, tmp_path)[1] == [
        {"__key__": "0", "jpg": "a/s.tar/0.jpg"},
        code,
        {"__key__": "2", "jpg": "a/s.tar/2.jpg"},
    ]


def test_braces_stand_for_names() -> None:
    """As WebDataset writes its URLs; too many are refused."""
    assert shard_patterns(["a-{000008..000010}.tar", "b-{x,y}{1..2}", "c-*"]) == [
        *("a-000008.tar", "a-000009.tar", "a-000010.tar"),
        *("b-x1", "b-x2", "b-y1", "b-y2"),
        "c-*",
    ]
    with pytest.raises(SourceError, match="stands for more than 100,000 files"):
        shard_patterns(["a-{0..999999999999999}-{0..9999999}.tar"])


def test_shards_are_built(tmp_path: Path) -> None:
    """Samples of several shards, one of them compressed, are rows; what is unchanged is not read again."""
    project = Project(tmp_path)
    (project.source / "shards").mkdir()
    write_tar(project.source / "shards/t-000000.tar", {**sample("a", 1), **sample("sub/b", 2), "README": b"x"})
    plain = write_tar(tmp_path / "packed.tar", {**sample("c", 3), **sample("d", 4)}).read_bytes()
    (project.source / "shards/t-000001.tar").write_bytes(gzip.compress(plain, mtime=0))
    recipe(project, "shards/t-{000000..000001}.tar")
    report = project.build()
    assert project.rejected() == []
    rows = project.split("train").to_pylist()
    assert [(row["key"], row["txt"], row["cls"], row["caption"]) for row in rows] == [
        ("a", "text 1\n", 3, "c 1"),
        ("sub/b", "text 2\n", 3, "c 2"),
        ("c", "text 3\n", 3, "c 3"),
        ("d", "text 4\n", 3, "c 4"),
    ]
    assert [row["png"]["bytes"] for row in rows] == [png(number) for number in (1, 2, 3, 4)]
    notes = [note for stage in report.stages for note in stage.notes]
    assert notes == [
        "1 members of shards have no ending, so they belong to no sample",
        "default: not in the schema, so not published: width",
    ]
    # nothing of the plain tar was unpacked
    assert {name.rpartition("/")[2] for name in tree(project.work / "sources")} == {
        f"{key}.{field}" for key in "cd" for field in ("png", "json", "txt", "cls")
    }
    assert all(stage.skipped for stage in project.build().stages)
    before = tree(project.out)
    for folder in ("sources", "listings"):
        for path in sorted((project.work / folder).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    project.build()
    assert tree(project.out) == before


def test_one_shard_may_be_the_source(tmp_path: Path) -> None:
    """A path that is a tar is read as a shard where the rows say so; a shard that changed is read anew."""
    project = Project(tmp_path)
    write_tar(project.source / "t.tar", sample("a", 1))
    recipe(project, "t.tar")
    text = project.recipe_path.read_text().replace("path: ../source", "path: ../source/t.tar")
    project.recipe_path.write_text(text)
    project.build()
    assert [row["key"] for row in project.split("train").to_pylist()] == ["a"]
    write_tar(project.source / "t.tar", {**sample("a", 1), **sample("b", 2)})
    project.build()
    assert [row["key"] for row in project.split("train").to_pylist()] == ["a", "b"]
    assert len(list((project.work / "listings").iterdir())) == 1
    assert len(list((project.work / "members").iterdir())) == 1


def test_rejects_say_shard_and_sample(tmp_path: Path) -> None:
    """A reject's file is the shard, and its line the number of the sample in it; other shards' media are found too."""
    project = Project(tmp_path)
    write_tar(project.source / "a.tar", {**sample("1", 1), "2.cls": b"x", **sample("3", 3), "3.png": b"no picture"})
    write_tar(project.source / "b.tar", {"9.json": b'{"png": "a.tar/1.png"}', "8.json": b'{"png": "a.tar/2.png"}'})
    columns = {"key": "string", "png": "image"}
    recipe(project, "*.tar", columns)
    project.build()
    assert project.reasons() == [
        ("a.tar", 2, "read.integer"),
        ("a.tar", 3, "media.kind"),
        ("b.tar", 2, "media.missing"),
    ]
    assert [row["key"] for row in project.split("train").to_pylist()] == ["1", "9"]


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a\\b.jpg"])
def test_hostile_shards_are_refused(tmp_path: Path, name: str) -> None:
    """Every check of archives holds for shards."""
    project = Project(tmp_path)
    write_tar(project.source / "t.tar", {**sample("a", 1), name: b"x"})
    recipe(project, "t.tar")
    with pytest.raises(SourceError, match=r"archive 't\.tar': member"):
        project.build()
    assert tree(project.work / "sources") == {}


def test_messages_in_a_sample(tmp_path: Path) -> None:
    """A sample whose JSON holds messages is read in a dialect; its media are named by `record.file`."""
    project = Project(tmp_path)
    parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": "A dog."}]
    told = {"messages": turns, "images": ["1.png"]}
    write_tar(project.source / "t.tar", {"1.png": png(1), "1.json": json.dumps(told).encode()})
    columns = {
        "messages": {"list": {"struct": {"role": "string", "content": "string"}}},
        "images": {"list": "image"},
    }
    config = {
        "rows": {"files": "t.tar", "format": "webdataset", "dialect": "trl"},
        "splits": {"train": "rest"},
        "media": {"images": {"path": "{{ record.file }}/{{ item }}"}},
    }
    project.write({"configs": {"default": config}}, columns)
    project.build()
    (row,) = project.split("train").to_pylist()
    assert row["messages"][0] == {"role": "user", "content": "<image>What?"}
    assert [image["bytes"] for image in row["images"]] == [png(1)]
