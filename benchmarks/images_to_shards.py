"""10,000 JPEGs into shards: Shardwright against `datasets` embedding the same files, each as a whole process.

    python benchmarks/images_to_shards.py [COUNT] [ROUNDS]

Both start from the same JSON Lines file and folder and end with Parquet shards that hold the bytes. Shardwright also
hashes and probes every image (it decodes each one whole, which `datasets` does not), reads every shard back, and writes
the card. Prints the median of the rounds, taken in turn, and the ratio.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PEER = """
import sys
from datasets import Dataset, Features, Image, Value
import json
folder, out = sys.argv[1:]
rows = [json.loads(line) for line in open(f"{folder}/rows.jsonl")]
data = Dataset.from_dict({"image": [f"{folder}/{row['image']}" for row in rows], "text": [row["text"] for row in rows]},
                         features=Features({"image": Image(), "text": Value("string")}))
from datasets.table import embed_table_storage
data = data.with_format("arrow").map(embed_table_storage, batched=True, batch_size=500,
                                     cache_file_name=f"{out}/cache.arrow").with_format(None)
data.to_parquet(f"{out}/train.parquet")
"""


def make_pictures(folder: Path, count: int) -> int:
    """Write `count` different JPEGs of about 33 kB and their annotation file; returns their bytes."""
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(7)
    base = noise.integers(0, 256, (320, 320, 3), np.uint8)
    total = 0
    with (folder / "rows.jsonl").open("w") as rows:
        for number in range(count):
            picture = np.roll(base, number * 37, axis=number % 2).copy()
            picture[:32, :32] = noise.integers(0, 256, (32, 32, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=40)
            name = f"images/{number:06d}.jpg"
            (folder / name).write_bytes(buffer.getvalue())
            total += len(buffer.getvalue())
            rows.write(json.dumps({"image": name, "text": f"picture {number}"}) + "\n")
    return total


def write_recipe(folder: Path, source: Path) -> Path:
    for name in ("recipes", "schemas", "dataset_cards"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "schemas" / "bench.yaml").write_text("name: bench\ncolumns: {image: image, text: string}\n")
    (folder / "dataset_cards" / "bench.md").write_text("# Bench\n")
    recipe = folder / "recipes" / "bench.yaml"
    recipe.write_text(
        f"name: bench\nschema: bench\nsources: {{mine: {{path: {source}}}}}\n"
        "configs: {default: {splits: {train: {files: rows.jsonl}}}}\n"
    )
    return recipe


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; returns its seconds and its peak memory in MB, that of worker processes left out."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    results: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        total = make_pictures(folder / "source", count)
        print(f"{count:,} JPEGs, {total / 1e6:,.0f} MB; {os.cpu_count()} processors, Python {sys.version.split()[0]}")
        recipe = write_recipe(folder, folder / "source")
        time.sleep(2.5)  # files younger than two seconds are not trusted by their times
        command = [
            sys.executable,
            "-m",
            "pipeline",
            "card",
            str(recipe),
            "--work",
            str(folder / "work"),
            "--out",
            str(folder / "out"),
            "--cache",
            str(folder / "cache"),
        ]
        for _ in range(rounds):
            for workers in ("1", "2"):
                for name in ("work", "out", "cache"):
                    shutil.rmtree(folder / name, ignore_errors=True)
                results.setdefault(f"shardwright, {workers} at work", []).append(
                    timed([*command, "--workers", workers])
                )
            shutil.rmtree(folder / "work")
            shutil.rmtree(folder / "out")
            results.setdefault("shardwright, media known", []).append(timed([*command, "--workers", "1"]))
            results.setdefault("nothing changed", []).append(timed([*command, "--workers", "1"]))
            shutil.rmtree(folder / "peer", ignore_errors=True)
            (folder / "peer").mkdir()
            peer_command = [sys.executable, "-c", PEER, str(folder / "source"), str(folder / "peer")]
            results.setdefault("datasets", []).append(timed(peer_command))
    peer = statistics.median(seconds for seconds, _ in results["datasets"])
    for name, runs in results.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        memory = statistics.median(memory for _, memory in runs)
        print(f"{name:<26} {seconds:6.2f} s  {memory:6.0f} MB  {seconds / peer:5.2f} of datasets")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"processor seconds in all: {children.ru_utime + children.ru_stime:.1f}")


if __name__ == "__main__":
    main()
