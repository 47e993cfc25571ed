"""Looking after what was fetched: `shardwright store ls|verify|prune` and `shardwright ledger`, as commands."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.media.store_care import in_use
from tests.network import faults
from tests.network.bad_server import BadServer
from tests.project import Project, png

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*command: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, list(command))


def write(project: Project, urls: list[str], **more: Any) -> None:
    """Write a project whose rows ask for URLs."""
    project.rows("rows.jsonl", [{"image": url} for url in urls])
    splits = {"train": {"files": "rows.jsonl"}}
    fetch = {"allow_hosts": ["127.0.0.1"], "tries": 1}
    project.write({"configs": {"default": {"splits": splits}}, "fetch": fetch, **more}, {"image": "image"})


@pytest.fixture
def built(project: Project) -> Project:
    """Give a project that was built from three URLs, one of which is not there."""
    with BadServer({"a.png": png(1), "b.png": png(2)}) as server:
        write(project, [server.url(name) for name in ("a.png", "b.png", "gone.png")])
        project.build()
    return project


def objects(cache: Path) -> list[Path]:
    """Return the objects of a store."""
    return sorted(path for path in cache.glob("media/objects/??/*") if len(path.name) == 64)


def test_ls_and_verify(built: Project) -> None:
    """Objects are listed with their bytes; a damaged one is found, set aside, and fetched again by the next build."""
    cache = str(built.root / "cache")
    listed = run("store", "ls", "--cache", cache).output
    assert listed.endswith(f"2 objects, {len(png(1)) + len(png(2)):,} bytes\n")
    assert run("store", "verify", "--cache", cache).exit_code == 0
    (one, _) = objects(built.root / "cache")
    one.write_bytes(b"x" * one.stat().st_size)
    found = run("store", "verify", "--cache", cache)
    assert found.exit_code == 1
    assert one.name in found.output
    assert len(objects(built.root / "cache")) == 1
    assert run("store", "verify", "--cache", cache).exit_code == 0


def test_prune_keeps_what_a_workspace_needs(built: Project, tmp_path: Path) -> None:
    """What no workspace names is removed, and only when it is said; what any of them names stays."""
    cache = built.root / "cache"
    other = Project(tmp_path / "other")
    (other.root / "cache").symlink_to(cache)
    with BadServer({"c.png": png(3)}) as server:
        write(other, [server.url("c.png")])
        other.build()
    assert len(objects(cache)) == 3
    assert run("store", "prune", "--cache", str(cache)).output.startswith("0 objects")
    shutil.rmtree(other.root / "work")
    counted = run("store", "prune", "--cache", str(cache)).output
    assert counted.startswith(f"1 objects, {len(png(3)):,} bytes could be removed")
    assert len(objects(cache)) == 3
    assert run("store", "prune", "--yes", "--cache", str(cache)).exit_code == 0
    assert len(objects(cache)) == 2
    built.build(offline=True)


def test_prune_waits_for_builds(built: Project) -> None:
    """While a build uses the store nothing is removed."""
    cache = built.root / "cache"
    with in_use(cache, built.work):
        refused = run("store", "prune", "--yes", "--cache", str(cache))
    assert refused.exit_code == 3
    assert "in use by a build" in refused.output
    assert len(objects(cache)) == 2


def test_the_ledger_is_shown(built: Project) -> None:
    """What became of URLs is counted by host and reason, and listed for those that failed, as words and as JSON."""
    cache = str(built.root / "cache")
    table = run("ledger", "--cache", cache).output.splitlines()
    assert [line.split()[:3] for line in table[1:]] == [
        ["127.0.0.1", "stored", "2"],
        ["127.0.0.1", "fetch.status", "404"],
    ]
    counts = json.loads(run("ledger", "--json", "--cache", cache).output)
    assert counts[1] == {
        "host": "127.0.0.1",
        "reason": "fetch.status",
        "http": 404,
        "urls": 1,
        "tries": 1,
        "bytes": 0,
    }
    failed = run("ledger", "--failed", "--status", "404", "--cache", cache).output
    assert "gone.png" in failed
    assert "default rows.jsonl:3" in failed
    assert run("ledger", "--failed", "--status", "500", "--cache", cache).output == ""
    (entry,) = json.loads(run("ledger", "--failed", "--json", "--cache", cache).output)
    assert (entry["http"], entry["lasts"], entry["tries"]) == (404, "lasting", 1)


def test_retry_by_command(project: Project) -> None:
    """`cache --retry failed --status` asks again for those alone, and a status without `--retry` is a mistake."""
    met = {"a.png": [faults.status(404), faults.OK], "b.png": [faults.status(410), faults.OK]}
    with BadServer({"a.png": png(1), "b.png": png(2), "c.png": png(3)}, met) as server:
        write(project, [server.url(name) for name in ("a.png", "b.png", "c.png")])
        folders = [f"--{name}={project.root / name}" for name in ("work", "out", "cache")]
        assert run("card", str(project.recipe_path), *folders).exit_code == 0
        assert project.split("train").num_rows == 1
        done = run("cache", str(project.recipe_path), "--retry", "failed", "--status", "410", *folders)
        assert done.exit_code == 0, done.output
        assert (server.tries("a.png"), server.tries("b.png")) == (1, 2)
        alone = run("cache", str(project.recipe_path), "--status", "410", *folders)
        assert alone.exit_code == 2
        assert "--retry" in alone.output
