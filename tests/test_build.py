"""Builds from raw files to shards and card: what comes out, what is left out, and what a second build does."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import MediaMissingError, RecipeError, RejectsError, SourceError, WorkspaceError
from pipeline.report import Quiet
from pipeline.run import Folders, build_dataset
from pipeline.workspace import locked
from tests.project import MEDIA, png, tree

if TYPE_CHECKING:
    from tests.project import Project

IMAGE_AND_TEXT = {"image": "image", "text": {"type": "string", "min_length": 1}}
ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}}


def test_values_and_media_are_those_of_the_source(project: Project) -> None:
    """Every value and every byte of every medium in the shards equals its source, in the order of the source."""
    names = project.pictures(20)
    rows = [{"image": name, "text": f"číslo {n} \u2028 数"} for n, name in enumerate(names)]
    project.rows("rows.jsonl", rows)
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    project.build()
    built = project.split("train").to_pylist()
    assert [row["text"] for row in built] == [row["text"] for row in rows]
    assert [row["image"]["bytes"] for row in built] == [(project.source / name).read_bytes() for name in names]
    assert [row["image"]["path"] for row in built] == [name.rpartition("/")[2] for name in names]


def test_every_row_left_out_has_file_line_and_reason(project: Project) -> None:
    """Rows in = rows out + rejects, and each reject names its file, line and reason."""
    (name,) = project.pictures(1)
    lines = [
        json.dumps({"image": name, "text": "good"}),
        "{broken",
        json.dumps({"image": "images/none.png", "text": "no file"}),
        json.dumps({"image": "../../etc/passwd", "text": "outside"}),
        json.dumps({"image": "s3://bucket/a.png", "text": "remote"}),
        json.dumps({"image": name, "text": ""}),
        json.dumps({"image": name, "text": 7}),
        json.dumps({"text": "no image"}),
        json.dumps({"image": "rows.jsonl", "text": "not an image"}),
        json.dumps({"image": name, "text": "also good"}),
    ]
    (project.source / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    report = project.build()
    assert project.split("train").column("text").to_pylist() == ["good", "also good"]
    assert sorted(project.reasons(), key=lambda item: item[1]) == [
        ("rows.jsonl", 2, "read.json"),
        ("rows.jsonl", 3, "media.missing"),
        ("rows.jsonl", 4, "media.outside"),
        ("rows.jsonl", 5, "media.url"),
        ("rows.jsonl", 6, "schema.rule"),
        ("rows.jsonl", 7, "schema.type"),
        ("rows.jsonl", 8, "media.null"),
        ("rows.jsonl", 9, "media.kind"),
    ]
    assert report.rows_in == 10


def test_private_file_is_never_published(project: Project) -> None:
    """No path, no `..`, no absolute path and no symbolic link gets a file from outside the source into a shard."""
    secret = project.root / "private.png"
    secret.write_bytes(png(99))
    project.pictures(1)
    (project.source / "link.png").symlink_to(secret)
    (project.source / "folder").symlink_to(project.root)
    asked = [
        "../private.png",
        str(secret),
        "link.png",
        "folder/private.png",
        "images/../../private.png",
        "images/0000.png",
    ]
    project.rows("rows.jsonl", [{"image": name, "text": name} for name in asked])
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    project.build()
    assert project.split("train").column("text").to_pylist() == ["images/0000.png"]
    assert {reason for _, _, reason in project.reasons()} == {"media.outside"}
    assert all(secret.read_bytes() not in path.read_bytes() for path in project.out.rglob("*.parquet"))


def test_wider_root_only_when_the_recipe_names_it(project: Project) -> None:
    """A recipe can name a wider folder for media, and paths can start at the annotation file."""
    (project.root / "shared").mkdir()
    (project.root / "shared" / "a.png").write_bytes(png(1))
    project.rows("deep/rows.jsonl", [{"image": "../../shared/a.png", "text": "x"}])
    recipe: dict[str, Any] = {"configs": {"default": {"splits": {"train": {"files": "deep/rows.jsonl"}}}}}
    project.write(recipe | {"media": {"image": {"relative_to": "file"}}}, IMAGE_AND_TEXT)
    with pytest.raises(SourceError, match="would be empty"):
        project.build()
    project.write(recipe | {"media": {"image": {"relative_to": "file", "within": ".."}}}, IMAGE_AND_TEXT)
    project.build()
    assert project.split("train").column("image").to_pylist()[0]["bytes"] == png(1)


def test_second_build_does_nothing(project: Project) -> None:
    """With nothing changed, every stage says so and not a byte or time of the result moves."""
    names = project.pictures(10)
    project.rows("rows.jsonl", [{"image": name, "text": name} for name in names])
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    project.build(upto="validate")
    before = {path: path.stat().st_mtime_ns for path in project.out.rglob("*")}
    manifest = (project.work / "manifest.json").read_bytes()
    report = project.build(upto="validate")
    assert all(stage.skipped for stage in report.stages)
    assert {path: path.stat().st_mtime_ns for path in project.out.rglob("*")} == before
    assert (project.work / "manifest.json").read_bytes() == manifest


def test_workers_and_place_do_not_change_a_byte(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One worker or three, here or in another folder: shards, card and manifest are the same bytes."""
    names = project.pictures(40)
    for name in names:  # big enough that a pool of processes is worth it
        (project.source / name).write_bytes(png(names.index(name), (400, 300)) + b"\0" * 600_000)
    project.rows("rows.jsonl", [{"image": name, "text": name} for name in names])
    recipe = {
        "configs": {"default": {"rows": {"files": "rows.jsonl"}, "splits": {"train": 0.8, "test": 0.2}}},
        "shards": {"max_bytes": "5MB", "row_group_bytes": "2MB"},
    }
    project.write(recipe, IMAGE_AND_TEXT)
    project.build(workers=1)
    one = tree(project.out) | {"manifest": tree(project.work)["manifest.json"]}
    assert len(one) > 5
    other = type(project)(tmp_path_factory.mktemp("elsewhere"))
    shutil.copytree(project.root, other.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("work", "out", "cache"))
    other.build(workers=3)
    assert tree(other.out) | {"manifest": tree(other.work)["manifest.json"]} == one


