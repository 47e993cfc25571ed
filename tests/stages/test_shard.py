"""Shards hold exactly the rows of the plan, and are written again, or removed, exactly when they must be."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SourceError
from pipeline.media.reader import MediaReader
from pipeline.media.store import MediaStore
from pipeline.schema import load_schema
from pipeline.stages import shard
from pipeline.stages.write_shard import ShardPart, ShardTask, write_shard
from tests.project import MEDIA, png, tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

NULLABLE = {"type": "image", "nullable": True}


def recipe(shards: dict[str, Any] | None = None, files: Any = "*.jsonl", **config: Any) -> dict[str, Any]:
    """Return a recipe of one config and split."""
    splits = {"default": {"splits": {"train": {"files": files}}, **config}}
    return {"configs": splits} | ({"shards": shards} if shards else {})


def test_row_groups_span_annotation_files(project: Project) -> None:
    """Rows of several files and of several places in them stand in one row group, in order, less the dropped ones."""
    names = project.pictures(30)
    rows = [{"image": name, "n": n} for n, name in enumerate(names)]
    for number in range(5):
        project.rows(f"part{number}.jsonl", rows[6 * number : 6 * number + 6])
    shards = {"row_group_bytes": "600B", "max_bytes": "1300B"}
    project.write(recipe(shards) | {"curate": [{"drop_if": "n % 4 == 1"}]}, {"image": "image", "n": "int64"})
    project.build()
    wanted = [row for row in rows if row["n"] % 4 != 1]
    built = project.split("train").to_pylist()
    assert [row["n"] for row in built] == [row["n"] for row in wanted]
    assert [row["image"]["bytes"] for row in built] == [(project.source / row["image"]).read_bytes() for row in wanted]
    files = [pq.ParquetFile(path) for path in sorted((project.out / "default").glob("*.parquet"))]
    groups = [file.metadata.row_group(n).num_rows for file in files for n in range(file.metadata.num_row_groups)]
    assert len(files) == 2
    assert sorted(groups) == [1, 7, 7, 7]  # a file has 4 or 5 rows left


@pytest.mark.parametrize("where", ["embed", "files", "archive"])
def test_null_and_empty_media(project: Project, where: str) -> None:
    """A null medium is null, a null list is null and an empty one empty, whatever row group they fall into."""
    names = project.pictures(4)
    rows = [
        {"image": None, "images": None},
        {"image": names[0], "images": []},
        {"image": None, "images": names[1:3]},
        {"image": None, "images": None},
        {"image": names[3], "images": [names[0], names[0]]},
        {"image": None, "images": []},
    ]
    project.rows("rows.jsonl", rows)
    for size in ("1B", "300B", "1MB"):
        shards = {"row_group_bytes": size, "media": where}
        project.write(recipe(shards), {"image": NULLABLE, "images": {"type": {"list": "image"}, "nullable": True}})
        project.build(upto="validate" if size == "1MB" else "shard")
        built = project.split("train").to_pylist()
        assert [row["image"] is None for row in built] == [row["image"] is None for row in rows]
        assert [None if row["images"] is None else len(row["images"]) for row in built] == [None, 0, 2, None, 2, 0]


def test_a_medium_heavier_than_the_limits(project: Project) -> None:
    """A row heavier than shard and row group has both for itself, and its neighbours are cut as ever."""
    names = project.pictures(5)
    (project.source / names[2]).write_bytes(png(2) + os.urandom(50_000))
    project.rows("rows.jsonl", [{"image": name} for name in names])
    project.write(recipe({"max_bytes": "1kB", "row_group_bytes": "500B"}), {"image": "image"})
    project.build()
    counts = [pq.read_metadata(path).num_rows for path in sorted((project.out / "default").glob("*.parquet"))]
    assert counts == [2, 1, 2]
    assert project.split("train")["image"][2]["bytes"].as_py() == (project.source / names[2]).read_bytes()


def keys(project: Project) -> dict[str, str]:
    """Return shard -> key and hash."""
    stages = json.loads((project.work / "manifest.json").read_bytes())["stages"]
    return {name: entry["content"] + entry["sha256"] for name, entry in stages["shard"]["shards"].items()}


def test_shards_are_written_again_exactly_when_they_would_differ(project: Project) -> None:
    """Media, rows, schema and limits change the shards they touch; an unknown column, a seed or a card change none."""
    names = project.pictures(12)
    rows = [{"image": name, "n": n, "other": n} for n, name in enumerate(names)]
    columns = {"image": "image", "n": "int64"}
    shards = {"max_bytes": "600B", "row_group_bytes": "300B"}
    project.rows("a.jsonl", rows[:6])
    project.rows("b.jsonl", rows[6:])
    project.write(recipe(shards), columns)
    project.build()
    first = keys(project)
    assert len(first) == 2

    def changed() -> int:
        times = {path: path.stat().st_mtime_ns for path in (project.out / "default").iterdir()}
        project.build()
        now = keys(project)
        written = {path for path in (project.out / "default").iterdir() if times.get(path) != path.stat().st_mtime_ns}
        assert {path.relative_to(project.out).as_posix() for path in written} == {
            name for name in now if now[name] != first.get(name)
        }
        return len(written)

    project.write(recipe(shards, split_by={"seed": 5}), columns, card="# Other\n")
    assert changed() == 0
    project.write(recipe({**shards, "max_bytes": "620B"}), columns)
    assert changed() == 0
    (project.source / names[0]).write_bytes(png(99))
    assert changed() == 1
    first = keys(project)
    project.rows("b.jsonl", [*rows[6:11], {**rows[11], "n": 77}])
    assert changed() == 1
    first = keys(project)
    project.write(recipe({**shards, "row_group_bytes": "150B"}), columns)
    assert changed() == 2
    first = keys(project)
    project.write(recipe({**shards, "row_group_bytes": "150B"}), {**columns, "n": "int32"})
    assert changed() == 2
    first = keys(project)
    project.write(recipe({**shards, "row_group_bytes": "150B", "max_bytes": "300B"}), {**columns, "n": "int32"})
    assert changed() == 4
    assert len(list((project.out / "default").iterdir())) == 4


def test_a_medium_that_changes_column_is_a_change(project: Project) -> None:
    """The same picture in the other of two columns is another shard, though rows and media are the same."""
    (name,) = project.pictures(1)
    shutil.move(project.source / name, project.source / "one.png")
    project.rows("rows.jsonl", [{"one": "one.png", "two": "two.png"}])
    media = {column: {"missing": "keep"} for column in ("one", "two")}
    project.write(recipe() | {"media": media}, {"one": NULLABLE, "two": NULLABLE})
    project.build()
    assert [row["two"] for row in project.split("train").to_pylist()] == [None]
    shutil.move(project.source / "one.png", project.source / "two.png")
    project.build()
    assert [row["one"] for row in project.split("train").to_pylist()] == [None]


def test_media_beside_change_shards_without_media(project: Project) -> None:
    """A shard that happens to hold no medium is written anew when media move beside it: its column has another type."""
    project.rows("rows.jsonl", [{"image": None, "n": 1}])
    for where, kind in (("embed", "struct"), ("files", "string"), ("archive", "string"), ("embed", "struct")):
        project.write(recipe({"media": where}), {"image": NULLABLE, "n": "int64"})
        project.build()
        assert str(project.split("train").schema.field("image").type).startswith(kind)


def test_only_what_is_ours_is_removed(project: Project) -> None:
    """Shards and media of earlier builds and halves of files go; a user's own files stay, whatever their ending."""
    names = project.pictures(8)
    project.rows("rows.jsonl", [{"image": name} for name in names])
    project.write(recipe({"max_bytes": "200B", "row_group_bytes": "100B", "media": "files"}), {"image": "image"})
    project.build()
    project.write(recipe({"max_bytes": "200B", "row_group_bytes": "100B"}), {"image": "image"})
    project.build()
    assert len(list((project.out / "default").iterdir())) == 4
    mine = [
        "notes.txt",
        ".gitattributes",
        ".git/config",
        ".git/refs/train-00000-of-00001.parquet",
        "extra/table.parquet",
        "default/train.parquet",
        "archive.tar",
        "media/logo.png",
        "media/default/notes.md",
        "default/.tmp-mine",
    ]
    for name in mine:
        (project.out / name).parent.mkdir(parents=True, exist_ok=True)
        (project.out / name).write_bytes(b"mine")
    (project.out / "empty").mkdir()
    (project.out / "link").symlink_to(project.source)
    ours = [
        "default/train-00000-of-00009.parquet",
        "old config/test-00000-of-00001.parquet",
        "media/default-00000.tar",
        "media/default/ab/" + "ab" * 32 + ".png",
        ".tmp-12-README.md",
        "default/.tmp-12-train-00000-of-00001.parquet",
    ]
    for name in ours:
        (project.out / name).parent.mkdir(parents=True, exist_ok=True)
        (project.out / name).write_bytes(b"ours")
    project.write(recipe(), {"image": "image"})
    project.build()
    assert {name for name in tree(project.out) if not name.startswith("link/")} == {
        *mine,
        "README.md",
        "default/train-00000-of-00001.parquet",
    }
    assert (project.out / "empty").is_dir()
    assert (project.out / "link").is_symlink()
    assert not (project.out / "old config").exists()
    assert not (project.out / "media" / "default" / "ab").exists()
    assert len(list((project.source / "images").iterdir())) == 8


