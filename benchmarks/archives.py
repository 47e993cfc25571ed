"""10,000 JPEGs in an archive: read where they lie in it, against unpacking it first and building from the folder.

    python benchmarks/archives.py [COUNT] [ROUNDS]

The peer unpacks with `tar` or `unzip`, and builds with the same command. Our own reader unpacks with every check of
names, sizes and sums, as it does what is compressed. All give the same shards.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table, shardwright
from projects import make_pictures, put_aside, settle, write_recipe

COLUMNS = "{image: image, text: string}"
FOLDERS = ("work", "out", "cache", "unpacked")
UNZIP = "unzip -q source.zip -d unpacked" if shutil.which("unzip") else "python3 -m zipfile -e source.zip unpacked"
TOOLS = {"zip": UNZIP, "tar": "tar -xf source.tar -C unpacked"}
OURS = """
import sys
from pathlib import Path
from pipeline.sources.archive import ArchiveLimits, unpack
unpack(Path(sys.argv[1]), Path(sys.argv[2]), ArchiveLimits())
"""
BUILD = 'cd "$1" && eval "$2" && shift 2 && exec "$@"'


def pack(source: Path, kind: str) -> Path:
    archive = source.with_name(f"source.{kind}")
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
            for path in paths:
                zipped.write(path, path.relative_to(source))
    else:
        with tarfile.open(archive, "w") as tarred:
            for path in paths:
                tarred.add(path, path.relative_to(source))
    return archive


def recipe_of(folder: Path, name: str, place: str) -> Path:
    recipe = write_recipe(folder, name, COLUMNS, "rows.jsonl", "media: {image: {probe: header}}\n")
    recipe.write_text(recipe.read_text().replace("path: ../source", f"path: ../{place}"))
    return recipe


def after(folder: Path, first: str, command: list[str]) -> list[str]:
    return ["bash", "-c", BUILD, "build", str(folder), first, *command]


def main() -> None:
    count, rounds = arguments(10_000, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        source = folder / "source"
        print_machine()
        print(f"{count:,} JPEGs, {make_pictures(source, count) / 1e6:,.0f} MB")
        for kind in ("zip", "tar"):
            pack(source, kind)
        (folder / "unpacked").mkdir()  # a recipe is checked whole: what it names must be there
        build = {
            name: shardwright(recipe_of(folder, name, place), folder, "card", "--workers", "2")
            for name, place in (
                ("folder", "source"),
                ("unpacked", "unpacked"),
                ("zip", "source.zip"),
                ("tar", "source.tar"),
            )
        }
        settle()

        def clean() -> None:
            put_aside(folder, *FOLDERS)
            os.sync()  # so that nobody waits for what the one before wrote

        ours = f"{sys.executable} -c '{OURS}'"
        for kind, tool in TOOLS.items():
            peer = f"{tool.split()[0]}, then built from the folder"
            cases = [
                Case(peer, after(folder, f"mkdir unpacked && {tool}", build["unpacked"]), clean),
                Case(
                    "unpacked by our own reader, then built",
                    after(folder, f"{ours} source.{kind} unpacked", build["unpacked"]),
                    clean,
                ),
                Case("in place", build[kind], clean),
                Case("in place, nothing changed", build[kind]),
                Case("for comparison: from a folder that was there", build["folder"], clean),
            ]
            print(f"\nstored in a {kind}\n")
            print_table(in_turn(cases, rounds), peer)


if __name__ == "__main__":
    main()