def test_change_rebuilds_what_it_touches(project: Project) -> None:
    """A row added to one split's file leaves the other split's shards untouched; the card follows."""
    names = project.pictures(6)
    project.rows("train.jsonl", [{"image": name, "text": name} for name in names[:3]])
    project.rows("test.jsonl", [{"image": name, "text": name} for name in names[3:5]])
    splits = {"train": {"files": "train.jsonl"}, "test": {"files": "test.jsonl"}}
    project.write({"configs": {"default": {"splits": splits}}}, IMAGE_AND_TEXT)
    project.build()
    train = project.out / "default" / "train-00000-of-00001.parquet"
    before = train.stat()
    project.rows("test.jsonl", [{"image": name, "text": name} for name in names[3:]])
    report = project.build()
    assert train.stat() == before
    assert project.split("test").num_rows == 3
    assert "| default | test | 3 | 1 |" in (project.out / "README.md").read_text(encoding="utf-8")
    assert not next(stage for stage in report.stages if stage.stage == "shard").skipped


def test_changed_medium_is_noticed(project: Project) -> None:
    """A medium that changed on disk under the same name is hashed again and published anew."""
    (name,) = project.pictures(1)
    project.rows("rows.jsonl", [{"image": name, "text": "x"}])
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    project.build()
    (project.source / name).write_bytes(png(77))
    project.build()
    assert project.split("train").column("image").to_pylist()[0]["bytes"] == png(77)


def test_damaged_shard_is_written_again(project: Project) -> None:
    """A shard that was damaged, removed or left over is put right by the next build."""
    names = project.pictures(4)
    project.rows("rows.jsonl", [{"image": name, "text": name} for name in names])
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    project.build()
    good = tree(project.out)
    shard = project.out / "default" / "train-00000-of-00001.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    shutil.copy(shard, project.out / "default" / "train-00001-of-00002.parquet")
    (project.out / "default" / ".tmp-1-train.parquet").write_bytes(b"half")
    project.build()
    assert tree(project.out) == good
    shard.unlink()
    project.build()
    assert tree(project.out) == good


