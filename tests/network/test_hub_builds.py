"""Whole builds whose sources are repositories of hubs, by the command, as a user runs it; doubles on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.network.hf_double import HuggingFaceDouble
from tests.network.hub_server import Fault
from tests.network.ms_double import ModelScopeDouble
from tests.project import MEDIA, png

if TYPE_CHECKING:
    from tests.project import Project

ROOT = Path(__file__).parents[2]
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
    folders = [f"--{name}={project.root / name}" for name in ("work", "out", "cache")]
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "MODELSCOPE_")) and not name.lower().endswith("_proxy")
    }
    env = {
        **clean,
        "HOME": str(project.root / "home"),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **environment,
    }
    command = [sys.executable, "-m", "pipeline", "card", str(project.recipe_path), *folders, *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


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
