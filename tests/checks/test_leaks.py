"""Leaks: what stands on two sides or twice is found, and what only looks alike is not."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from pipeline.checks import leaks as module
from pipeline.checks.dataset import Dataset, Split
from pipeline.checks.facts import MEDIA_FACTS, ROW_FACTS
from pipeline.checks.files import LocalFiles
from pipeline.checks.footers import Footer
from pipeline.checks.leaks import check_leaks
from pipeline.checks.media_pass import pass_over_media
from pipeline.checks.near_pictures import near_pairs
from pipeline.checks.options import Options
from pipeline.checks.sampling import chosen_groups
from pipeline.column_type import MEDIA_STRUCT
from pipeline.media.examiners import Examiners
from pipeline.media.picture_hash import HASH_BITS, NEAR_BITS
from tests.checks.made_datasets import made_dataset, medium
from tests.checks.made_media import jpeg, saved, scene
from tests.project import MEDIA

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.problem import Problem

FORMULAS = MEDIA.parents[2] / "samples" / "formulas"
WITH_MEDIA = pa.schema({"image": MEDIA_STRUCT, "text": pa.string()})
WITH_LABELS = pa.schema({"image": MEDIA_STRUCT, "label": pa.int64()}).with_metadata(
    {"huggingface": '{"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel"}}}}'}
)
WITHOUT_MEDIA = pa.schema({"text": pa.string()})


@dataclass
class Facts:
    """A dataset without files, whose facts are told row by row."""

    folder: Path
    schema: pa.Schema = WITH_MEDIA
    splits: list[Split] = field(default_factory=list)
    rows: dict[str, pa.Table] = field(default_factory=dict)
    media: dict[str, pa.Table] = field(default_factory=dict)

    def add(self, split: str, rows: list[dict[str, Any]], *, config: str = "c", shard: int = 0) -> None:
        """Add a shard; a row says its `media` by their hashes, and values, question, answer and group by numbers."""
        name = f"{config}/{split}-{shard:05d}.parquet"
        known = next((one for one in self.splits if (one.config, one.name) == (config, split)), None)
        if known is None:
            known = Split(config=config, name=split, patterns=[])
            self.splits.append(known)
        known.files.append(name)
        facts = [{"row": number, "values": 1000 + number, "characters": 0, **row} for number, row in enumerate(rows)]
        self.rows[name] = pa.Table.from_pylist([{**dict.fromkeys(ROW_FACTS.names), **one} for one in facts], ROW_FACTS)
        media = [
            {"row": number, "column": 0, "position": position, "width": 64, "height": 64, **_told(one)}
            for number, row in enumerate(rows)
            for position, one in enumerate(row.get("media", ()))
        ]
        empty = dict.fromkeys(MEDIA_FACTS.names)
        self.media[name] = pa.Table.from_pylist([{**empty, **one} for one in media], MEDIA_FACTS)

    def found(self, **options: Any) -> list[Problem]:
        """Return the problems."""
        files = LocalFiles(self.folder)
        footers: dict[str, Footer | str] = {
            name: Footer(rows=table.num_rows, schema=self.schema, groups=(), place=None)  # type: ignore[arg-type]
            for name, table in self.rows.items()
        }
        dataset = Dataset(files=files, sizes={}, card=None, splits=self.splits, footers=footers)
        return list(check_leaks(dataset, Options(**options), self.rows, self.media))

    def places(self, **options: Any) -> list[tuple[str, str, int]]:
        """Return code, file and row of each."""
        return [(problem.code, problem.file, problem.row or 0) for problem in self.found(**options)]


def _told(medium_of_row: Any) -> dict[str, Any]:
    """Return the facts of a medium: a number, whose hash it has, or a mapping of facts."""
    if isinstance(medium_of_row, dict):
        return medium_of_row
    return {"sha256": None if medium_of_row is None else _sha(medium_of_row)}


def _sha(number: int) -> bytes:
    return number.to_bytes(16, "little")


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    """Give a dataset without rows."""
    return Facts(tmp_path)


# --- the same medium on two sides


def test_the_same_medium_on_two_sides(facts: Facts) -> None:
    """Each medium that a side shares with another is told once, with both places."""
    facts.add("train", [{"media": [1, 2]}, {"media": [3]}, {"media": [2]}])
    facts.add("test", [{"media": [4]}, {"media": [2, 2]}, {"media": [2]}], shard=0)
    facts.add("test", [{"media": [3]}], shard=1)
    problems = facts.found(select=("SW601",))
    assert [(problem.file, problem.row) for problem in problems] == [
        ("c/test-00000.parquet", 1),
        ("c/test-00001.parquet", 0),
    ]
    assert problems[0].message == "the same medium stands in 'train': c/train-00000.parquet row 0"
    assert (problems[1].config, problems[1].split) == ("c", "test")
    assert "c/train-00000.parquet row 1" in problems[1].message


def test_every_pair_of_sides_is_told(facts: Facts) -> None:
    """A medium on three sides is told for each two of them; one on very many for some of them."""
    for split in ("train", "validation", "test"):
        facts.add(split, [{"media": [7]}])
    assert facts.places(select=("SW601",)) == [
        ("SW601", "c/validation-00000.parquet", 0),
        ("SW601", "c/test-00000.parquet", 0),
        ("SW601", "c/test-00000.parquet", 0),
    ]
    for number in range(40):
        facts.add(f"s{number}", [{"media": [7]}])
    assert len(facts.places(select=("SW601",))) == module.MOST_SIDES * (module.MOST_SIDES - 1) // 2


def test_one_side_and_other_configs_are_no_leak(facts: Facts) -> None:
    """The same medium twice on one side, in another config, or unknown is none; a shard of two splits counts once."""
    facts.add("train", [{"media": [1, 1]}, {"media": [1]}, {"media": [None]}])
    facts.add("test", [{"media": [2]}, {"media": [None]}])
    facts.add("test", [{"media": [1]}], config="d")
    facts.splits[1].files += facts.splits[0].files
    assert facts.places(select=("SW6",), ignore=("SW604",)) == []


# --- nearly the same picture


def _copies(picture: Image.Image) -> dict[str, bytes]:
    return {
        "as JPEG": saved(picture, quality=60),
        "as a poor JPEG": saved(picture, quality=25),
        "half as large": saved(picture.resize((picture.width // 2, picture.height // 2)), "PNG"),
        "larger": saved(picture.resize((picture.width * 2, picture.height * 2)), "WEBP"),
        "brighter": saved(ImageEnhance.Brightness(picture).enhance(1.1), "PNG"),
        "paler": saved(ImageEnhance.Contrast(picture).enhance(0.85), "PNG"),
        "in grey": saved(picture.convert("L"), "PNG"),
    }


def _problems(folder: Path, train: list[bytes], test: list[bytes], **options: Any) -> list[Problem]:
    """Return what leaks between pictures that are really decoded."""
    sides = {"train": train, "test": test}
    dataset = made_dataset(folder, {side: [{"image": medium(one)} for one in data] for side, data in sides.items()})
    chosen, _ = chosen_groups(dataset, Options())
    with Examiners(1) as processes:
        media = {name: table for name, table, *_ in pass_over_media(dataset, Options(), chosen, processes)}
    return list(check_leaks(dataset, Options(**options), {}, media))


def test_copies_of_a_picture_are_found(tmp_path: Path) -> None:
    """A picture saved again, resized, brighter, paler or in grey is told, with how far it is from the other."""
    copies = _copies(scene(1, (320, 240)))
    others = [jpeg(number) for number in range(5, 15)]
    problems = _problems(tmp_path, [others[0], saved(scene(1, (320, 240)), "PNG"), *others[1:]], list(copies.values()))
    assert [(problem.code, problem.split, problem.row) for problem in problems] == [
        ("SW602", "test", number) for number in range(len(copies))
    ]
    start = "nearly the same picture stands in 'train': default/train-00000-of-00001.parquet row 1 ("
    assert all(problem.message.startswith(start) for problem in problems)
    assert all(int(problem.message[len(start) :].split()[0]) <= NEAR_BITS for problem in problems)


def test_the_same_bytes_are_not_told_twice(tmp_path: Path) -> None:
    """A picture that stands on both sides byte for byte is no near one; the smaller side is asked."""
    problems = _problems(tmp_path, [jpeg(1), jpeg(2, quality=60)], [jpeg(1), jpeg(2, quality=90), jpeg(3)])
    assert [(problem.code, problem.split, problem.row) for problem in problems] == [
        ("SW601", "test", 0),
        ("SW602", "train", 1),
    ]


def _chart(number: int) -> Image.Image:
    draw = np.random.default_rng(number)
    picture = Image.new("RGB", (320, 240), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((30, 20, 300, 210), outline="black")
    for bar in range(8):
        pen.rectangle((40 + 32 * bar, 210 - int(draw.integers(10, 180)), 62 + 32 * bar, 210), fill=(31, 119, 180))
    return picture


def _words(number: int) -> Image.Image:
    draw = np.random.default_rng(number)
    picture = Image.new("L", (300, 400), 255)
    pen = ImageDraw.Draw(picture)
    for line in range(24):
        pen.text((10, 10 + 16 * line), "".join(chr(97 + letter) for letter in draw.integers(0, 26, 44)), fill=0)
    return picture


def _slope(number: int) -> Image.Image:
    row = np.linspace(number, 255 - number, 200).astype(np.uint8)
    return Image.fromarray(np.tile(row, (150, 1)))


ALIKE = {
    "plain colours": lambda number: Image.new("RGB", (200, 150), (number * 9, 40, 90)),
    "slopes": _slope,
    "charts": _chart,
    "pages of text": _words,
    "lines of text": lambda number: _words(number).crop((0, 8, 300, 24)),
    "white on black": lambda number: Image.eval(_words(number), lambda grey: 255 - grey),
    "noise": lambda number: Image.fromarray(np.random.default_rng(number).integers(0, 256, (150, 200), np.uint8)),
    "tiny scenes": lambda number: scene(number % 6, (28, 28)),
    "scenes": scene,
}


@pytest.mark.parametrize("kind", ALIKE)
def test_pictures_that_are_alike_in_kind_only(kind: str, tmp_path: Path) -> None:
    """Pictures of one kind that show different things are not nearly the same, however little is in them."""
    pictures = [saved(ALIKE[kind](number), "PNG") for number in range(24)]
    # tiny ones that are the same, too: nothing can be said of so few pixels
    pictures = [data + bytes(number) for number, data in enumerate(pictures)]
    assert _problems(tmp_path, pictures[:16], pictures[16:]) == []


def test_formulas_are_not_nearly_the_same(tmp_path: Path) -> None:
    """Real formulas on white pages: no false alarm among them."""
    with (FORMULAS / "formulas.csv").open(newline="") as text:
        assert len(list(csv.DictReader(text))) == 30
    pictures = [path.read_bytes() for path in sorted((FORMULAS / "images").iterdir())]
    assert len(pictures) == 30
    assert _problems(tmp_path, pictures[:20], pictures[20:]) == []


def test_frames_of_a_clip_are_nearly_the_same(tmp_path: Path) -> None:
    """Neighbouring frames of a real clip leak, those of other clips do not."""
    import av

    frames = {}
    for name in ("bigbuckbunny.mp4", "nasa_13013.mp4", "chaplin.mp4"):
        with av.open(str(MEDIA / name)) as container:
            frames[name] = [frame.to_image() for _, frame in zip(range(62), container.decode(video=0), strict=False)]
    near = [saved(frames["bigbuckbunny.mp4"][number], "PNG") for number in (40, 41)]
    others = [saved(frames[name][60], "PNG") for name in ("nasa_13013.mp4", "chaplin.mp4")]
    problems = _problems(tmp_path, [near[0], *others], [near[1], saved(frames["chaplin.mp4"][0], "PNG")])
    assert [(problem.code, problem.row) for problem in problems] == [("SW602", 0)]


def _hashes(draw: np.random.Generator, count: int) -> np.ndarray:
    bits = np.zeros((count, HASH_BITS), np.uint8)
    bits[:, : HASH_BITS // 2] = 1
    return np.packbits(draw.permuted(bits, axis=1), axis=1).view(np.uint64)


def _flipped(draw: np.random.Generator, hashes: np.ndarray, count: int) -> np.ndarray:
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in bits:
        row[draw.choice(HASH_BITS, count, replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


@pytest.mark.parametrize("sides", [2, 5, 300])
def test_near_pairs_are_those_of_all_pairs(sides: int) -> None:
    """What is found by pieces of hashes is what comparing all with all finds."""
    draw = np.random.default_rng(sides)
    base = _hashes(draw, 300)
    hashes = np.concatenate([base, *(_flipped(draw, base[:60], bits) for bits in range(4, 13))])
    side = draw.integers(0, sides, len(hashes)).astype(np.int16)
    shape = draw.choice([0.0, 0.02, 0.5], len(hashes))
    asked = side != np.argmax(np.bincount(side))
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    near = (distance <= NEAR_BITS) & (side[:, None] != side[None]) & (np.abs(shape[:, None] - shape[None]) <= 0.05)
    near &= asked[:, None]
    found, partners, bits = near_pairs(hashes, side, shape, asked)
    assert set(found.tolist()) == set(np.flatnonzero(near.any(axis=1)).tolist())
    assert len(found) > 50
    assert near[found, partners].all()
    assert (distance[found, partners] == bits).all()


def test_hashes_that_are_alike_in_parts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nearly all share most bits, no more pairs are compared than allowed; what is found is right."""
    from pipeline.checks import near_pictures

    monkeypatch.setattr(near_pictures, "MOST_COMPARED", 1_000_000)
    draw = np.random.default_rng(3)
    hashes = np.repeat(_hashes(draw, 1), 20_000, axis=0)
    hashes[:, 0] ^= draw.integers(0, 1 << 40, len(hashes)).astype(np.uint64)
    side = (np.arange(len(hashes)) % 2).astype(np.int16)
    began = time.process_time()
    found, partners, bits = near_pairs(hashes, side, np.zeros(len(hashes)), side == 1)
    assert time.process_time() - began < 5
    assert (np.bitwise_count(hashes[found] ^ hashes[partners]).sum(axis=1) == bits).all()
    assert (bits <= NEAR_BITS).all()


