"""Whole builds whose sources are repositories of hubs, by the command, as a user runs it; doubles on the loopback."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.sources.hub import HubRepo, ListedFile, parse_hub_url
from pipeline.sources.hub_client import UnreachedError
from pipeline.sources.hub_retry import Failure
from pipeline.sources.hub_shelf import MOST_UNREACHED, Download, Shelf
from tests.network.command import shardwright
from tests.network.hf_double import HuggingFaceDouble
from tests.network.hub_server import Fault
from tests.network.ms_double import ModelScopeDouble
from tests.project import MEDIA, png

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from pipeline.errors import SourceError
    from tests.project import Project

NAME = "alice/formulas"
FILES = {
    "README.md": b"# Formulas\n",
    "train/rows.jsonl": b"".join(json.dumps({"image": f"images/{n}.png", "n": n}).encode() + b"\n" for n in range(6)),
    **{f"images/{n}.png": png(n) for n in range(6)},
    "other/huge.bin": bytes(1_000),
}


def write(project: Project, **place: Any) -> None:
    """Write a project whose annotations and pictures lie in a repository."""
    splits = {"train": {"files": "train/*.jsonl"}}
    media = {"image": {"relative_to": "root"}}
    recipe = {"sources": {"repo": place}, "configs": {"default": {"splits": splits}}, "media": media}
    project.write(recipe, {"image": "image", "n": "int64"})


def build(project: Project, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `shardwright card` in a home of its own."""
    return shardwright("card", project.recipe_path, project.root, *options, **environment)


def pictures(project: Project) -> dict[int, bytes]:
    """Return the pictures that were published."""
    return {row["n"]: row["image"]["bytes"] for row in project.split("train").to_pylist()}


def source(project: Project) -> dict[str, Any]:
    """Return what the manifest says of the source."""
    manifest = json.loads((project.work / "manifest.json").read_text(encoding="utf-8"))
    told: dict[str, Any] = manifest["stages"]["download"]["sources"]["repo"]
    return told


