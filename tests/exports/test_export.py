"""Exports as a whole: media by hard link, folders replaced at once or not at all, what is in the way, little memory."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import DatasetError, ProblemsFound, UsageError
from pipeline.exports import replace_folder as replacing
from pipeline.exports.export import export
from pipeline.exports.llava import Llava
from pipeline.exports.registry import format_named
from pipeline.report import Quiet
from tests.exports.small_datasets import IMAGES, records, talks, write_split
from tests.project import Project, png, tree

if TYPE_CHECKING:
    from pipeline.exports.format_folder import Exported
    from pipeline.exports.writer import Written

ASK = [("user", "<image>\nWhat?"), ("assistant", "A dog.")]
SECONDS = 60


def dataset(folder: Path, rows: int = 3, *, first: int = 0, same: bool = False) -> Path:
    """Write a dataset of one picture a row; returns its folder."""
    pictures = [[png(0 if same else first + number)] for number in range(rows)]
    write_split(folder, talks([ASK] * rows, {"images": pictures}), {**IMAGES, "messages": {}})
    return folder


def run(folder: Path, out: Path, *names: str, **options: Any) -> list[Exported]:
    """Export to some formats."""
    return export(folder, [format_named(name) for name in names or ("llava",)], out=out, display=Quiet(), **options)


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_medium_is_one_file_in_all_formats(tmp_path: Path) -> None:
    """Three formats, four rows of one picture: one inode with four names, and nothing else takes its bytes again."""
    out = tmp_path / "out"
    run(dataset(tmp_path / "d", 4, same=True), out, "llava", "internvl", "xtuner")
    media = [path for path in files_below(out) if path.suffix == ".png"]
    assert len(media) == 4
    assert len({path.stat().st_ino for path in media}) == 1
    assert media[0].stat().st_nlink == len(media)
    assert media[0].read_bytes() == png(0)


def test_media_that_no_export_has_are_removed(tmp_path: Path) -> None:
    """When an export is replaced by one of fewer rows, its other media go; those of another format stay."""
    out = tmp_path / "out"
    folder = dataset(tmp_path / "d", 3)
    write_split(folder, talks([ASK], {"images": [[png(7)]]}), {**IMAGES, "messages": {}}, split="test")
    run(folder, out, "llava")
    assert len(list((out / "media").rglob("*.png"))) == 4
    run(folder, out, "qwen-vl", split="test")
    run(folder, out, "llava", split="test")
    assert len(list((out / "media").rglob("*.png"))) == 1
    assert sorted(path.name for path in (out / "llava").iterdir()) == ["losses.json", "media", "test.json"]


def test_a_damaged_shared_medium_is_made_anew(tmp_path: Path) -> None:
    """Bytes that somebody changed behind a link are found by their hash; the next export has the right ones."""
    out, folder = tmp_path / "out", dataset(tmp_path / "d", 1)
    run(folder, out)
    shared = next((out / "media").rglob("*.png"))
    shared.write_bytes(b"something else")
    run(folder, out)
    assert {path.read_bytes() for path in files_below(out) if path.suffix == ".png"} == {png(0)}


def test_where_there_are_no_links_media_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot link gets copies, and the report says how many."""

    def refuse(source: Any, target: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(target))

    monkeypatch.setattr("pipeline.exports.shared_media.os.link", refuse)
    done = run(dataset(tmp_path / "d", 3), tmp_path / "out")
    assert done[0].copied == 3
    media = [path for path in files_below(tmp_path / "out" / "llava") if path.suffix == ".png"]
    assert sorted(path.read_bytes() for path in media) == sorted(png(number) for number in range(3))
    assert {path.stat().st_nlink for path in media} == {1}