def test_configs_do_not_touch_each_other(project: Project) -> None:
    """Configs and splits whose names begin alike keep their own shards and media."""
    names = project.pictures(6)
    project.rows("rows.jsonl", [{"image": name} for name in names])
    configs = {name: {"rows": {"files": "*.jsonl"}, "splits": {"train": 0.5, "train.x": 0.5}} for name in ("a", "a.b")}
    for where in ("files", "embed", "archive"):
        project.write({"configs": configs, "shards": {"max_bytes": "1B", "media": where}}, {"image": "image"})
        project.build()
        for name in configs:
            rows = [project.split(split, name).num_rows for split in ("train", "train.x")]
            assert rows == [3, 3]
            assert len(list((project.out / name).glob("*.parquet"))) == 6
        assert all(stage.skipped for stage in project.build().stages)


def whole_file(project: Project, rows: int) -> tuple[ShardPart, ...]:
    """Return all rows of the one annotation file as a row group."""
    (records,) = (project.work / "records").rglob("*.arrow")
    plan = project.work / "plan" / "default" / records.name
    return (ShardPart(records=records, plan=plan, rows=np.arange(rows)),)


def test_a_medium_that_vanished_or_changed_meanwhile_is_said(project: Project) -> None:
    """A medium that is not the one that was cached stops the build with its name, and no half of a shard stays."""
    names = project.pictures(3)
    project.rows("rows.jsonl", [{"image": name} for name in names])
    project.write(recipe(), {"image": "image"})
    project.build(upto="split")
    (project.source / names[1]).write_bytes(png(200))
    task = ShardTask(
        name="default/train-00000-of-00001.parquet",
        path=project.out / "default" / "train-00000-of-00001.parquet",
        schema=load_schema(project.root / "schemas" / "demo.yaml"),
        embedded=True,
        cache=project.root / "cache",
        groups=(whole_file(project, 3),),
    )
    with pytest.raises(SourceError, match=r"0001\.png changed since it was cached"):
        write_shard(task)
    assert not list(project.out.rglob("*.parquet"))
    project.build()
    assert project.split("train")["image"][1]["bytes"].as_py() == png(200)
    assert not list(project.out.rglob(".tmp-*"))


