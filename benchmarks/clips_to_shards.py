"""500 short clips into shards, each probed, against `datasets` embedding the same files; then their quick validation.

    python benchmarks/clips_to_shards.py [COUNT] [ROUNDS]

Shardwright finds each clip's frames, rate and length and decodes its first frame; `datasets` copies bytes.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table, shardwright
from peer import embed_command
from projects import forget, make_clips, settle, write_recipe


def main() -> None:
    count, rounds = arguments(500, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        source = folder / "source"
        print_machine()
        print(f"{count:,} clips of two seconds, {make_clips(source, count) / 1e6:,.0f} MB\n")
        settle()
        recipe = write_recipe(folder, "clips", "{video: video, text: string}", "rows.jsonl")
        clean = partial(forget, folder, "work", "out", "cache")
        cases = [
            Case("datasets", embed_command(source, folder / "peer", "video"), partial(forget, folder, "peer")),
            Case("one worker", shardwright(recipe, folder, "card", "--workers", "1"), clean),
            Case("two workers", shardwright(recipe, folder, "card", "--workers", "2"), clean),
            Case("validate --quick of those shards", shardwright(recipe, folder, "validate", "--quick")),
        ]
        print_table(in_turn(cases, rounds), "datasets")


if __name__ == "__main__":
    main()