def test_the_same_dataset_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """A newer export takes the place of an older one of the same name; foreign folders and other datasets are kept."""
    out = tmp_path / "out"
    run(dataset(tmp_path / "a" / "talk", 2), out)
    run(dataset(tmp_path / "b" / "talk", 3), out)
    assert len(records(out / "llava" / "train.json")) == 3
    before = tree(out)
    with pytest.raises(UsageError, match="is an export of 'talk', and not of 'other'"):
        run(dataset(tmp_path / "other", 1), out)
    assert tree(out) == before
    (out / "xtuner").mkdir()
    (out / "xtuner" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already, and no export of ours"):
        run(tmp_path / "a" / "talk", out, "llava", "xtuner")
    assert (out / "xtuner" / "mine.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="lies in the dataset itself"):
        run(tmp_path / "a" / "talk", tmp_path / "a" / "talk" / "out")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_broken_rule_leaves_the_old_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool
) -> None:
    """What its target would not read is never put in place, and nothing of it stays behind; then a good one is."""
    out = tmp_path / "out"
    if not can_exchange:
        monkeypatch.setattr(replacing, "_exchanged", lambda *_: False)
    run(dataset(tmp_path / "a" / "talk", 2), out)
    before = tree(out)
    newer = dataset(tmp_path / "b" / "talk", 3)

    class Strict(Llava):
        def check(self, folder: Path, written: list[Written]) -> list[str]:
            return [f"{path.name} is not liked" for path in folder.glob("*.json")] + super().check(folder, written)

    with pytest.raises(ProblemsFound, match=r"train\.json is not liked"):
        export(newer, [Strict()], out=out, display=Quiet())
    assert tree(out) == before
    run(newer, out)
    assert len(records(out / "llava" / "train.json")) == 3
    assert not list(out.glob(".tmp-*"))


def test_an_old_folder_that_stood_aside_is_put_back(tmp_path: Path) -> None:
    """A kill between two renames, where folders cannot be exchanged at once, is mended by the next export."""
    out, folder = tmp_path / "out", dataset(tmp_path / "d", 2)
    run(folder, out)
    before = tree(out)
    (out / "llava").rename(out / ".tmp-old-llava")
    (out / ".tmp-1234-llava").mkdir()
    with pytest.raises(ProblemsFound):
        export(folder, [_Never()], out=out, display=Quiet())
    assert tree(out) == before


class _Never(Llava):
    """Likes nothing."""

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        return [f"{folder.name} has {len(written)} splits"]


def test_a_killed_export_leaves_the_old_one(tmp_path: Path) -> None:
    """Killed at any moment, an export leaves the old folder whole or the new one; the next one tidies up."""
    out = tmp_path / "out"
    run(dataset(tmp_path / "a" / "talk", 2), out)
    newer = dataset(tmp_path / "b" / "talk", 400)
    command = [sys.executable, "-m", "pipeline", "export", newer, "--to", "llava", "--out", out]
    began = time.monotonic()
    for patience in (0.0, 0.05):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], start_new_session=True)
        try:
            while process.poll() is None and not list(out.glob(".tmp-*-llava")):
                assert time.monotonic() - began < SECONDS
                time.sleep(0.005)
            time.sleep(patience)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)
        assert len(records(out / "llava" / "train.json")) in (2, 400)
    run(newer, out)
    assert len(records(out / "llava" / "train.json")) == 400
    assert not list(out.glob(".tmp-*"))


