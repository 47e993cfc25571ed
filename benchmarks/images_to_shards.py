"""10,000 JPEGs into shards, against `datasets` embedding the same files, and `cat` of the files as the limit.

    python benchmarks/images_to_shards.py [COUNT] [ROUNDS]

All start from the same JSON Lines file and folder; ours and the peer's end with Parquet shards that hold the bytes.
Shardwright also hashes every image, looks into it as far as `probe` says (the default decodes the first frame, which
`datasets` does not), proves the bytes again while it writes, hashes the shard, and writes the card.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table, shardwright
from peer import embed_command
from projects import forget, make_pictures, settle, write_recipe

COLUMNS = "{image: image, text: string}"
CAT = 'cd "$1" && cat images/*.jpg | wc -c'


def main() -> None:
    count, rounds = arguments(10_000, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        source = folder / "source"
        print_machine()
        print(f"{count:,} JPEGs, {make_pictures(source, count) / 1e6:,.0f} MB\n")
        settle()
        recipes = {
            probe: write_recipe(folder, probe, COLUMNS, "rows.jsonl", f"media: {{image: {{probe: {probe}}}}}\n")
            for probe in ("none", "header", "decode")
        }
        clean = partial(forget, folder, "work", "out", "cache")
        cases = [
            Case("cat", ["bash", "-c", CAT, "cat", str(source)]),
            Case("datasets", embed_command(source, folder / "peer", "image"), partial(forget, folder, "peer")),
        ]
        for probe, recipe in recipes.items():
            for workers in ("2", "1"):
                name = f"probe: {probe}, {workers} at work"
                cases.append(Case(name, shardwright(recipe, folder, "card", "--workers", workers), clean))
        known = partial(forget, folder, "work", "out")
        again = shardwright(recipes["decode"], folder, "card", "--workers", "2")
        cases += [Case("probe: decode, media known", again, known), Case("nothing changed", again)]
        print_table(in_turn(cases, rounds), "datasets")


if __name__ == "__main__":
    main()
