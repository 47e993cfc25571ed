"""A build again: with nothing changed, and with 1 % new rows, against the full build.

    python benchmarks/rebuild.py [COUNT] [ROUNDS]

Rows of 2 kB with a small image each tenth row would hide what text costs, so: rows alone. What is new stands at the end
of the file, as it does when a source grows.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Case, Run, arguments, in_turn, print_machine, print_table, shardwright
from projects import ROW_COLUMNS, forget, make_rows, settle, write_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDERS = ("work", "out", "cache")
SHARDS = 'shards: {max_bytes: "30MB"}\n'


def main() -> None:
    count, rounds = arguments(200_000, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        source = folder / "source"
        source.mkdir()
        print_machine()
        make_rows(folder / "old.jsonl", count)
        make_rows(folder / "new.jsonl", count)
        make_rows(folder / "new.jsonl", count // 100, first=count)
        print(f"{count:,} rows, {(folder / 'old.jsonl').stat().st_size / 1e6:,.0f} MB, in shards of 30 MB\n")
        recipe = write_recipe(folder, "rows", ROW_COLUMNS, "rows.jsonl", SHARDS)
        command = shardwright(recipe, folder, "card", "--workers", "2", "--json")

        def with_rows(name: str) -> Callable[[], None]:
            def before() -> None:
                if name == "old.jsonl":
                    forget(folder, *FOLDERS)
                shutil.copy(folder / name, source / "rows.jsonl")
                settle()

            return before

        cases = [
            Case("full build", command, with_rows("old.jsonl")),
            Case("nothing changed", command),
            Case("1 % new rows", command, with_rows("new.jsonl")),
        ]
        runs = in_turn(cases, rounds)
        print_table(runs, "full build")
        print_stages(runs)
        print(f"shards in all: {len(list((folder / 'out').rglob('*.parquet')))}")


def print_stages(runs: dict[str, list[Run]]) -> None:
    """Print the seconds of each stage."""
    print("\n| stage | " + " | ".join(runs) + " |\n|---|" + "---:|" * len(runs))
    reports = {name: [json.loads(run.output)["stages"] for run in done] for name, done in runs.items()}
    for number, stage in enumerate(next(iter(reports.values()))[0]):
        seconds = [statistics.median(stages[number]["seconds"] for stages in done) for done in reports.values()]
        print(f"| {stage['stage']} | " + " | ".join(f"{value:.2f}" for value in seconds) + " |")


if __name__ == "__main__":
    main()