def test_shards_are_stored_as_the_hub_wants_them(project: Project) -> None:
    """Media columns are plain and uncompressed, shards and row groups keep to their bytes, pages have an index."""
    names = project.pictures(30)
    for name in names:
        (project.source / name).write_bytes(png(names.index(name)) + b"\0" * 10_000)
    project.rows("rows.jsonl", [{"image": name, "text": name} for name in names])
    project.write(ONE_SPLIT | {"shards": {"max_bytes": "100kB", "row_group_bytes": "40kB"}}, IMAGE_AND_TEXT)
    project.build()
    shards = sorted((project.out / "default").glob("*.parquet"))
    assert len(shards) == 4
    sizes = [path.stat().st_size for path in shards]
    assert min(sizes[:3]) > 90_000  # each but the last is as full as can be
    assert max(sizes) < 110_000
    for path in shards:
        metadata = pq.read_metadata(path)
        features = json.loads(metadata.metadata[b"huggingface"])["info"]["features"]
        assert features == {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}
        for group in range(metadata.num_row_groups):
            columns = {
                metadata.row_group(group).column(n).path_in_schema: metadata.row_group(group).column(n)
                for n in range(3)
            }
            assert columns["image.bytes"].compression == "UNCOMPRESSED"
            assert "RLE_DICTIONARY" not in columns["image.bytes"].encodings
            assert columns["image.bytes"].total_uncompressed_size <= 42_000
            assert columns["text"].has_offset_index


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_archive_source(project: Project, kind: str) -> None:
    """Annotations and media inside an archive build like those in a folder, and the archive is unpacked once."""
    archive = project.root / f"data.{kind}"
    members = {"set/rows.jsonl": json.dumps({"image": "set/a.png", "text": "x"}).encode(), "set/a.png": png(5)}
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tar.gz" else "w") as file:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        data = buffer.getvalue()
        if kind == "tar.zst":
            import zstandard

            data = zstandard.compress(data)
        archive.write_bytes(data)
    recipe = {
        "sources": {"mine": {"path": f"../data.{kind}"}},
        "configs": {"default": {"splits": {"train": {"files": "set/*.jsonl"}}}},
    }
    project.write(recipe, IMAGE_AND_TEXT)
    project.build()
    assert project.split("train").to_pylist() == [{"image": {"bytes": png(5), "path": "a.png"}, "text": "x"}]
    (unpacked,) = (project.work / "sources").iterdir()
    before = unpacked.stat().st_mtime_ns
    assert all(stage.skipped for stage in project.build().stages)
    assert unpacked.stat().st_mtime_ns == before


def test_changed_archive_replaces_what_was_unpacked(project: Project) -> None:
    """An archive of other content is unpacked anew, and what the old one held is removed from the workspace."""
    for number in (1, 2):
        with zipfile.ZipFile(project.root / "data.zip", "w") as file:
            file.writestr("rows.jsonl", json.dumps({"image": "a.png", "text": "x"}))
            file.writestr("a.png", png(number))
        project.write({"sources": {"mine": {"path": "../data.zip"}}, **ONE_SPLIT}, IMAGE_AND_TEXT)
        project.build()
        assert project.split("train").column("image").to_pylist()[0]["bytes"] == png(number)
        assert len(list((project.work / "sources").iterdir())) == 1


def test_hostile_archive_is_refused(project: Project) -> None:
    """An archive whose member climbs out stops the build with its name, and nothing is written outside."""
    with zipfile.ZipFile(project.root / "data.zip", "w") as file:
        file.writestr("../evil.png", png(1))
    project.write({"sources": {"mine": {"path": "../data.zip"}}, **ONE_SPLIT}, IMAGE_AND_TEXT)
    with pytest.raises(SourceError, match="evil"):
        project.build()
    assert not list(project.root.rglob("evil.png"))


def test_media_inside_the_annotations(project: Project) -> None:
    """Images inside a Parquet file, as hubs publish them, come out byte-equal, also after the cache is lost."""
    table = pa.table(
        {"image": [{"bytes": png(n), "path": f"{n}.png"} for n in range(5)], "text": [str(n) for n in range(5)]}
    )
    pq.write_table(table, project.source / "rows.parquet")
    project.write({"configs": {"default": {"splits": {"train": {"files": "rows.parquet"}}}}}, IMAGE_AND_TEXT)
    project.build()
    assert project.split("train").to_pylist() == table.to_pylist()
    good = tree(project.out)
    shutil.rmtree(project.root / "cache")
    shutil.rmtree(project.out)
    project.build()
    assert tree(project.out) == good


