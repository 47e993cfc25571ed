"""Media that are read where they lie in archives: the same dataset to the byte as from a folder, whatever happens."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import tarfile
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import executor
from pipeline.errors import RecipeError, SourceError
from pipeline.media.store_care import prune
from tests.disturbed import Child, Heard, assert_same, build, empty, undisturbed
from tests.network.bad_server import BadServer
from tests.project import MEDIA, Project, png, tree

if TYPE_CHECKING:
    from pathlib import Path

VIDEO = "nasa_13013.mp4"
COUNT = 12
ASKED = [
    *((f"pictures/{n:02d}.png", None) for n in range(COUNT)),
    ("pictures\\03.png", f"deep/er/{VIDEO}"),
    ("./pictures/04.png", f"./deep//er/../er/{VIDEO}"),
    *((image, None) for image in ("pictures", "gone.png", "../a", "empty.png", "pictures/00.png/")),
    ("pictures/00.png", "pictures/00.png"),
]
REASONS = ["empty", "kind", "missing", "not_file", "not_file", "outside"]
COLUMNS = {
    "image": "image",
    "clip": {"type": "video", "nullable": True},
    "frames": {"type": {"list": "image"}, "nullable": True},
    "start": "int64",
}
FORMS = ("folder", "stored.zip", "deflated.zip", "mixed.zip", "plain.tar", "packed.tar.gz")


def members() -> dict[str, bytes]:
    """Return what is in a source."""
    rows = [{"image": image, "video": video, "start": n} for n, (image, video) in enumerate(ASKED)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    pictures = {f"pictures/{n:02d}.png": png(n) + random.Random(n).randbytes(4_000) for n in range(COUNT)}  # noqa: S311
    video = {f"deep/er/{VIDEO}": (MEDIA / VIDEO).read_bytes()}
    return {"labels/rows.jsonl": lines, **pictures, "empty.png": b"", **video}


def pack(path: Path, tree: dict[str, bytes]) -> Path:
    """Write members into a folder or an archive, by its name."""
    if path.suffix == ".zip":
        methods = {"stored": [0], "deflated": [8], "mixed": [0, 8]}[path.stem.partition("-")[0]]
        with zipfile.ZipFile(path, "w") as archive:
            for number, (name, data) in enumerate(tree.items()):
                archive.writestr(zipfile.ZipInfo(name), data, compress_type=methods[number % len(methods)])
    elif path.suffix:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            for name, data in tree.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        for name, data in tree.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def write(project: Project, place: dict[str, Any], **more: Any) -> Project:
    """Write the recipe of a source at a place."""
    config = {"rows": {"files": "labels/*.jsonl"}, "splits": {"train": 0.7, "test": {"rest": True}}}
    media = {
        "clip": {"from": "video", "clip": {"start": 1, "end": 2, "exact": False}},
        "frames": {"from": "video", "frames": {"count": 2}},
    }
    sources = {"mine": {**place, "license": "cc0-1.0"}}
    project.write({"sources": sources, "configs": {"default": config}, "media": media, **more}, COLUMNS)
    return project


def project_of(folder: Path, form: str, **more: Any) -> Project:
    """Write a project whose source has a form."""
    project = Project(folder)
    pack(project.root / form, members())
    return write(project, {"path": f"../{form}"}, **more)


def unpacked(project: Project) -> set[str]:
    """Return the files that were unpacked."""
    (folder,) = (project.work / "sources").iterdir()
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("media", ["embed", "files", "archive"])
def test_same_bytes_from_every_form(media: str, tmp_path: Path) -> None:
    """A folder, and archives of every kind, give the same dataset to the byte, and leave out the same rows."""
    shards = {"media": media, "max_bytes": "30kB", "row_group_bytes": "10kB"}
    results = {}
    for form in FORMS:
        project = project_of(tmp_path / form, form, shards=shards)
        project.build()
        results[form] = tree(project.out), [(row["line"], row["reason"]) for row in project.rejected()]
        if form != "folder":
            compressed = {name for at, name in enumerate(members()) if at % 2 and form.startswith("mixed")}
            every = form in ("deflated.zip", "packed.tar.gz")
            assert unpacked(project) == (set(members()) if every else {"labels/rows.jsonl"} | compressed)
    assert len(results["folder"][0]) > 5
    assert sorted(reason for _, reason in results["folder"][1]) == [f"media.{reason}" for reason in REASONS]
    assert {form: result == results["folder"] for form, result in results.items()} == dict.fromkeys(FORMS, True)


@pytest.mark.parametrize("form", ["stored.zip", "plain.tar"])
def test_two_workers(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers read from one archive, and write the same bytes as one."""
    monkeypatch.setattr(executor, "WORTH_A_POOL", 1)
    shards = {"max_bytes": "30kB", "row_group_bytes": "10kB"}
    projects = [project_of(tmp_path / str(workers), form, shards=shards) for workers in (1, 2)]
    for workers, project in enumerate(projects, 1):
        project.build(workers=workers)
    assert tree(projects[0].out) == tree(projects[1].out)
    assert (projects[0].work / "manifest.json").read_bytes() == (projects[1].work / "manifest.json").read_bytes()