def test_a_repository_of_hugging_face(project: Project) -> None:
    """Annotations and pictures come from one repository, pinned to its commit; then it is built without the network."""
    write(project, huggingface=NAME, files=["train/*", "images/*"])
    with HuggingFaceDouble() as hub:
        repo = hub.repo(NAME, FILES)
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert pictures(project) == {n: png(n) for n in range(6)}
        assert not hub.asked(r"/resolve/.*huge\.bin")
        first = source(project)
        assert (first["kind"], first["repository"]) == ("huggingface", NAME)
        asked = len(hub.asked("/resolve/", "HEAD"))
        repo.commit({"images/0.png": png(100)})
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert pictures(project)[0] == png(100)
        assert source(project)["commit"] != first["commit"]
        assert {one.path.rpartition("/")[2] for one in hub.asked("/resolve/", "HEAD")[asked:]} == {"0.png"}
    for folder in ("work", "out"):
        (project.root / folder).rename(project.root / f"old-{folder}")
    done = build(project, "--offline", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert pictures(project)[0] == png(100)


def test_a_private_repository(project: Project) -> None:
    """A private repository is told from one that is not there only with a token, which is never shown."""
    write(project, huggingface=NAME)
    with HuggingFaceDouble() as hub:
        hub.repo(NAME, FILES, private=True)
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 3
        assert "HF_TOKEN" in done.stderr
        done = build(project, HF_ENDPOINT=hub.endpoint, HF_TOKEN="hf_alice")  # noqa: S106
        assert done.returncode == 0, done.stderr
    for path in project.root.rglob("*"):
        assert not path.is_file() or b"hf_alice" not in path.read_bytes()


@pytest.mark.slow
def test_modelscope_when_hugging_face_is_down(project: Project) -> None:
    """Of several places the first that answers is taken, and the report says why not the others."""
    write(project, huggingface=NAME, fallbacks=[{"modelscope": NAME, "files": ["train/*", "images/*"]}])
    with ModelScopeDouble() as hub:
        hub.repo(NAME, FILES)
        done = build(project, HF_ENDPOINT="http://127.0.0.1:9", MODELSCOPE_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stderr
    assert "huggingface: alice/formulas cannot be had" in done.stdout
    assert source(project)["kind"] == "modelscope"
    assert pictures(project) == {n: png(n) for n in range(6)}


@pytest.mark.slow
def test_links_into_another_repository(project: Project) -> None:
    """As in VideoFeedback: rows of one repository link to clips of another; one listing serves them all."""
    clips = ["video_0.mov", "video_90.mov", "unordered.mov", "h265_video.mp4"]
    names = [*clips, "gone.mp4", "video_0.mov", "page.mp4"]
    with HuggingFaceDouble() as hub:
        links = [f"{hub.endpoint}/datasets/bob/clips/resolve/main/c/{name}?download=true" for name in names]
        rows = [{"video link": link, "n": n} for n, link in enumerate(links)]
        hub.repo(NAME, {"train/rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()})
        files = {f"c/{name}": (MEDIA / name).read_bytes() for name in clips}
        hub.repo("bob/clips", {**files, "c/page.mp4": b"<html>", **{f"d/{n}.mp4": b"x" for n in range(50)}})
        hub.faults = [Fault(r"video_0\.mov", status=503, times=2)]
        splits = {"train": {"files": "train/*.jsonl"}}
        recipe = {
            "sources": {"repo": {"huggingface": NAME}},
            "configs": {"default": {"splits": splits}},
            "media": {"video": {"from": "video link"}},
        }
        project.write(recipe, {"video": "video", "n": "int64"})
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert not hub.asked(r"/resolve/.*/d/")
        assert len(hub.asked("bob/clips/tree")) <= 2
        asked = len(hub.log)
        (project.work / "plan").rename(project.root / "old-plan")
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert not [request for request in hub.log[asked:] if "bob/clips" in request.path]
    published = {row["n"]: row["video"] for row in project.split("train").to_pylist()}
    expected = {n: {"bytes": files[f"c/{name}"], "path": name} for n, name in enumerate(names) if f"c/{name}" in files}
    assert published == expected
    assert project.reasons() == [("train/rows.jsonl", 5, "fetch.status"), ("train/rows.jsonl", 7, "media.kind")]
    left = list((project.root / "cache" / "hub" / "media").rglob("*.m*"))
    assert left == []
    for folder in ("work", "out"):
        (project.root / folder).rename(project.root / f"old-{folder}")
    assert build(project, "--offline", HF_ENDPOINT="http://127.0.0.1:9").returncode == 0


def test_one_file_that_is_withheld(project: Project) -> None:
    """A file that the hub lists and does not give costs its own row, and is asked for again by the next build."""
    with HuggingFaceDouble() as hub:
        hub.repo("bob/clips", {f"{n}.png": png(n) for n in range(5)})
        links = [f"{hub.endpoint}/datasets/bob/clips/resolve/main/{n}.png" for n in range(5)]
        project.rows("rows.jsonl", [{"image": link, "n": n} for n, link in enumerate(links)])
        recipe = {"configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}}
        project.write(recipe, {"image": "image", "n": "int64"})
        hub.faults = [
            Fault(r"resolve/.*/3\.png", status=403, times=99),
            Fault(r"3\.png", method="HEAD", status=403, times=9),
        ]
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert pictures(project) == {n: png(n) for n in (0, 1, 2, 4)}
        assert project.reasons() == [("rows.jsonl", 4, "fetch.hub")]
        hub.faults = []
        asked = len(hub.log)
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert pictures(project) == {n: png(n) for n in range(5)}
        assert {request.path.rpartition("/")[2] for request in hub.log[asked:] if "/resolve/" in request.path} == {
            "3.png"
        }


class Away:
    """A hub's client whose hub is gone: it lists files and gives none."""

    def __init__(self) -> None:
        self.asked = 0

    def fetch(self, path: str, *_: Any, **__: Any) -> Path:
        """Count, and fail."""
        self.asked += 1
        raise UnreachedError(f"{path} cannot be reached")

    def failure(self, error: Exception) -> Failure:
        """Say that another attempt is in vain."""
        assert isinstance(error, UnreachedError)
        return Failure(error=error)


def test_a_hub_that_goes_away(tmp_path: Path) -> None:
    """When the hub gives no answer any more, not every file is tried to the end."""
    client: Any = Away()
    files = {f"{n}.png": ListedFile(size=10, sha256=None, git=None) for n in range(1_000)}
    shelf = Shelf(folder=tmp_path, repo=HubRepo(hub="huggingface", id=NAME, revision=None), patterns=["*"])
    lost: dict[str, SourceError] = {}
    with pytest.raises(UnreachedError):
        shelf.fill(Download(client=client, commit="a" * 40, files=files, lost=lost), None, None)
    assert len(lost) == MOST_UNREACHED - 1
    assert client.asked < 200


def test_faults_of_a_hub(project: Project) -> None:
    """Busy answers, cut bodies and wrong bytes of a hub are tried again; what arrives is what the hub lists."""
    write(project, huggingface=NAME, files=["train/*", "images/*"])
    with HuggingFaceDouble() as hub:
        hub.repo(NAME, FILES)
        hub.faults = [
            Fault("/_cdn/", status=503, times=2),
            Fault("/_cdn/", cut=20, times=1, after=3),
            Fault(r"train/rows\.jsonl", status=500, times=1),
        ]
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert [fault.times for fault in hub.faults] == [0, 0, 0]
    assert done.returncode == 0, done.stderr
    assert pictures(project) == {n: png(n) for n in range(6)}


def test_two_links_to_one_file(project: Project) -> None:
    """Links that are written differently and mean one file of a repository both get it."""
    with HuggingFaceDouble() as hub:
        hub.repo("bob/clips", {"a.png": png(1)})
        base = f"{hub.endpoint}/datasets/bob/clips"
        links = [f"{base}/resolve/main/a.png", f"{base}/resolve/main/a.png?download=true", f"{base}/blob/main/a.png"]
        project.rows("rows.jsonl", [{"image": link, "n": n} for n, link in enumerate(links)])
        project.write(
            {"configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}}, {"image": "image", "n": "int64"}
        )
        done = build(project, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stderr
    assert pictures(project) == {n: png(1) for n in range(3)}


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write_with_archive(project: Project, **place: Any) -> None:
    """Write a project whose pictures lie in an archive beside the annotations of a repository."""
    recipe = {
        "sources": {"rows": {"huggingface": NAME, "files": "rows.jsonl"}, "repo": place},
        "configs": {"default": {"splits": {"train": {"source": "rows", "files": "rows.jsonl"}}}},
        "media": {"image": {"source": "repo"}},
    }
    project.write(recipe, {"image": "image", "n": "int64"})


def test_an_archive_of_a_repository(project: Project) -> None:
    """One archive is downloaded and unpacked, again when it has changed, and from a fallback when it must be."""
    files = {"rows.jsonl": FILES["train/rows.jsonl"], "other/huge.bin": bytes(1_000)}
    pictures_at_first = {f"images/{n}.png": png(n) for n in range(6)}
    name = "media/the [6] pictures.zip"  # marks of patterns are letters of a name here
    write_with_archive(project, huggingface=NAME, archive=name, fallbacks=[{"modelscope": NAME, "archive": "all.zip"}])
    with HuggingFaceDouble() as hub, ModelScopeDouble() as other:
        other.repo(NAME, {"all.zip": zipped(pictures_at_first)})
        repo = hub.repo(NAME, {**files, name: zipped(pictures_at_first)})
        endpoints = {"HF_ENDPOINT": hub.endpoint, "MODELSCOPE_ENDPOINT": other.endpoint}
        done = build(project, **endpoints)
        assert done.returncode == 0, done.stderr
        assert pictures(project) == {n: png(n) for n in range(6)}
        assert not hub.asked("huge", "HEAD")
        told = source(project)
        assert (told["kind"], told["archive"]) == ("huggingface", name)
        repo.commit({name: zipped({**pictures_at_first, "images/3.png": png(103)})})
        assert build(project, **endpoints).returncode == 0
        assert pictures(project)[3] == png(103)
        assert source(project)["sha256"] != told["sha256"]
        assert other.log == []
        repo.commit({name: None})
        done = build(project, **endpoints)
        assert done.returncode == 0, done.stderr
        assert source(project)["kind"] == "modelscope"
        assert pictures(project)[3] == png(3)


def test_an_archive_that_is_none(project: Project) -> None:
    """A file that is named as an archive and is none is an error that says what to do."""
    write_with_archive(project, huggingface=NAME, archive="rows.jsonl")
    with HuggingFaceDouble() as hub:
        hub.repo(NAME, {"rows.jsonl": FILES["train/rows.jsonl"]})
        done = build(project, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 3
    assert "source 'repo': 'rows.jsonl' of the dataset 'alice/formulas' on Hugging Face is no archive" in done.stderr
    assert "name it under `files`" in done.stderr


def test_a_hub_that_gives_no_answer(project: Project) -> None:
    """What was downloaded before is taken as it was, with a note, and not for a hub that says no."""
    write(project, huggingface=NAME, files=["train/*", "images/*"])
    with HuggingFaceDouble() as hub:
        repo = hub.repo(NAME, FILES)
        assert build(project, HF_ENDPOINT=hub.endpoint).returncode == 0
        first = source(project)
        repo.commit({"images/0.png": png(100)})
        hub.faults = [Fault("/revision/", status=502, times=2)]
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert hub.faults[0].times == 0
        assert f"taken as it was at the last download, {first['commit'][:12]}" in done.stdout
        assert pictures(project)[0] == png(0)
        assert source(project) == first
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert "last download" not in done.stdout
        assert pictures(project)[0] == png(100)
        del hub.repos[NAME]
        done = build(project, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 3
        assert "is not there" in done.stderr


def test_public_addresses_mean_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs that people copy from a hub's pages are asked of the endpoint, those of other hosts are not."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9/mirror")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    on_hf, on_ms = (HubRepo(hub=hub, id="a/b", revision="main") for hub in ("huggingface", "modelscope"))
    cases = {
        "https://huggingface.co/datasets/a/b/resolve/main/c.mp4": (on_hf, "c.mp4"),
        "https://hf.co/datasets/a/b/blob/main/c%20d.mp4?download=true": (on_hf, "c d.mp4"),
        "http://127.0.0.1:9/mirror/datasets/a/b/resolve/main/c.mp4": (on_hf, "c.mp4"),
        "https://www.modelscope.cn/datasets/a/b/resolve/main/c.mp4": (on_ms, "c.mp4"),
        "https://modelscope.cn/api/v1/datasets/a/b/repo?Revision=main&FilePath=c.mp4": (on_ms, "c.mp4"),
        "https://huggingface.co.evil.example/datasets/a/b/resolve/main/c.mp4": None,
        "https://me:pw@huggingface.co/datasets/a/b/resolve/main/c.mp4": None,
        "https://huggingface.co:8443/datasets/a/b/resolve/main/c.mp4": None,
        "https://huggingface.co/a/b/resolve/main/c.mp4": None,
    }
    assert {url: parse_hub_url(url) for url in cases} == cases