def test_templates_defaults_and_numbers(project: Project) -> None:
    """Fields come from templates, defaults fill blank ones, and "1,234" is a number only because the recipe says so."""
    (name,) = project.pictures(1)
    rows: list[dict[str, Any]] = [
        {"img": "0000", "question": None, "star": "1,234", "tools": ["Hook", "Clip"], "text prompt": "a"},
        {"img": "0000", "question": "why?", "star": None, "tools": [], "text prompt": "b"},
        {"img": "0000", "question": " ", "star": "12,34", "tools": ["x"], "text prompt": "c"},
    ]
    project.rows("rows.jsonl", rows)
    recipe = {
        **ONE_SPLIT,
        "fields": {
            "question": {"from": "question", "default": "what is it?"},
            "star": {"from": "star", "parse": "integer", "thousands": ","},
            "caption": "{{ `text prompt` }}: {{ tools | join(', ') }}",
            "count": "{{ tools | length }}",
        },
        "media": {"image": {"path": "images/{{ img }}.png"}},
    }
    columns = {
        "image": "image",
        "question": "string",
        "star": {"type": "int64", "nullable": True},
        "caption": "string",
        "count": "int64",
    }
    project.write(recipe, columns)
    project.build()
    assert project.split("train").drop_columns("image").to_pylist() == [
        {"question": "what is it?", "star": 1234, "caption": "a: Hook, Clip", "count": 2},
        {"question": "why?", "star": None, "caption": "b: ", "count": 0},
    ]
    assert project.reasons() == [("rows.jsonl", 3, "parse.integer")]
    assert (project.source / name).exists()


def test_missing_media_can_be_kept_or_stop_the_build(project: Project) -> None:
    """`missing: keep` publishes the row without its medium and says how many; `fail` names all of them at once."""
    names = project.pictures(1)
    project.rows(
        "rows.jsonl",
        [{"image": names[0], "text": "a"}, {"image": "gone.png", "text": "b"}, {"image": "lost.png", "text": "c"}],
    )
    columns = {"image": {"type": "image", "nullable": True}, "text": "string"}
    project.write(ONE_SPLIT | {"media": {"image": {"missing": "keep"}}}, columns)
    project.build()
    assert [row["image"] is None for row in project.split("train").to_pylist()] == [False, True, True]
    assert "2 media of `default` could not be had (media.missing)" in (project.out / "README.md").read_text(
        encoding="utf-8"
    )
    project.write(ONE_SPLIT | {"media": {"image": {"missing": "fail"}}}, columns)
    with pytest.raises(MediaMissingError) as error:
        project.build()
    assert "gone.png" in str(error.value)
    assert "lost.png" in str(error.value)


def test_too_many_rejects_stop_the_build(project: Project) -> None:
    """More broken rows than the recipe allows stop the build with the table of reasons; the rows stay listed."""
    (name,) = project.pictures(1)
    project.rows("rows.jsonl", [{"image": name, "text": "a"}] * 9 + [{"image": name, "text": 1}])
    project.write(ONE_SPLIT | {"rejects": {"max_share": 0.05}}, IMAGE_AND_TEXT)
    with pytest.raises(RejectsError, match=r"1 of 10 rows are broken \(10.0%\)") as error:
        project.build()
    assert "schema.type" in str(error.value)
    assert project.reasons() == [("rows.jsonl", 10, "schema.type")]
    project.write(ONE_SPLIT | {"rejects": {"max_share": 0.1}}, IMAGE_AND_TEXT)
    project.build()


