"""Rows of finished datasets as canonical rows: wherever their media are, and whatever is wrong with them."""

from __future__ import annotations

import io
import tarfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.column_type import MEDIA_STRUCT
from pipeline.media.bounded import BoundedProcesses
from pipeline.rows.opened_split import dataset_in, open_split
from pipeline.rows.read_rows import RowReader, UnreadRow
from tests.exports.canonical_rows import MEDIA, plain
from tests.exports.small_datasets import IMAGES, VIDEOS, talks, write_split
from tests.project import png

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.rows.canonical import CanonicalRow

CAPTION = [{"user": [{"image": "image"}, "What?"]}, {"assistant": "{{ caption }}"}]
IMAGE = {"image": {"_type": "Image"}}
ASK = [("user", "<image>\nWhat?"), ("assistant", "A dog.")]


def reader(folder: Path, **options: Any) -> RowReader:
    """Open the only split of a dataset."""
    dataset = dataset_in(folder)
    with BoundedProcesses(1) as processes:
        return RowReader(open_split(dataset, dataset.splits[0], processes, **options))


def read(folder: Path, **options: Any) -> tuple[list[CanonicalRow], list[UnreadRow]]:
    """Return the rows of the only split, and those that cannot be read."""
    rows: list[CanonicalRow] = []
    unread: list[UnreadRow] = []
    for row in reader(folder, **options):
        unread.append(row) if isinstance(row, UnreadRow) else rows.append(row)
    return rows, unread


def hashed(data: bytes) -> str:
    """Return the sha256 of some bytes."""
    return sha256(data).hexdigest()


def test_embedded_media_and_other_columns(tmp_path: Path) -> None:
    """Turns with media by hash, the id, labels by their names, nested values, and media that no turn shows."""
    talk = [("system", "Be brief."), *ASK, ("user", "And?"), ("user", "<image>"), ("assistant", "")]
    table = talks(
        [talk, ASK],
        {"images": [[png(1), png(2)], [png(3)]]},
        kind=[1, None],
        more=[{"scores": [1.5, None]}, None],
        thumb=[{"bytes": png(9), "path": "thumb.png"}, None],
    )
    told = {
        **IMAGES,
        "messages": {},
        "kind": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "more": {"scores": {"_type": "List", "feature": {"dtype": "float64", "_type": "Value"}}},
        "thumb": {"_type": "Image"},
    }
    write_split(tmp_path, table, told, row_group_size=1)
    said = {"column": "messages", "role_key": "role", "text_key": "content", "tokens": {"<image>": "images"}}
    said["roles"] = {"system": "system", "user": "user", "assistant": "assistant"}
    rows, unread = read(tmp_path, conversation=said)
    assert not unread
    assert plain(rows[0]).turns == (
        ("system", ("Be brief.",)),
        ("user", (f"image:{hashed(png(1))}", "\nWhat?")),
        ("assistant", ("A dog.",)),
        ("user", ("And?",)),
        ("user", (f"image:{hashed(png(2))}",)),
        ("assistant", ()),
    )
    assert [(row.id, row.row) for row in rows] == [("r0", 0), ("r1", 1)]
    assert [row.extras for row in rows] == [
        {"kind": "dog", "more": {"scores": [1.5, None]}},
        {"kind": None, "more": None},
    ]
    assert [[medium.name for medium in row.loose] for row in rows] == [["thumb.png"], []]
    first = rows[0].images[0]
    assert (first.read(), first.size, first.ending, first.column) == (png(1), len(png(1)), ".png", "images")


