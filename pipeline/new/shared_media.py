"""Media that files of two splits name: the build keeps each on one side, so rows of the other side are left out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.new.media_match import Paths, Way


def rows_on_two_sides(splits: dict[str, list[str]], paths: Paths, way: Way | None) -> tuple[int, int]:
    """Return how many media stand in more than one split, and the rows at the most that are left out for that.

    The split with the fewest rows keeps a medium, as the build has it.
    """
    split_of = {file: split for split, files in splits.items() for file in files}
    sizes: Counter[str] = Counter()
    rows: dict[str, Counter[str]] = {}
    for file, named in paths.items():
        split = split_of[file]
        for path, count in named.items():
            sizes[split] += count
            rows.setdefault(way.name(path, file) if way is not None else path, Counter())[split] += count
    shared = [by_split for by_split in rows.values() if len(by_split) > 1]
    lost = sum(by_split.total() - by_split[min(by_split, key=lambda split: sizes[split])] for by_split in shared)
    return len(shared), lost