@pytest.mark.parametrize("where", ["files", "archive"])
def test_media_beside_the_shards(project: Project, where: str) -> None:
    """Media kept beside the shards are there once each, byte-equal, under the path that the row holds."""
    names = project.pictures(3)
    project.rows("rows.jsonl", [{"image": name, "text": name} for name in [*names, names[0]]])
    project.write(ONE_SPLIT | {"shards": {"media": where}}, IMAGE_AND_TEXT)
    project.build(upto="validate")
    for row in project.split("train").to_pylist():
        wanted = (project.source / row["text"]).read_bytes()
        if where == "files":
            assert (project.out / row["image"]).read_bytes() == wanted
        else:
            archive, _, member = row["image"].rpartition("/")
            with tarfile.open(project.out / archive) as file:
                extracted = file.extractfile(member)
                assert extracted is not None
                assert extracted.read() == wanted
    beside = [path for path in (project.out / "media").rglob("*") if path.is_file()]
    assert len(beside) == (3 if where == "files" else 1)
    assert all(stage.skipped for stage in project.build().stages)
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    project.build()
    assert not (project.out / "media").exists()


def test_lists_of_media_and_videos(project: Project) -> None:
    """Rows hold several images and a clip, an empty list stays empty, and placeholders must agree with the media."""
    names = project.pictures(3)
    shutil.copy(MEDIA / "video_0.mov", project.source / "clip.mov")
    project.rows(
        "rows.jsonl",
        [
            {"images": names, "video": "clip.mov", "text": "<image><image> and <image>"},
            {"images": [], "video": None, "text": "none"},
            {"images": names[:1], "video": None, "text": "two <image> <image>"},
        ],
    )
    columns = {"images": {"list": "image"}, "video": {"type": "video", "nullable": True}, "text": "string"}
    project.write(ONE_SPLIT, columns, placeholders=[{"column": "text", "token": "<image>", "media": "images"}])
    project.build(upto="validate")
    built = project.split("train").to_pylist()
    assert [len(row["images"]) for row in built] == [3, 0]
    assert built[0]["video"]["bytes"] == (MEDIA / "video_0.mov").read_bytes()
    assert built[1]["video"] is None
    assert project.reasons() == [("rows.jsonl", 3, "conversation.placeholders")]


def test_two_builds_do_not_share_a_workspace(project: Project) -> None:
    """A second build of the same workspace says who holds it, and works once it is free."""
    (name,) = project.pictures(1)
    project.rows("rows.jsonl", [{"image": name, "text": "a"}])
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    with locked(project.work), pytest.raises(WorkspaceError, match=r"in use by process \d+"):
        project.build()
    project.build()


def test_custom_reader(project: Project) -> None:
    """One plain function in one file reads what no reader knows, and its rows keep their lines."""
    project.pictures(2)
    (project.source / "index.lst").write_text("0000 first\n0001 second\n", encoding="utf-8")
    (project.root / "recipes" / "lst.py").write_text(
        "def rows(path):\n"
        "    for line, text in enumerate(path.read_text().splitlines(), 1):\n"
        "        name, word = text.split()\n"
        "        yield line, {'image': f'images/{name}.png', 'text': word}\n",
        encoding="utf-8",
    )
    recipe = {"configs": {"default": {"splits": {"train": {"files": "*.lst", "reader": "lst.py:rows"}}}}}
    project.write(recipe, IMAGE_AND_TEXT)
    project.build()
    assert project.split("train").column("text").to_pylist() == ["first", "second"]


def test_split_by_a_value_of_the_record(project: Project) -> None:
    """A split can take the rows for which an expression over the raw record holds, also of unpublished columns."""
    names = project.pictures(6)
    sides = ["train", "train", "val", "test", "train", "unknown"]
    project.rows("rows.jsonl", [{"image": n, "text": n, "part": s} for n, s in zip(names, sides, strict=True)])
    splits = {name: {"where": f"part == '{name}'"} for name in ("train", "val", "test")}
    project.write({"configs": {"default": {"rows": {"files": "rows.jsonl"}, "splits": splits}}}, IMAGE_AND_TEXT)
    report = project.build()
    assert project.split("train").column("text").to_pylist() == [names[0], names[1], names[4]]
    assert project.split("val").column("text").to_pylist() == [names[2]]
    assert project.reasons() == [("rows.jsonl", 6, "split.nowhere")]
    assert report.rows_in == 6
    splits["train"] = {"share": 1.0}  # of the rows that no `where` takes
    project.write({"configs": {"default": {"rows": {"files": "rows.jsonl"}, "splits": splits}}}, IMAGE_AND_TEXT)
    project.build()
    assert project.split("train").num_rows == 4
    assert project.reasons() == []