def test_media_beside_shards_and_in_archives(tmp_path: Path) -> None:
    """Paths lead to files of the dataset and to members of its tars; kinds and endings are told by what they are."""
    clip = (MEDIA / "fixture.mov").read_bytes()
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(png(1))
    with tarfile.open(tmp_path / "media" / "clips.tar", "w") as tar:
        member = tarfile.TarInfo("one.mp4")
        member.size = len(clip)
        tar.addfile(member, io.BytesIO(clip))
    table = pa.table({"file": ["media/a.jpg", "media/clips.tar/one.mp4", "media/gone.png"], "note": ["x", "y", "z"]})
    write_split(tmp_path, table, {})
    rows, unread = read(tmp_path, insist=False)
    assert [(row.turns, row.extras, row.id) for row in rows] == [((), {"note": "x"}, ""), ((), {"note": "y"}, "")]
    (picture,), (video,) = rows[0].loose, rows[1].loose
    assert (picture.kind, picture.ending, picture.sha256, picture.read()) == ("image", ".png", hashed(png(1)), png(1))
    assert (video.kind, video.ending, video.sha256, video.read()) == ("video", ".mov", hashed(clip), clip)
    assert picture.location is not None
    assert [(row.row, row.code) for row in unread] == [(2, "media.missing")]
    assert "'media/gone.png' names no file of the dataset" in unread[0].message


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Placeholders that do not fit, strange roles, nulls, places of lists that hold nothing: each with its reason."""
    rows = [ASK, [*ASK, ("user", "<image>")], [("robot", "<image>")], ASK, [], ASK]
    table = talks(rows, {"images": [[png(number)] for number in range(len(rows))]})
    holes = table.column("images").to_pylist()
    holes[3] = [None]
    holes[4], holes[5] = [], [{"bytes": None, "path": "https://example.org/a.png"}]
    table = table.set_column(
        table.schema.get_field_index("images"), "images", pa.array(holes, table.schema.field("images").type)
    )
    write_split(tmp_path, table, {**IMAGES, "messages": {}})
    good, unread = read(tmp_path)
    assert [row.row for row in good] == [0]
    assert [(row.row, row.code) for row in unread] == [
        (1, "conversation.placeholders"),
        (2, "conversation.role"),
        (3, "media.null"),
        (4, "conversation.empty"),
        (5, "media.missing"),
    ]
    assert unread[4].message == "images[0]: the path 'https://example.org/a.png' is a URL"


def test_templates_and_columns_they_use(tmp_path: Path) -> None:
    """What a template says is no extra column; a null in it names the row; a medium may be missing."""
    media = pa.array([{"bytes": png(1), "path": None}, None, {"bytes": png(3), "path": None}], MEDIA_STRUCT)
    write_split(tmp_path, pa.table({"image": media, "caption": ["a", "b", None], "n": ["1", "2", "3"]}), IMAGE)
    rows, unread = read(tmp_path, conversation=CAPTION)
    assert [plain(row).turns[0][1][-1] for row in rows] == ["What?", "What?"]
    assert [len(row.images) for row in rows] == [1, 0]
    assert [row.extras for row in rows] == [{"n": "1"}, {"n": "2"}]
    assert [(row.row, row.code) for row in unread] == [(2, "template.null")]


def test_a_damaged_shard_names_its_rows(tmp_path: Path) -> None:
    """Where bytes of a row group are not what they were, its rows are named one by one; other row groups are read."""
    name = write_split(
        tmp_path,
        talks([ASK] * 4, {"images": [[png(number)] for number in range(4)]}),
        {**IMAGES, "messages": {}},
        row_group_size=2,
        compression="snappy",
    )
    opened = reader(tmp_path)
    before = (tmp_path / name).read_bytes()
    start = before.index(b"\x89PNG")
    (tmp_path / name).write_bytes(before[: start - 200] + b"\xff" * 150 + before[start - 50 :])
    rows = list(opened)
    assert [row.row for row in rows] == [0, 1, 2, 3]
    assert [row.code for row in rows if isinstance(row, UnreadRow)] == ["shard.damaged"] * 2
    assert [row.row for row in rows if not isinstance(row, UnreadRow)] == [2, 3]


def test_a_column_of_media_that_is_empty_so_far(tmp_path: Path) -> None:
    """A split without videos needs no word on where videos stand."""
    table = talks([ASK, ASK], {"images": [[png(1)], [png(2)]], "videos": [[], []]})
    write_split(tmp_path, table, IMAGES | VIDEOS)
    rows, unread = read(tmp_path)
    assert [len(row.images) for row in rows] == [1, 1]
    assert unread == []
