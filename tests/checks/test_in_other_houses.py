"""Validation in other people's repositories: the hook before a commit, CI, Python, and pointers of Git LFS."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipeline.checks.options import Options
from pipeline.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "validate.md").read_text(encoding="utf-8")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n"


@pytest.fixture
def dataset(pushed: Path, tmp_path: Path) -> Path:
    """Give a dataset in a git repository, as a clone of a hub's is."""
    folder = tmp_path / "dataset"
    shutil.copytree(pushed / "splits_one_by_one", folder)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a PATH on which `shardwright` is ours."""
    command = tmp_path / "bin" / "shardwright"
    command.parent.mkdir()
    words = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m pipeline "$@"'
    command.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
    command.chmod(0o755)
    return f"{command.parent}:/usr/bin:/bin"


def run(command: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in a folder."""
    environment = {"PATH": path, "HOME": str(folder.parent)}
    return subprocess.run(
        ["/bin/sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def files_of(folder: Path) -> set[str]:
    """Return the names of all files but those of git."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if not name.startswith(".git/")}


def spoil(folder: Path) -> None:
    """Write another number of rows into the card."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    assert "num_examples: 25" in text
    card.write_text(text.replace("num_examples: 25", "num_examples: 30"), encoding="utf-8")


def test_hook_finds_what_is_wrong(dataset: Path, path: str) -> None:
    """The hook passes a good repository and stops a commit that makes the card wrong; it leaves no file."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert f"id: {hook['id']}" in PAGE
    assert f"`{hook['entry']}`" in PAGE
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    before = files_of(dataset)
    done = run(hook["entry"], dataset, path)
    assert (done.returncode, done.stderr) == (0, "")
    spoil(dataset)
    done = run(hook["entry"], dataset, path)
    assert done.returncode == 1
    assert "the card says num_examples 30, the shards have 25" in done.stdout
    assert files_of(dataset) == before


def test_hook_starts_for_the_right_files() -> None:
    """pre-commit searches for the pattern in each changed path."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    starts = [name for name in ("README.md", "data/a.parquet", "a.parquet") if re.search(hook["files"], name)]
    assert starts == ["README.md", "data/a.parquet", "a.parquet"]
    assert not [name for name in ("docs/README.md", "README.md.bak", "a.parquet.py") if re.search(hook["files"], name)]


def ci_commands() -> Iterator[tuple[str, str]]:
    """Yield the commands of each snippet that run shardwright."""
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)):
        for command in _runs(yaml.safe_load(block)):
            yield f"block {number}", command
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for command in block.splitlines():
            yield "shell", command


def _runs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            commands = inner if isinstance(inner, list) else [inner]
            yield from (one for one in commands if key in ("run", "script", "before_script") and isinstance(one, str))
            yield from _runs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _runs(inner)


CI = [(place, command) for place, command in ci_commands() if command.startswith("shardwright")]


def test_snippets_install_and_run() -> None:
    """GitHub, GitLab and a plain shell each install from a repository, and run one command."""
    assert len({place for place, _ in CI}) == len(CI) == 3
    assert sum(command.startswith("pip install git+https://") for _, command in ci_commands()) == 3
    assert sum("git lfs pull" in command for _, command in ci_commands()) == 2
    assert "lfs: true" in PAGE


@pytest.mark.parametrize(("place", "command"), CI)
def test_snippets_tell_in_ci(place: str, command: str, dataset: Path, path: str) -> None:
    """The command of a snippet ends with 0 or 1, and its report is JSON that disturbs no later run."""
    assert place
    for code in (0, 1):
        done = run(command, dataset, path)
        assert (done.returncode, done.stderr) == (code, "")
        report = json.loads((dataset / ".validate.json").read_text(encoding="utf-8"))
        assert report["ok"] is (code == 0)
        spoil(dataset) if code == 0 else None
    assert report["counts"] == {"SW106": 1}


def test_python_of_the_page(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the page runs as it stands, and says what the command says."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(dataset.parent)
    for expected in ("\nTrue 0 0\n", "\nFalse 1 0\nSW106 README.md (default/train): num_examples the card says"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.replace("path/to/dataset", "dataset"), "validate.md", "exec"), {})  # noqa: S102
        assert expected in printed.getvalue()
        spoil(dataset) if "True" in expected else None


def test_pointers_of_git_lfs(dataset: Path, tmp_path: Path) -> None:
    """Shards that were not pulled are called pointers, whatever look one takes, and the hint says how to get them."""
    shards = sorted(dataset.glob("data/*.parquet"))
    for number, shard in enumerate(shards):
        shard.write_text(POINTER.format(f"{number:064x}"), encoding="utf-8")
    for look in (Options(look="quick"), Options()):
        report = validate(dataset, look)
        assert report.counts == {"SW301": len(shards)}
        assert "this is a pointer of Git LFS, and the file itself is not there" in str(report)
        assert "next: run `git lfs pull`" in str(report)
    table = tmp_path / "table"
    table.mkdir()
    (table / "train.csv").write_text(POINTER.format("0" * 64), encoding="utf-8")
    report = validate(table)
    assert set(report.counts) == {"SW100", "SW301"}


def test_small_files_are_no_pointers(tmp_path: Path) -> None:
    """A file of a few bytes that is no Parquet is called that."""
    (tmp_path / "train.parquet").write_bytes(b"version of something else, and long enough to be looked at")
    report = validate(tmp_path, Options(look="quick"))
    assert set(report.counts) == {"SW100", "SW301"}
    assert "pointer" not in str(report)