@pytest.mark.parametrize("form", ["stored.zip", "plain.tar"])
def test_nothing_is_done_again(form: str, tmp_path: Path) -> None:
    """A second build does nothing, also after the archive was touched, moved or unpacked to nowhere."""
    project = project_of(tmp_path, form)
    good = undisturbed(project)
    before = {path: path.stat().st_mtime_ns for path in project.work.rglob("*") if path.suffix == ".arrow"}
    assert any(path.parent.name == "members" for path in before)
    assert all(stage.skipped for stage in project.build().stages)
    (project.root / form).touch()
    assert all(stage.skipped for stage in project.build().stages)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (project.root / "away").mkdir()
    (project.root / form).rename(project.root / "away" / form)
    write(project, {"path": f"../away/{form}"})
    assert all(stage.skipped for stage in project.build().stages)
    assert_same(project, good)
    shutil.rmtree(project.out)
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("lost", ["folder", "index", "index damaged"])
def test_what_is_lost_is_made_again(lost: str, tmp_path: Path) -> None:
    """Without the folder of what was unpacked, or without the list of what was not, the archive is read anew."""
    project = project_of(tmp_path, "mixed.zip")
    good = undisturbed(project)
    (folder,), (index,) = (project.work / "sources").iterdir(), (project.work / "members").iterdir()
    if lost == "folder":
        shutil.rmtree(folder)
    elif lost == "index":
        index.unlink()
    else:
        index.write_bytes(index.read_bytes()[:100])
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("form", ["stored.zip", "plain.tar", "mixed.zip"])
def test_archive_of_other_places(form: str, tmp_path: Path) -> None:
    """An archive whose members lie elsewhere is noticed, and so is one with another picture in it."""
    project = project_of(tmp_path, form)
    good = undisturbed(project)
    pack(project.root / form, {"first.bin": b"x" * 1_234, **members()})
    project.build()
    assert tree(project.out).items() <= good[0].items()
    assert len(list((project.work / "members").iterdir())) == 1
    other = members() | {"pictures/05.png": png(99)}
    pack(project.root / form, other)
    project.build()
    (changed,) = [
        row["image"]["bytes"]
        for split in ("train", "test")
        for row in project.split(split).to_pylist()
        if row["image"]["path"] == "05.png"
    ]
    assert changed == png(99)
    pack(project.root / form, members())
    project.build()
    assert_same(project, good)


def test_patterns_decide_what_is_unpacked(tmp_path: Path) -> None:
    """Annotation files are unpacked, and others when a recipe comes to ask for them; a function gets everything."""
    project = Project(tmp_path)
    lines = [json.dumps({"image": "a.png", "text": name}).encode() for name in "ab"]
    pack(project.root / "stored.zip", {"a.jsonl": lines[0], "more/b.jsonl": lines[1], "a.png": png(1)})

    def built(**rows: Any) -> list[str]:
        config = {"rows": rows, "splits": {"train": {"rest": True}}}
        recipe = {"sources": {"mine": {"path": "../stored.zip"}}, "configs": {"default": config}}
        project.write(recipe, {"image": "image", "text": "string"})
        project.build()
        return project.split("train").column("text").to_pylist()

    assert built(files="*.jsonl") == ["a"]
    assert unpacked(project) == {"a.jsonl"}
    assert built(files="**/*.jsonl") == ["a", "b"]
    assert unpacked(project) == {"a.jsonl", "more/b.jsonl"}
    (project.root / "recipes" / "mine.py").write_text(
        "import json\n"
        "def rows(path):\n"
        "    yield 1, json.loads((path.parent / 'more' / 'b.jsonl').read_text()) | {'text': path.name}\n"
    )
    assert built(files="a.jsonl", reader="mine.py:rows") == ["a.jsonl"]
    assert unpacked(project) == {"a.jsonl", "more/b.jsonl", "a.png"}


def test_annotations_beside_an_archive(tmp_path: Path) -> None:
    """Rows of a folder, of a file or of one archive find their media in another archive."""
    project = Project(tmp_path)
    pack(project.root / "plain.tar", members())
    pack(project.root / "stored.zip", members())
    config = {"rows": {"source": "rows", "files": "labels/rows.jsonl"}, "splits": {"train": {"rest": True}}}
    recipe = {"configs": {"default": config}, "media": {"image": {"source": "media"}}}
    places = {"rows": {"path": "../stored.zip"}, "media": {"path": "../plain.tar"}}
    project.write({"sources": places, **recipe}, {"image": "image"})
    project.build()
    right = [data for name, data in members().items() if name.startswith("pictures/")]
    found = [row["image"]["bytes"] for row in project.split("train").to_pylist()]
    assert found == [*right, right[3], right[4], right[0]]
    assert {path.name.partition("-")[0] for path in (project.work / "members").iterdir()} == {"rows", "media"}


