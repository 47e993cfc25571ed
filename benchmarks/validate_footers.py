"""`validate --quick` of 1,000 and 4,000 shards: card, listing and footers, against a bare loop over the footers.

    python benchmarks/validate_footers.py [COUNT] [ROUNDS]

Whole processes are measured. The bare loop reads every footer with pyarrow and adds up the rows;
`load_dataset_builder` of `datasets` reads the card and lists the files; `load_dataset` copies every row into its cache.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table
from projects import forget, settle

ROWS = 20
BARE = """
import glob, sys
import pyarrow.parquet as pq
print(sum(pq.read_metadata(path).num_rows for path in sorted(glob.glob(sys.argv[1] + "/data/*.parquet"))))
"""
BUILDER = """
import sys
from datasets import load_dataset_builder
print(load_dataset_builder(sys.argv[1], cache_dir=sys.argv[2]).info.splits)
"""
LOAD = """
import sys
from datasets import load_dataset
print(load_dataset(sys.argv[1], cache_dir=sys.argv[2]))
"""


def main() -> None:
    count, rounds = arguments(1_000, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        print_machine()
        for shards in (count, 4 * count):
            dataset = folder / str(shards)
            # in a process of its own, or the memory of what writes would count for what is measured
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
                size = apart.submit(make_dataset, dataset, shards).result()
            settle()
            print(f"\n{shards:,} shards of {ROWS} rows, {size / 1e6:,.0f} MB\n")
            clean = partial(forget, folder, "cache")
            cases = [
                Case("bare loop", script(BARE, dataset)),
                Case("validate --quick", [sys.executable, "-m", "pipeline", "validate", str(dataset), "--quick"]),
                Case("load_dataset_builder", script(BUILDER, dataset, folder / "cache"), clean),
                Case("load_dataset", script(LOAD, dataset, folder / "cache"), clean),
            ]
            print_table(in_turn(cases, rounds), "bare loop")


def script(code: str, *words: Path) -> list[str]:
    """Return a command of a script."""
    return [sys.executable, "-c", code, *map(str, words)]


def make_dataset(folder: Path, shards: int) -> int:
    """Write shards as `push_to_hub` does, with a card as it writes it; returns their bytes."""
    import yaml
    from datasets import ClassLabel, Dataset, Features, Image, List, Value, disable_progress_bars

    disable_progress_bars()
    (folder / "data").mkdir(parents=True)
    label = ClassLabel(names=[f"class {number}" for number in range(10)])
    features = Features(
        image=Image(), label=label, messages=List({"role": Value("string"), "content": Value("string")})
    )
    size = estimated = 0
    for shard in range(shards):
        rows = [row_of(shard * ROWS + number) for number in range(ROWS)]
        data = Dataset.from_list(rows, features=features)
        path = folder / "data" / f"train-{shard:05d}-of-{shards:05d}.parquet"
        data.to_parquet(path)
        size += path.stat().st_size
        estimated += data.data.nbytes
    info = {
        "features": features._to_yaml_list(),  # noqa: SLF001  (as `push_to_hub` writes them)
        "splits": [{"name": "train", "num_bytes": estimated, "num_examples": shards * ROWS}],
        "download_size": size,
        "dataset_size": estimated,
    }
    config = {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}
    front = yaml.safe_dump({"dataset_info": info, "configs": [config]}, sort_keys=False)
    (folder / "README.md").write_text(f"---\n{front}---\n", encoding="utf-8")
    return size


def row_of(number: int) -> dict[str, object]:
    """Return a row that no other number gives."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, number // 65536)).save(buffer, "PNG")
    texts = {"user": f"what is picture {number}?", "assistant": f"it is {number}"}
    turns = [{"role": role, "content": text} for role, text in texts.items()]
    return {"image": {"bytes": buffer.getvalue(), "path": f"{number}.png"}, "label": number % 10, "messages": turns}


if __name__ == "__main__":
    main()
