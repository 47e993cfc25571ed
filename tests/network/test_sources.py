"""Sources on the web, through whole builds: files and archives by URL, with and without a hash, with fallbacks."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import run
from pipeline.errors import SourceError
from tests.network import faults
from tests.network.bad_server import BadServer, refused_url
from tests.network.faults import OK
from tests.project import png

if TYPE_CHECKING:
    from tests.project import Project

ROWS = b"".join(json.dumps({"text": f"row {number}"}).encode() + b"\n" for number in range(20))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let builds wait for a second where they would wait for a minute."""
    limits = run._fetch_limits
    short = {"backoff": 0.02, "stall": 1.0, "longest_wait": 3.0, "pause": 0.2}
    monkeypatch.setattr(run, "_fetch_limits", lambda recipe: replace(limits(recipe), **short))


def archive() -> bytes:
    """Return a ZIP of annotations and pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        lines = [json.dumps({"image": f"pictures/{number}.png"}) for number in range(5)]
        packed.writestr("rows.jsonl", "\n".join(lines))
        for number in range(5):
            packed.writestr(f"pictures/{number}.png", png(number))
    return buffer.getvalue()


def write(project: Project, columns: dict[str, Any], files: str = "rows.jsonl", **place: Any) -> None:
    """Write a project whose only source is a place."""
    splits = {"train": {"files": files}}
    project.write({"sources": {"web": place}, "configs": {"default": {"splits": splits}}}, columns)


def test_a_file(project: Project) -> None:
    """An annotation file comes from a URL, though its server breaks off; a second build asks for nothing."""
    with BadServer({"data/rows.jsonl": ROWS}, {"data/rows.jsonl": [faults.truncated(100), OK]}) as server:
        write(project, {"text": "string"}, url=server.url("data/rows.jsonl"))
        project.build()
        assert project.split("train").num_rows == 20
        project.build()
        assert server.tries("data/rows.jsonl") == 2
    (project.root / "work").rename(project.root / "old-work")
    project.build(offline=True)
    manifest = json.loads((project.work / "manifest.json").read_text())
    told = manifest["stages"]["download"]["sources"]["web"]
    assert told["sha256"] == hashlib.sha256(ROWS).hexdigest()
    assert told["bytes"] == len(ROWS)


def test_an_archive(project: Project) -> None:
    """An archive comes from a URL of any name, and is unpacked safely; its media are found inside."""
    with BadServer({"get": archive()}) as server:
        write(project, {"image": "image"}, url=server.url("get") + "?id=5&access_token=abc123xyz")
        project.build()
    assert [row["image"]["bytes"] for row in project.split("train").to_pylist()] == [png(n) for n in range(5)]
    assert "abc123xyz" not in (project.work / "manifest.json").read_text()


def test_a_page_in_place_of_the_file(project: Project) -> None:
    """A login page that comes with status 200 is no annotation file; the build that finds the file goes on."""
    with BadServer({"rows.jsonl": ROWS}, {"rows.jsonl": [*[faults.html(content_type="text/plain")] * 5, OK]}) as server:
        write(project, {"text": "string"}, url=server.url("rows.jsonl"))
        with pytest.raises(SourceError, match="a page came in place of the file"):
            project.build()
        project.build()
    assert project.split("train").num_rows == 20


def test_a_hash_that_is_said(project: Project) -> None:
    """A file of another hash than the recipe says is an error, and is not let in; the right one is."""
    with BadServer({"rows.jsonl": ROWS}) as server:
        write(project, {"text": "string"}, url=server.url("rows.jsonl"), sha256="0" * 64)
        with pytest.raises(SourceError, match="the recipe says 0000"):
            project.build()
        assert not list((project.root / "cache").glob("media/objects/??/*"))
        write(project, {"text": "string"}, url=server.url("rows.jsonl"), sha256=hashlib.sha256(ROWS).hexdigest())
        project.build()
        assert project.split("train").num_rows == 20


def test_fallbacks(project: Project) -> None:
    """The first place that can be had is taken, in order, and the others are noted."""
    with BadServer({"rows.jsonl": ROWS}, {"gone": [faults.status(404)]}) as server:
        places = [{"url": server.url("gone")}, {"path": "../nowhere"}, {"url": server.url("rows.jsonl")}]
        write(project, {"text": "string"}, url=refused_url("rows.jsonl"), fallbacks=places)
        report = project.build()
    assert project.split("train").num_rows == 20
    notes = " ".join(report.stages[0].notes)
    assert "answers 404" in notes
    assert "nowhere" in notes


def test_none_of_the_places(project: Project) -> None:
    """When no place has the files, each is said with its reason."""
    with BadServer({}, {"a": [faults.status(404)], "b": [faults.status(403)]}) as server:
        write(project, {"text": "string"}, url=server.url("a"), fallbacks=[{"url": server.url("b")}])
        with pytest.raises(SourceError, match="from none of its places") as error:
            project.build()
    assert "answers 404" in str(error.value)
    assert "answers 403" in str(error.value)


def test_offline_without_the_file(project: Project) -> None:
    """A source that was never fetched cannot be built offline."""
    write(project, {"text": "string"}, url=refused_url("rows.jsonl"))
    with pytest.raises(SourceError, match="is not in the cache, and this build is offline"):
        project.build(offline=True)