def test_templates_know_where_a_record_comes_from(project: Project) -> None:
    """A template sees the record's source, file, line and split, so that media can lie in folders named by them."""
    project.pictures(1, "train_images")
    project.pictures(1, "test_images")
    for split in ("train", "test"):
        project.rows(f"{split}.jsonl", [{"name": "0000", "n": split}])
    recipe = {
        "configs": {"default": {"splits": {name: {"files": f"{name}.jsonl"} for name in ("train", "test")}}},
        "fields": {"text": "{{ record.file }}:{{ record.line }}"},
        "media": {"image": {"from": "name", "path": "{{ record.split }}_images/{{ item }}.png"}},
    }
    recipe["configs"]["default"]["split_by"] = {"leaks": "keep"}
    project.write(recipe, IMAGE_AND_TEXT)
    project.build()
    assert project.split("test").column("text").to_pylist() == ["test.jsonl:1"]


def test_no_split_is_left_empty_by_large_groups(project: Project) -> None:
    """When there are as many groups as splits, each split gets one, whatever the seed."""
    first, second = project.pictures(2)
    project.rows("rows.jsonl", [{"image": name, "text": "x"} for name in (first, first, second)])
    for seed in range(4):
        config = {
            "rows": {"files": "rows.jsonl"},
            "splits": {"train": "rest", "test": {"count": 1}},
            "split_by": {"seed": seed},
        }
        project.write({"configs": {"default": config}}, IMAGE_AND_TEXT)
        project.build()
        assert {project.split("train").num_rows, project.split("test").num_rows} == {1, 2}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "def rows(path):\n    yield 1, {'image': 'images/0000.png', 'text': 'x'}\n    1 / 0\n",
            "after 1 rows: ZeroDiv",
        ),
        ("def rows(path):\n    return [('one', {})]\n", "after 0 rows: ValueError"),
        ("def rows(path):\n    return [7]\n", "after 0 rows: TypeError"),
        ("def rows(path:\n", "SyntaxError"),
        ("lines = None\n", "has no function 'rows'"),
    ],
)
def test_broken_custom_reader(project: Project, code: str, words: str) -> None:
    """A reader of the recipe's own that fails stops the build with its name, the file and the row."""
    project.pictures(1)
    (project.source / "index.lst").write_text("0000 first\n", encoding="utf-8")
    (project.root / "recipes" / "lst.py").write_text(code, encoding="utf-8")
    recipe = {"configs": {"default": {"splits": {"train": {"files": "*.lst", "reader": "lst.py:rows"}}}}}
    project.write(recipe, IMAGE_AND_TEXT)
    with pytest.raises(SourceError, match=words):
        project.build()


def test_default_must_fit_its_column(project: Project) -> None:
    """A default that its column cannot hold is a mistake of the recipe, found before any work."""
    columns = {"stars": {"type": "int64", "min": 0}, "text": "string"}
    for field, default in (("stars", "none"), ("stars", -1), ("text", 7)):
        project.write(ONE_SPLIT | {"fields": {field: {"from": "x", "default": default}}}, columns)
        with pytest.raises(RecipeError, match=f"fields.{field}.default: the default does not fit the schema"):
            project.build()
        assert not project.work.exists()


def test_another_recipe_of_the_same_name_is_noted(project: Project) -> None:
    """A second recipe of the same name replaces the dataset, and the report says whose it was."""
    (name,) = project.pictures(1)
    project.rows("rows.jsonl", [{"image": name, "text": "a"}])
    project.write(ONE_SPLIT, IMAGE_AND_TEXT)
    assert not any("another recipe" in note for stage in project.build().stages for note in stage.notes)
    other = project.recipe_path.with_name("other.yaml")
    shutil.copy(project.recipe_path, other)
    folders = Folders(work=project.root / "work", out=project.root / "out", cache=project.root / "cache")
    report = build_dataset(other, folders, workers=1, display=Quiet(), upto="card")
    assert "another recipe of the same name" in report.stages[0].notes[0]
    assert "demo.yaml" in report.stages[0].notes[0]
