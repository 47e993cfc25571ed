"""Finding the media that rows name: how a path of a row becomes the name of a file that is there.

Paths of other machines rarely fit this one. What is tried, in this order: the path as it stands, from the root of the
source, from the annotation's folder, from the folder of `--media`, from parent folders, in archives beside the
annotations; then the file with the longest common end of the path (`/data/x/images/7.jpg` is `images/7.jpg`); the
file name alone; and, for names without an ending, the one that such files have. What finds most of a sample is taken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.new.endings import LONGEST, media_kind_of
from pipeline.new.places import folder_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.new.endings import Kind
    from pipeline.new.places import Place

SAMPLE = 300
"""Paths by which ways are compared."""
MAX_CHECKED = 200_000
"""Different paths that are looked for."""
MAX_WAYS = 40
"""Ways that are tried."""
MAX_CLIMB = 4
"""Folders that a path may climb above its annotation file."""
MAX_PARENTS = 3
"""Folders above an annotation file in which media are looked for."""
MAX_NAMESAKES = 50
"""Files of one name that are compared."""
EXAMPLES = 3
_UNFIT = frozenset("'\\{}\n\r\t`")
"""What a text inside a template should not hold."""


Paths = dict[str, dict[str, int]]
"""Annotation file -> path that it names -> rows that name it."""
Sample = list[tuple[str, str]]
"""Paths, each with its annotation file."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a path of a row becomes the name of a file in a place."""

    place: Place
    beside: bool = False
    """Whether paths start at the annotation's folder."""
    above: str = ""
    """The root of the annotations in the place, if that is a folder above it; ends in a slash."""
    start: str = ""
    """What comes before."""
    strip: str = ""
    """What is taken away at the beginning of a path."""
    name_only: bool = False
    """Whether only the file name of a path counts."""
    ending: str = ""
    """What comes behind, with its dot."""

    def name(self, value: str, file: str) -> str:
        """Return the name of the file that a path in an annotation file means."""
        if self.name_only:
            value = value.replace("\\", "/").rpartition("/")[2]
        folder = f"{self.above}{file[: file.rfind('/') + 1]}" if self.beside else ""
        return f"{folder}{self.start}{value.removeprefix(self.strip)}{self.ending}"

    def finds(self, value: str, file: str) -> bool:
        """Tell whether the file of a path is there."""
        name = self.name(value, file)
        return self.place.has(name) or ("\\" in value and self.place.has(name.replace("\\", "/")))

    @property
    def template(self) -> str | None:
        """What the recipe says of it under `path`; None: paths are as they stand."""
        item = "{{ item | basename }}" if self.name_only else "{{ item }}"
        if self.strip:
            item = f"{{{{ item.removeprefix('{self.strip}') }}}}"
        template = f"{self.start}{item}{self.ending}"
        return None if template == "{{ item }}" else template


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where the media of a column are."""

    way: Way | None
    """None: nowhere, or nothing was to be looked for."""
    found: int
    missing: int
    """Different paths."""
    rows_missing: int
    """Rows that name at least one file which is not there, at the most."""
    examples: tuple[str, ...]
    """Paths that lead nowhere."""
    unchecked: int = 0
    """Paths beyond `MAX_CHECKED`."""

    @property
    def kind(self) -> Kind | None:
        """What the files are by their ending, where paths have none."""
        return media_kind_of(f"x{self.way.ending}") if self.way is not None and self.way.ending else None


@dataclass(frozen=True, kw_only=True)
class MediaSearch:
    """Looks for media of the annotation files of one source."""

    home: Place
    """Where the annotation files are."""
    named: Place | None
    """What `--media` names."""
    archives: Sequence[Place] = ()
    """Archives beside the annotation files."""

    def look_for(self, paths: Paths) -> Found:
        """Look for the paths of annotation files."""
        way = self._best(_sample(paths))
        pairs = [(path, file) for file, named in paths.items() for path in named]
        checked = pairs[:MAX_CHECKED]
        lost = checked if way is None else [(path, file) for path, file in checked if not way.finds(path, file)]
        return Found(
            way=way,
            found=len(checked) - len(lost),
            missing=len(lost),
            rows_missing=sum(paths[file][path] for path, file in lost),
            examples=tuple(path for path, _ in lost[:EXAMPLES]),
            unchecked=len(pairs) - len(checked),
        )

    def share(self, paths: Paths) -> tuple[float, Way | None]:
        """Return the share of some texts that are paths of files, and the way to them."""
        short = {
            file: {path: rows for path, rows in named.items() if len(path) <= LONGEST} for file, named in paths.items()
        }
        sample = _sample(short)
        way = self._best(sample)
        return (_score(way, sample) / len(sample) if way is not None else 0.0), way

    def _best(self, sample: Sample) -> Way | None:
        best, most = None, 0
        for number, way in enumerate(self._ways(sample) if sample else ()):
            score = _score(way, sample)
            if score > most:
                best, most = way, score
            if most == len(sample) or number >= MAX_WAYS:
                break
        return best

    def _ways(self, sample: Sample) -> Iterator[Way]:
        deeper = any("/" in file for _, file in sample)
        places = [place for place in (self.named, self.home) if place is not None]
        for place in places:
            yield Way(place=place)
            if place is self.home and deeper:
                yield Way(place=place, beside=True)
        folder = self.home.folder
        if folder is not None:
            yield from _above(folder, sample)
        for place in self.archives:
            yield Way(place=place)
        for place in (*places, *self.archives):
            if place is self.home and deeper:
                yield from _by_longest_end(place, sample, beside=True)
            yield from _by_longest_end(place, sample)


def _above(folder: Path, sample: Sample) -> Iterator[Way]:
    """Yield the ways of paths that climb out of the annotations' root, or start at a folder above it."""
    climbed = max(_climbed(path) - file.count("/") for path, file in sample)
    parents = [parent for parent in folder.parents if len(parent.parts) > 1]
    if 0 < climbed <= min(MAX_CLIMB, len(parents)):
        top = parents[climbed - 1]
        yield Way(place=folder_place(top), beside=True, above=f"{folder.relative_to(top).as_posix()}/")
    for parent in parents[:MAX_PARENTS]:
        yield Way(place=folder_place(parent))