# --- groups, rows, answers


def test_groups_on_two_sides(facts: Facts) -> None:
    """A value of the column of groups on two sides is told once for each pair of sides; null is no group."""
    facts.add("train", [{"group": 5}, {"group": 6}, {"group": 5}, {"group": None}])
    facts.add("test", [{"group": None}, {"group": 7}, {"group": 5}, {"group": 5}])
    (problem,) = facts.found(group="patient", select=("SW603",))
    assert (problem.file, problem.row, problem.key) == ("c/test-00000.parquet", 2, "patient")
    assert problem.message == "its 'patient' is that of a row in 'train': c/train-00000.parquet row 0"
    assert facts.found(select=("SW603",)) == []


def test_rows_that_are_the_same(facts: Facts) -> None:
    """Rows of one side with the same values and media are told from the second on, over all its shards."""
    same = {"values": 1, "media": [1, 2]}
    facts.add("train", [same, {"values": 1, "media": [2, 1]}, {"values": 2, "media": [1, 2]}, same])
    facts.add("train", [{"values": 1, "media": [1]}, same], shard=1)
    facts.add("test", [same])
    problems = facts.found(select=("SW604",))
    assert [(p.file, p.row) for p in problems] == [("c/train-00000.parquet", 3), ("c/train-00001.parquet", 1)]
    assert {p.message for p in problems} == {
        "the row is the same as c/train-00000.parquet row 0, in every value and medium"
    }


