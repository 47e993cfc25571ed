"""200,000 VideoFeedback-like JSON rows (2 kB each) to Parquet, against `datasets` and a bare orjson and pyarrow.

    python benchmarks/rows_to_parquet.py [COUNT] [ROUNDS]

Shardwright checks every value against a schema, keeps the rows in order with their lines, and writes the card;
`datasets` guesses types; the bare script is what is left when nothing is checked. JSON Lines first, then the same rows
as one JSON array, then how memory grows with the rows.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table, run, shardwright
from projects import ROW_COLUMNS, as_array, forget, make_rows, settle, write_recipe

DATASETS = """
import os, sys
from datasets import load_dataset
os.makedirs(sys.argv[2])
data = load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
data.to_parquet(sys.argv[2] + "/train.parquet")
"""
BARE = """
import os, sys
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
os.makedirs(sys.argv[2])
writer, rows = None, []

def flush():
    global writer
    table = pa.Table.from_pylist(rows)
    writer = writer or pq.ParquetWriter(sys.argv[2] + "/bare.parquet", table.schema)
    writer.write_table(table)
    rows.clear()

with open(sys.argv[1], "rb") as file:
    for line in file:
        rows.append(orjson.loads(line))
        if len(rows) == 4_000:
            flush()
if rows:
    flush()
writer.close()
"""
MEMORY_ROWS = (10_000, 100_000, 1_000_000)


def main() -> None:
    count, rounds = arguments(200_000, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        source = folder / "source"
        source.mkdir()
        print_machine()
        make_rows(source / "rows.jsonl", count)
        as_array(source / "rows.jsonl", source / "rows.json")
        settle()
        for name in ("rows.jsonl", "rows.json"):
            print(f"\n{count:,} rows, {(source / name).stat().st_size / 1e6:,.0f} MB, {name}\n")
            recipe = write_recipe(folder, "rows", ROW_COLUMNS, name)
            clean = partial(forget, folder, "work", "out", "cache", "peer")
            ours = partial(shardwright, recipe, folder, "card")

            peers = {"datasets": DATASETS, "bare": BARE} if name == "rows.jsonl" else {"datasets": DATASETS}
            cases = [
                *(
                    Case(peer, [sys.executable, "-c", code, str(source / name), str(folder / "peer")], clean)
                    for peer, code in peers.items()
                ),
                Case("two workers", ours("--workers", "2"), clean),
                Case("one worker", ours("--workers", "1"), clean),
            ]
            print_table(in_turn(cases, rounds), "datasets")
        print("\n| rows | seconds | MB, largest process | MB, all processes |\n|---:|---:|---:|---:|")
        (source / "rows.json").unlink()
        recipe = write_recipe(folder, "rows", ROW_COLUMNS, "rows.jsonl")
        for rows in MEMORY_ROWS:
            (source / "rows.jsonl").unlink(missing_ok=True)
            make_rows(source / "rows.jsonl", rows)
            settle()
            forget(folder, "work", "out", "cache", "peer")
            one = run(shardwright(recipe, folder, "card", "--workers", "2"))
            print(f"| {rows:,} | {one.seconds:.2f} | {one.largest_mb:.0f} | {one.all_mb:.0f} |")


if __name__ == "__main__":
    main()