def _sample(paths: Paths) -> Sample:
    """Return paths of all files, spread over them."""
    pairs = [(path, file) for file, named in paths.items() for path in named]
    return pairs[:: max(1, len(pairs) // SAMPLE)][:SAMPLE]


def _score(way: Way, sample: Sample) -> int:
    return sum(way.finds(path, file) for path, file in sample)


def _climbed(path: str) -> int:
    """Return how many folders a relative path climbs at its beginning."""
    count = 0
    for part in PurePosixPath(path).parts:
        if part != "..":
            break
        count += 1
    return count


def _by_longest_end(place: Place, sample: Sample, *, beside: bool = False) -> Iterator[Way]:
    """Yield the ways that lead to files of the same name in a place, the most frequent first.

    `beside`: only to those below the annotation's folder.
    """
    index = _namesakes(place, {_last(path) for path, _ in sample})
    votes: Counter[tuple[str, str, bool, str]] = Counter()
    for path, file in sample:
        folder = file[: file.rfind("/") + 1] if beside else ""
        last = _last(path)
        for name in index.get(last, ()):
            if not name.startswith(folder):
                continue
            ending = "" if name.endswith(last) else name[len(name.rpartition(".")[0]) :]
            whole = name.removeprefix(folder).removesuffix(ending)
            start, strip = _without_common_end(whole, path.replace("\\", "/"))
            if "\\" not in path and not _UNFIT & set(strip):
                votes[start, strip, False, ending] += 1
            votes[whole.removesuffix(last), "", True, ending] += 1
    for (start, strip, name_only, ending), _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0][2])):
        if not _UNFIT & set(start + ending):
            yield Way(place=place, beside=beside, start=start, strip=strip, name_only=name_only, ending=ending)


def _last(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _namesakes(place: Place, wanted: set[str]) -> dict[str, list[str]]:
    """Return the media of a place by their file name, or by what stands before its ending where that is wanted."""
    by_name: dict[str, list[str]] = {}
    by_stem: dict[str, list[str]] = {}
    for name in place.media:
        last = _last(name)
        for index, key in ((by_name, last), (by_stem, last.rpartition(".")[0])):
            if key in wanted and len(index.setdefault(key, [])) < MAX_NAMESAKES:
                index[key].append(name)
    return by_stem | by_name


def _without_common_end(name: str, path: str) -> tuple[str, str]:
    """Return what is left of two paths at their beginning, without the parts that both end in."""
    mine, theirs = name.split("/"), path.split("/")
    same = 0
    while same < min(len(mine), len(theirs)) and mine[-1 - same] == theirs[-1 - same]:
        same += 1
    return _beginning(mine, same), _beginning(theirs, same)


def _beginning(parts: list[str], without: int) -> str:
    return "".join(f"{part}/" for part in parts[: len(parts) - without])


def spec_of(way: Way, home: Place) -> tuple[dict[str, Any], Place | None]:
    """Return what a recipe says of a way under `media`, and the place that must be a source of its own for it.

    `within` is an absolute folder here.
    """
    place = way.place
    if place is not home and not way.beside and place.folder is not None and way.start:
        place, way = place.narrowed(way.start.rstrip("/")), replace(way, start="")
    spec: dict[str, Any] = {"path": way.template} if way.template is not None else {}
    if way.beside:
        spec |= {"relative_to": "file"} | ({"within": place.folder} if way.above else {})
    return spec, None if place is home or way.beside else place
