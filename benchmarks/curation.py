"""Measures of texts against data-juicer's own operators, and near duplicates among many pictures: processor seconds.

    python benchmarks/curation.py PYTHON [TEXTS]

PYTHON is the interpreter of an environment with data-juicer in it (`make interop` makes one). Only the operators are
measured, without loading, starting and writing: both are given the same list of texts, which are paragraphs of this
repository's documents and captions and formulas of its samples, some of them beside each other, so that all differ.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measure import print_machine

from pipeline.media.alike import AlikeRows, LookOfMedia
from pipeline.stages.curation.text_measures import (
    char_repetition,
    letter_ratio,
    special_ratio,
    word_repetition,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
RUN = 10
MEASURES: dict[str, Callable[[str], float]] = {
    "text_length_filter": len,
    "words_num_filter": lambda text: len(words_of(text)),
    "alphanumeric_filter": letter_ratio,
    "special_characters_filter": special_ratio,
    "character_repetition_filter": lambda text: char_repetition(text, RUN),
    "word_repetition_filter": lambda text: word_repetition(words_of(text), RUN),
}
PEER = """
import importlib, json, sys, time
from data_juicer.utils.constant import Fields
texts, found = json.load(open(sys.argv[1])), {}
for name in sys.argv[3:]:
    module = importlib.import_module(f"data_juicer.ops.filter.{name}")
    operator = getattr(module, "".join(word.capitalize() for word in name.split("_")))()
    samples = {"text": texts, Fields.stats: [{} for _ in texts]}
    started = time.process_time()
    stats = operator.compute_stats_batched(samples)[Fields.stats]
    found[name] = [time.process_time() - started, [next(iter(one.values())) for one in stats]]
json.dump(found, open(sys.argv[2], "w"))
"""


def main() -> None:
    peer, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    texts = some_texts(count)
    print_machine()
    print(f"{count:,} texts of {sum(map(len, texts)) / count:.0f} characters\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        given, found = Path(scratch) / "texts.json", Path(scratch) / "found.json"
        given.write_text(json.dumps(texts), encoding="utf-8")
        subprocess.run([peer, "-c", PEER, str(given), str(found), *MEASURES], check=True, stdout=subprocess.DEVNULL)
        theirs: dict[str, list[Any]] = json.loads(found.read_bytes())
    print("| operator | the same | processor seconds | of data-juicer |")
    print("|---|---:|---:|---:|")
    for name, measure in MEASURES.items():
        started = time.process_time()
        mine = [measure(text) for text in texts]
        seconds = time.process_time() - started
        same = sum(abs(one - other) < 1e-9 for one, other in zip(mine, theirs[name][1], strict=True))
        print(f"| `{name}` | {same / count:.1%} | {seconds:.2f} | {theirs[name][0]:.2f} |")
    print("\n| hashes, a quarter of them copies | distance | processor seconds | found |\n|---:|---:|---:|---:|")
    for hashes, distance in ((100_000, 4), (400_000, 4), (100_000, 8)):
        find_alike(hashes, distance)


def find_alike(count: int, distance: int) -> None:
    """Print how long it takes to find copies of one picture, each with a bit changed, among random hashes."""
    draw = np.random.default_rng(1)
    hashes = draw.integers(0, 1 << 63, (count, 1, 2), np.uint64)
    hashes[::4] = hashes[0]
    hashes[::4, 0, 0] ^= np.uint64(1) << draw.integers(0, 64, len(hashes[::4]), np.uint64)
    look = LookOfMedia(
        hashes=hashes,
        there=np.ones((count, 1), bool),
        needed=np.ones(count, np.int64),
        shapes=np.zeros(count),
        kinds=np.zeros(count, np.uint8),
    )
    started = time.process_time()
    alike, _ = AlikeRows(look, np.arange(count), np.arange(count + 1), distance).find()
    seconds = time.process_time() - started
    print(f"| {count:,} | {distance} | {seconds:.1f} | {(alike >= 0).sum():,} |")


def some_texts(count: int) -> list[str]:
    """Return so many texts, the same every time."""
    pieces = [
        piece.strip() for file in sorted(ROOT.glob("docs/*.md")) for piece in file.read_text("utf-8").split("\n\n")
    ]
    for file in sorted(ROOT.glob("samples/*/*.json*")):
        pieces += [line.strip() for line in file.read_text("utf-8").splitlines()]
    pieces = [piece for piece in pieces if 10 <= len(piece) <= 1_000]
    draw = random.Random(1)  # noqa: S311  (texts, no secrets)
    return [" ".join(draw.choices(pieces, k=draw.randrange(1, 4))) for _ in range(count)]


if __name__ == "__main__":
    main()
