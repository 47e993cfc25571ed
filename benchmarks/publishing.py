"""Requests and bytes of pushes to Hugging Face: ours, `upload_folder` and `datasets.push_to_hub` on the same rows.

    python benchmarks/publishing.py [PICTURES]

Four pushes one after the other: the first, one of nothing new, one after 1 % of the captions changed (every hundredth
row), and one after 1 % of rows were added. The hub is the double of the tests on the loopback, so times are left out:
what is counted is what a real hub would be asked and sent. Xet and Git LFS are counted apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import arguments, print_machine
from projects import make_pictures, settle, write_recipe

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.network.hf_pushes import PushableDouble  # noqa: E402

SHARDS = "shards: {max_bytes: 10MB}\n"
UPLOAD_FOLDER = """
import sys
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
api = HfApi()
api.create_repo(sys.argv[2], repo_type="dataset", private=True, exist_ok=True)
api.upload_folder(
    folder_path=sys.argv[1], repo_id=sys.argv[2], repo_type="dataset", delete_patterns=["**/*.parquet"]
)
"""
PUSH_TO_HUB = """
import sys
import datasets
datasets.disable_progress_bars()
rows = datasets.load_dataset("parquet", data_files=sys.argv[1] + "/default/*.parquet", split="train",
                             cache_dir=sys.argv[3])
rows.push_to_hub(sys.argv[2], private=True, max_shard_size="10MB")
"""


def main() -> None:
    count, _ = arguments(2_000, 1)
    print_machine()
    for xet in (True, False):
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            folder = Path(scratch)
            print(f"\n## {'Xet' if xet else 'Git LFS'}\n")
            print("| push | way | requests to the hub | commits | bytes of contents sent | of the first |")
            print("|---|---|---:|---:|---:|---:|")
            measure(folder, count, xet=xet)


def measure(folder: Path, count: int, *, xet: bool) -> None:
    """Make four pushes in three ways, each way to a hub of its own."""
    extra = count // 100
    made = folder / "made"
    make_pictures(made, count + extra)
    rows = [json.loads(line) for line in (made / "rows.jsonl").read_text().splitlines()]
    recipe = write_recipe(folder, "pictures", "{image: image, text: string}", "rows.jsonl", SHARDS)
    (folder / "source").mkdir()
    (made / "images").rename(folder / "source" / "images")
    states = {
        "first": rows[:count],
        "nothing new": rows[:count],
        "1 % of captions changed": changed(rows[:count]),
        "1 % of rows added": changed(rows[:count]) + rows[count:],
    }
    ways = ("shardwright publish", "upload_folder", "push_to_hub")
    hubs = {way: PushableDouble(chunks=folder / f"chunks-{number}" if xet else None) for number, way in enumerate(ways)}
    first: dict[str, int] = {}
    for state, wanted in states.items():
        (folder / "source" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wanted))
        settle()
        run([sys.executable, "-m", "pipeline", "build", str(recipe)], folder, {})
        for way, hub in hubs.items():
            with hub:
                before, stored = len(hub.log), size_of(hub)
                push(way, folder, hub, xet=xet)
                log = hub.log[before:]
                asked = [one for one in log if not one.path.startswith(("/_lfs/", "/_cdn/"))]
                commits = sum("/commit/" in one.path and one.method == "POST" for one in log)
                bodies = sum(len(one.body) for one in log if one.method == "PUT" or "/commit/" in one.path)
            sent = bodies + size_of(hub) - stored
            first.setdefault(way, sent)
            print(f"| {state} | {way} | {len(asked)} | {commits} | {sent:,} | {sent / first[way]:.1%} |", flush=True)


def changed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Give every hundredth row another caption."""
    return [{**row, "text": f"another {row['text']}"} if number % 100 == 7 else row for number, row in enumerate(rows)]


def push(way: str, folder: Path, hub: PushableDouble, *, xet: bool) -> None:
    """Push the dataset once."""
    environment = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_alice",
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "" if xet else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    out = str(folder / "out" / "pictures")
    commands = {
        "shardwright publish": ["-m", "pipeline", "publish", out, "--to", "huggingface:alice/pictures", "--yes"],
        "upload_folder": ["-c", UPLOAD_FOLDER, out, "alice/pictures"],
        "push_to_hub": ["-c", PUSH_TO_HUB, out, "alice/pictures", str(folder / "datasets")],
    }
    run([sys.executable, *commands[way]], folder, environment)


def run(command: list[str], folder: Path, more: dict[str, str]) -> None:
    """Run a command of which nothing is shown unless it fails."""
    folders = {f"SHARDWRIGHT_{name.upper()}": str(folder / name) for name in ("work", "out", "cache")}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **folders, **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{command}: {done.stdout}{done.stderr}")


def size_of(hub: PushableDouble) -> int:
    """Return the bytes of contents in the storage of chunks: blocks of chunks, without its own indexes."""
    if hub.chunks is None:
        return 0
    blocks = hub.chunks.folder.glob("**/xorbs/xorbs/default.*")
    return sum(path.stat().st_size for path in blocks if path.suffix != ".tagset")


if __name__ == "__main__":
    main()