@pytest.mark.parametrize("stage", ["convert", "cache", "shard"])
@pytest.mark.parametrize("form", ["stored.zip", "plain.tar"])
def test_archive_vanishes(form: str, stage: str, tmp_path: Path) -> None:
    """An archive that is removed while it is used, or before, is named; back again, all is as it was."""
    project = project_of(tmp_path, form)
    good = undisturbed(project)
    path, away = project.root / form, project.root / "away"
    empty(project)

    def vanish(event: str, count: int) -> None:
        if (event, count) == (stage, 1):
            path.rename(away)

    with pytest.raises(SourceError, match=form) as error:
        build(project, Heard(vanish))
    assert error.value.exit_code == 3
    assert error.value.hint
    with pytest.raises(RecipeError, match=f"there is no file or folder .*{form}"):
        project.build()
    away.rename(path)
    project.build()
    assert_same(project, good)


@pytest.mark.parametrize("how", ["in place", "replaced"])
@pytest.mark.parametrize("stage", ["convert", "cache", "shard"])
def test_archive_changes_while_it_is_used(stage: str, how: str, tmp_path: Path) -> None:
    """An archive that becomes another one is an error with its name, and nothing wrong is remembered of its media."""
    project = project_of(tmp_path, "stored.zip")
    good = undisturbed(project)
    path = project.root / "stored.zip"
    before = path.read_bytes()
    data = members()
    other = {name: (bytes(len(data[name])) if name.startswith("pictures/") else data[name]) for name in data}
    after = pack(project.root / "stored-2.zip", other).read_bytes()
    assert len(after) == len(before)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    empty(project)

    def change(event: str, count: int) -> None:
        if (event, count) != (stage, 1):
            return
        if how == "in place":
            path.write_bytes(after)
        else:
            (project.root / "stored-2.zip").replace(path)
        os.utime(path, ns=times)

    with pytest.raises(SourceError, match=r"stored\.zip.* changed") as error:
        build(project, Heard(change))
    assert error.value.hint
    path.write_bytes(before)
    project.build()
    assert_same(project, good)


def test_a_touched_archive_is_no_other(tmp_path: Path) -> None:
    """An archive that is touched while it is used is looked at again, and is the same."""
    project = project_of(tmp_path, "stored.zip")
    good = undisturbed(project)
    empty(project)
    build(project, Heard(lambda event, count: (event, count) == ("cache", 1) and (project.root / "stored.zip").touch()))
    assert_same(project, good)


def test_archive_of_the_web(tmp_path: Path) -> None:
    """An archive by URL is kept as long as a workspace reads from it, and fetched anew once it is damaged."""
    project = Project(tmp_path)
    data = pack(project.root / "stored.zip", members()).read_bytes()
    with BadServer({"get": data}) as server:
        write(project, {"url": server.url("get")})
        project.build()
        good = tree(project.out)
        assert unpacked(project) == {"labels/rows.jsonl"}
        objects = project.root / "cache" / "media" / "objects"
        (path,) = [path for path in objects.glob("??/*") if path.stat().st_size == len(data)]
        assert prune(project.root / "cache", remove=True)[0] == 0
        shutil.rmtree(project.out)
        project.build(offline=True)
        assert tree(project.out) == good
        place = data.index(members()["pictures/05.png"])
        path.write_bytes(data[:place] + b"!" + data[place + 1 :])
        shutil.rmtree(project.out)
        # whoever notices puts the object aside, and who reads beside it may find it gone first
        with pytest.raises(SourceError, match=r"changed since it was cached|cannot be read any more"):
            project.build(offline=True)
        assert not path.exists()
        project.build()
        assert tree(project.out) == good
        assert server.tries("get") == 2
        shutil.rmtree(project.work)
        assert prune(project.root / "cache", remove=True)[0] > 0
        assert not path.exists()


@pytest.mark.slow
def test_killed_anywhere(tmp_path: Path, script: Path) -> None:
    """After `kill -9` while archives are read, media examined or shards written, the next build gives the same."""
    project = Project(tmp_path)
    many = {f"pictures/{n:03d}.png": png(n) + random.Random(n).randbytes(40_000) for n in range(100)}  # noqa: S311
    lines = "".join(json.dumps({"image": name, "text": name}) + "\n" for name in many).encode()
    for name in ("mixed.zip", "plain.tar"):
        pack(project.root / name, {**many, "labels/rows.jsonl": lines})
    splits = {split: {"source": split, "files": "labels/*.jsonl"} for split in ("train", "test")}
    config = {"splits": splits, "split_by": {"leaks": "keep"}}
    sources = {"train": {"path": "../mixed.zip"}, "test": {"path": "../plain.tar"}}
    recipe = {"sources": sources, "configs": {"default": config}, "shards": {"max_bytes": "2MB"}}
    project.write(recipe, {"image": "image", "text": "string"})
    good = undisturbed(project)
    draw = random.Random(7)  # noqa: S311
    killed = 0
    for stage in ("download", "download", "cache", "shard"):
        empty(project)
        with Child(script, project) as child:
            child.go()
            if child.until(stage):
                time.sleep(draw.uniform(0, 0.03))
                child.signal(signal.SIGKILL, "main")
            killed += child.end() != 0
        project.build()
        assert_same(project, good)
    assert killed >= 2