def test_rows_without_conversations(tmp_path: Path) -> None:
    """What a row says is asked for with an example that works; formats that need none take the columns."""
    folder, out = tmp_path / "d", tmp_path / "out"
    table = pa.table({"image": [{"bytes": png(1), "path": "a.png"}], "caption": ["A dog."]})
    write_split(folder, table, {"image": {"_type": "Image"}})
    with pytest.raises(DatasetError, match="no column holds conversations") as raised:
        run(folder, out)
    assert "--schema FILE" in raised.value.hint
    assert not out.exists()
    schema = tmp_path / "said.yaml"
    schema.write_text(raised.value.hint.partition("\n")[2])
    done = CliRunner().invoke(
        main, ["export", str(folder), "--to", "llava", "--schema", str(schema), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["rows"] == 1
    assert records(out / "llava" / "train.json")[0]["conversations"][1] == {"from": "gpt", "value": "A dog."}


def test_the_command(tmp_path: Path) -> None:
    """Its exit codes, and what it prints of losses."""
    folder, out = tmp_path / "d", tmp_path / "out"
    rows = [ASK, [("user", "<image><image>"), ("assistant", "Two.")], [("user", "<image>"), ("robot", "?")]]
    write_split(folder, talks(rows, {"images": [[png(1)], [png(1), png(2)], []]}), {**IMAGES, "messages": {}})

    def told(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["export", str(folder), "--out", str(out), *arguments])
        return done.exit_code, done.output

    code, text = told("--to", "llava")
    assert code == 0
    assert "llava: 1 row written" in text
    assert "left out 1 row: several images, of which LLaVA has one" in text
    assert "data/train-00000-of-00001.parquet row 1" in text
    assert "[conversation.role]" in text
    assert told("--to", "lava")[0] == UsageError.exit_code
    assert "--to is missing" in told()[1]
    assert told("--to", "llava", "--split", "test")[0] == DatasetError.exit_code
    write_split(folder, talks(rows[1:2], {"images": [[png(1), png(2)]]}), {**IMAGES, "messages": {}})
    code, text = told("--to", "llava", "--to", "qwen-vl")
    assert code == ProblemsFound.exit_code
    assert "llava: no row can be carried over; nothing is written" in text
    assert len(records(out / "qwen-vl" / "train.jsonl")) == 1
    assert len(records(out / "llava" / "train.json")) == 1


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    """Of 96 MB of media in one row group, in pages as builds write them, only a few are in memory at a time."""
    rows, each = 96, 1 << 20
    pictures = [[png(number) + os.urandom(each)] for number in range(rows)]
    table = talks([ASK] * rows, {"images": pictures})
    pages = {"compression": "none", "use_dictionary": False, "write_batch_size": 1, "data_page_size": each}
    write_split(tmp_path / "d", table, {**IMAGES, "messages": {}}, **pages)
    small = dataset(tmp_path / "small", 1)
    # not what is mapped of the shard, which the system may take back at any time
    script = (
        "import re, sys\n"
        "from contextlib import contextmanager\n"
        "from pathlib import Path\n"
        "from pipeline.exports.export import export\n"
        "from pipeline.exports.registry import format_named\n"
        "def held(): return int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) >> 10\n"
        "class Watching:\n"
        "    most = 0\n"
        "    @contextmanager\n"
        "    def stage(self, *_): yield self\n"
        "    def advance(self, _): self.most = max(self.most, held())\n"
        "def peak(folder, out):\n"
        "    display = Watching()\n"
        "    done = export(Path(folder), [format_named('llava')], out=Path(out), display=display)\n"
        "    return done[0].rows, display.most\n"
        "small, large, out = sys.argv[1:]\n"
        "_, before = peak(small, out + '/small')\n"
        "rows, after = peak(large, out + '/large')\n"
        "print(rows, after - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, small, tmp_path / "d", tmp_path / "out"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    count, grown = map(int, done.stdout.split())
    assert count == rows
    # of 96 MB of media in the row group
    assert grown < 64


def test_a_recipe_says_what_its_rows_say(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A recipe may stand for its dataset, which must be built; its schemas make conversations of the columns."""
    paths = project.pictures(2)
    project.rows("rows.jsonl", [{"image": path, "text": "A dot."} for path in paths])
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": "rest"}}
    turns = [{"user": [{"image": "image"}, "What?"]}, {"assistant": "{{ text }}"}]
    project.write({"configs": {"default": config}}, {"image": "image", "text": "string"}, conversation=turns)
    monkeypatch.setenv("SHARDWRIGHT_OUT", str(project.root / "out"))
    command = ["export", str(project.recipe_path), "--to", "llava", "--out", str(tmp_path / "exports")]
    early = CliRunner().invoke(main, command)
    assert early.exit_code == 2
    assert "build it: shardwright build" in early.output
    project.build()
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    said = [record["conversations"] for record in records(tmp_path / "exports" / "llava" / "train.json")]
    assert said == [[{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A dot."}]] * 2