def test_finished_shards_are_kept_when_a_build_ends_early(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that were done before a build was ended are not written again, and nothing is left of the note of them."""
    names = project.pictures(8)
    project.rows("rows.jsonl", [{"image": name} for name in names])
    project.write(recipe({"max_bytes": "200B", "row_group_bytes": "100B"}), {"image": "image"})
    real = write_shard

    def broken(task: ShardTask) -> dict[str, Any]:
        if "00002" in task.name:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(shard, "write_shard", broken)
    with pytest.raises(KeyboardInterrupt):
        project.build()
    done = {path: path.stat().st_mtime_ns for path in (project.out / "default").iterdir()}
    assert len(done) == 2
    monkeypatch.undo()
    project.build()
    now = {path: path.stat().st_mtime_ns for path in (project.out / "default").iterdir()}
    assert len(now) == 4
    assert {path: now[path] for path in done} == done
    assert not any((project.work / "shards").iterdir())


def test_media_columns_reach_to_two_gib(tmp_path: Path) -> None:
    """A column of media is one buffer with offsets of 32 bits, right up to the last byte it can count to."""
    data = png(1)
    (tmp_path / "a.png").write_bytes(data)
    with MediaStore(tmp_path / "cache") as store, MediaReader(store) as reader:
        sha256 = store.put(data)
        medium = {"sha256": sha256, "size": len(data), "path": str(tmp_path / "a.png"), "name": "a.png"}
        assert reader.read(0, []).to_pylist() == []
        column = reader.read(0, [medium] * 3).field("bytes")
        assert column.to_pylist() == [data] * 3
        assert column.type == pa.binary()
        assert np.frombuffer(column.buffers()[1], np.int32).tolist() == [0, len(data), 2 * len(data), 3 * len(data)]


def test_videos_of_every_container_come_out_whole(project: Project) -> None:
    """Clips of several containers stand in the shards byte for byte, also when each has a row group of its own."""
    names = [path.name for path in sorted(MEDIA.glob("*.mov")) if path.name != "README.md"]
    for name in names:
        shutil.copy(MEDIA / name, project.source / name)
    project.rows("rows.jsonl", [{"video": name} for name in names])
    project.write(recipe({"row_group_bytes": 1}), {"video": "video"})
    project.build()
    assert [row["video"]["bytes"] for row in project.split("train").to_pylist()] == [
        (MEDIA / name).read_bytes() for name in names
    ]
