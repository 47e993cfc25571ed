"""Looking at 5,000 JPEGs in shards (`validate --full`), against a plain loop of PyArrow and Pillow that decodes them.

    python benchmarks/validate_images.py [COUNT] [ROUNDS] [WORKERS]

Both read the same shards with as many processes. The loop opens every row group, and loads every image. Shardwright
reads, hashes and decodes every image as well, in processes that may hang or die, looks how it is turned, whether it is
animated, whether row and file name say what it is, and takes the perceptual hash by which leaks are found. Without a
second split there are no leaks to be found, and no such hash is taken.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from measure import Case, arguments, in_turn, print_machine, print_table
from projects import make_pictures

SHARDS, ROWS_OF_A_GROUP = 5, 100
LOOP = """
import io, sys
from multiprocessing import get_context
from pathlib import Path
import pyarrow.parquet as pq
from PIL import Image

def decode(job):
    path, group = job
    count = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=100, row_groups=[group], columns=["image"]):
        for data in batch.column(0).field("bytes"):
            Image.open(io.BytesIO(data.as_py())).load()
            count += 1
    return count

jobs = [(path, group) for path in sorted(Path(sys.argv[1]).rglob("*.parquet"))
        for group in range(pq.read_metadata(path).num_row_groups)]
with get_context("fork").Pool(int(sys.argv[2])) as pool:
    print(sum(pool.imap_unordered(decode, jobs)))
"""
OURS = """
import sys
from pathlib import Path
from pipeline.checks.dataset import read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.media_pass import pass_over_media
from pipeline.checks.options import Options
from pipeline.checks.sampling import chosen_groups
from pipeline.media.examiners import Examiners

options = Options(look="full")
dataset, _ = read_dataset(LocalFiles(Path(sys.argv[1])))
chosen, _ = chosen_groups(dataset, options)
with Examiners(int(sys.argv[2])) as examiners:
    found = list(pass_over_media(dataset, options, chosen, examiners))
assert not any(problems for _, _, problems, _ in found), found
print(sum(facts.num_rows for _, facts, _, _ in found))
"""


def main() -> None:
    count, rounds, workers = arguments(5_000, 5, 2)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        print_machine()
        size = make_pictures(folder / "source", count)
        print(f"{count:,} JPEGs, {size / 1e6:,.0f} MB, in {SHARDS} shards; {workers} processes\n")
        for name, splits in (("one", ("train",)), ("two", ("train", "test"))):
            write_shards(folder / "source", folder / name, splits)
        on_one, on_two = ([str(folder / name), str(workers)] for name in ("one", "two"))
        cases = [
            Case("PyArrow and Pillow", [sys.executable, "-c", LOOP, *on_one]),
            Case("one split, no perceptual hashes", [sys.executable, "-c", OURS, *on_one]),
            Case("two splits, with perceptual hashes", [sys.executable, "-c", OURS, *on_two]),
        ]
        runs = in_turn(cases, rounds)
        assert {one.output.strip() for done in runs.values() for one in done} == {str(count)}
        print_table(runs, "PyArrow and Pillow")


def write_shards(source: Path, folder: Path, splits: tuple[str, ...]) -> None:
    """Write the pictures as shards, the last of them as the second split if there are two."""
    rows = [json.loads(line) for line in (source / "rows.jsonl").read_text().splitlines()]
    folder.mkdir()
    files = "".join(f"  - split: {split}\n    path: {split}-*.parquet\n" for split in splits)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    features = {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    each = -(-len(rows) // SHARDS)
    for number in range(SHARDS):
        some = rows[number * each : (number + 1) * each]
        media = [{"bytes": (source / row["image"]).read_bytes(), "path": Path(row["image"]).name} for row in some]
        table = pa.table({"image": pa.array(media, kind), "text": [row["text"] for row in some]})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        split = splits[-1] if number == SHARDS - 1 else splits[0]
        pq.write_table(
            table, folder / f"{split}-{number:05d}.parquet", row_group_size=ROWS_OF_A_GROUP, use_dictionary=False
        )


if __name__ == "__main__":
    main()