def test_rows_whose_media_are_not_known(facts: Facts) -> None:
    """Rows are not the same when their media were not looked at, or could not be read."""
    facts.add("train", [{"values": 1, "media": [None]}, {"values": 1, "media": [None]}, {"values": 2}, {"values": 2}])
    assert facts.places(select=("SW604",)) == [("SW604", "c/train-00000.parquet", 3)]
    facts.media.clear()
    assert facts.places(select=("SW604",)) == []
    facts.schema = WITHOUT_MEDIA
    assert facts.places(select=("SW604",)) == [("SW604", "c/train-00000.parquet", row) for row in (1, 3)]


def _asked(answers: list[list[int]]) -> list[dict[str, Any]]:
    """Return rows that ask one question about each of some media, with these answers."""
    return [
        {"values": 100 * number + place, "media": [number + 1], "question": 3, "answer": answer}
        for number, some in enumerate(answers)
        for place, answer in enumerate(some)
    ]


def test_different_answers(facts: Facts) -> None:
    """Another answer to a question about the same media is told once; the same one, or another question, is not."""
    rows = _asked([[1], [1, 2, 2, 1], [4, 4], [5]])
    rows += [{"media": [1], "question": 9, "answer": 8}, {"media": [1, 2], "question": 3, "answer": 8}]
    rows += [{"question": 3, "answer": 6}, {"question": 3, "answer": 7}, {"media": [None], "question": 3, "answer": 6}]
    facts.add("train", rows)
    facts.add("test", [{"media": [4], "question": 3, "answer": 5}, {"media": [3], "question": 3, "answer": 1}])
    problems = facts.found(select=("SW605",))
    assert [(p.file, p.row) for p in problems] == [("c/train-00000.parquet", 2), ("c/test-00000.parquet", 1)]
    place = "c/train-00000.parquet row 1 ('train')"
    assert problems[0].message == f"the answer differs from that of {place}, which asks the same about the same media"


def test_several_captions_are_no_contradiction(facts: Facts) -> None:
    """A dataset whose questions usually have several answers means them; labels never do."""
    facts.add("train", _asked([[1, 2, 3] if number % 2 else [1] for number in range(100)]))
    assert facts.places(select=("SW605",)) == []
    facts.schema = WITH_LABELS
    assert len(facts.places(select=("SW605",))) == 100
    few = Facts(facts.folder)
    few.add("train", _asked([[1, 2] if number % 25 == 1 else [1] for number in range(300)]))
    assert len(few.places(select=("SW605",))) == 12


def test_nothing_is_looked_for_that_nobody_wants(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that are left out cost nothing."""
    monkeypatch.setattr(module, "media_of_config", None)
    monkeypatch.setattr(module, "rows_of_config", None)
    facts.add("train", [{"media": [1]}])
    facts.add("test", [{"media": [1]}])
    assert facts.found(ignore=("SW6",)) == []


def test_datasets_without_facts(facts: Facts) -> None:
    """No rows, or none of a split, is nothing wrong."""
    facts.add("train", [])
    facts.add("test", [])
    assert facts.found(group="patient") == []
    facts.rows.clear()
    facts.media.clear()
    assert facts.found(group="patient") == []
