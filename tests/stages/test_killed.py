"""A build that is killed at any moment and run again ends exactly as one that was left in peace."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.project import MEDIA, png, tree

if TYPE_CHECKING:
    import pytest

    from tests.project import Project

ROOT = Path(__file__).parents[2]
CLIPS = ("video_0.mov", "video_90.mov", "test_video_66x50.mov", "h265_video.mp4")
KILLS = 15

_SCRIPT = """
import sys
from pathlib import Path
from pipeline.executor import LocalProcesses
import pipeline.executor
pipeline.executor.WORTH_A_POOL = 100_000  # so that two processes work on this little
from tests.project import Project
if __name__ == "__main__":
    print("started", flush=True)
    Project(Path(sys.argv[1])).build(workers=2)
"""


def start(project: Project, script: Path) -> subprocess.Popen[bytes]:
    """Start a build and wait until its imports are done."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    build = subprocess.Popen([sys.executable, str(script), str(project.root)], stdout=subprocess.PIPE, env=environment)
    assert build.stdout is not None
    assert build.stdout.readline() == b"started\n"
    build.stdout.close()
    return build


def result(project: Project) -> dict[str, str]:
    """Return the hashes of everything that a build leaves for others."""
    work = tree(project.work)
    return tree(project.out) | {name: work[name] for name in ("manifest.json", "rejected.parquet")}


def test_kill_at_any_moment(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After `kill -9` at random moments and a run to the end: the same files to the byte, and nothing else."""
    names = project.pictures(40)
    for number, name in enumerate(names):
        (project.source / name).write_bytes(png(number, (40, 30)) + os.urandom(5_000))
    for name in CLIPS:
        shutil.copy(MEDIA / name, project.source / name)
    rows = [{"image": name, "video": CLIPS[n] if n < 4 else None, "text": str(n % 30)} for n, name in enumerate(names)]
    project.rows("a.jsonl", [*rows[:25], {"image": "gone.png", "video": None, "text": "x"}])
    project.rows("b.jsonl", rows[25:])
    video = {"type": "video", "nullable": True}
    recipe = {
        "configs": {
            "default": {"rows": {"files": "*.jsonl"}, "splits": {"train": 0.8, "test": 0.2}},
            "files": {"splits": {"train": {"files": "b.jsonl"}}},
        },
        "curate": [{"deduplicate": ["text"]}],
        "shards": {"max_bytes": "60kB", "row_group_bytes": "20kB"},
    }
    project.write(recipe, {"image": "image", "video": video, "text": "string"})
    script = tmp_path_factory.mktemp("script") / "build.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    started = time.monotonic()
    assert start(project, script).wait() == 0
    length = time.monotonic() - started
    good = result(project)
    assert sum(name.endswith(".parquet") for name in good) > 6
    draw = random.Random(7)  # noqa: S311  (moments, not secrets)
    killed = 0
    for attempt in range(KILLS):
        if attempt % 5 == 0:  # from nothing now and then; else on top of what the killed one left
            for folder in ("work", "out", "cache"):
                shutil.rmtree(project.root / folder, ignore_errors=True)
        build = start(project, script)
        time.sleep(draw.uniform(0, length * (0.7 if attempt % 5 else 0.5)))
        build.kill()
        killed += build.wait() != 0
        if attempt % 2:
            project.build()
            assert result(project) == good
    project.build()
    assert result(project) == good
    assert killed >= KILLS // 3
    assert not list(project.out.rglob(".tmp-*"))
    assert not list(project.work.rglob(".tmp-*"))
