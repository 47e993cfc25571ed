"""What changed between two releases: counted exactly, and read only where contents differ."""

# ruff: noqa: F811  fixtures of another file, which tests name as their arguments

from __future__ import annotations

import io
import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.checks.files import LocalFiles
from pipeline.checks.hub_files import HubFiles
from pipeline.errors import SourceError, UsageError
from pipeline.executor import LocalProcesses
from pipeline.publish import shard_digests
from pipeline.publish.multisets import are_unique, compare, compare_by_key
from pipeline.publish.row_changes import Changes, Comparison, changes_between
from pipeline.publish.row_digests import row_digests, value_digests
from pipeline.sources.hub_ranges import AHEAD
from tests.checks.made_datasets import medium, write_shard
from tests.network.test_hub_sources import alone, hf, on_hf  # noqa: F401
from tests.project import png

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tests.network.hf_double import HuggingFaceDouble
    from tests.project import Project

Rows = list[dict[str, Any]]
NAME = "alice/clips"


def row(number: int, **values: Any) -> dict[str, Any]:
    """Return a row with a picture."""
    made = {"id": f"r{number}", "caption": f"caption {number}", "image": medium(png(number), f"{number}.png")}
    return {**made, **values}


def write(folder: Path, splits: dict[str, list[Rows]], *, config: str = "default", card: str = "") -> LocalFiles:
    """Write a dataset of one config, each split in shards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = "".join(f"  - split: {split}\n    path: {config}/{split}-*.parquet\n" for split in splits)
    front = card or f"configs:\n- config_name: {config}\n  data_files:\n{files}"
    (folder / "README.md").write_text(f"---\n{front}---\n")
    for split, shards in splits.items():
        for number, rows in enumerate(shards):
            write_shard(folder / config / f"{split}-{number:05}-of-{len(shards):05}.parquet", rows)
    return LocalFiles(folder)


def told(changes: Changes) -> dict[str, tuple[int | None, int | None, int, int, int | None]]:
    """Return what is told of each split: rows before and after; added, removed, changed."""
    return {
        f"{split.config}/{split.split}": (split.before, split.after, split.added, split.removed, split.changed)
        for split in changes.splits
    }


# -- arithmetic

ROWS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["", "a", "b", None])), max_size=30)


def digests_of(rows: list[tuple[int, str | None]]) -> np.ndarray:
    """Return the digests of rows of a number and a text."""
    numbers, texts = [number for number, _ in rows], [text for _, text in rows]
    return row_digests(pa.record_batch({"n": pa.array(numbers, pa.int64()), "t": pa.array(texts, pa.string())}))


@settings(max_examples=60, deadline=None)
@given(before=ROWS, after=ROWS)
@example(before=[], after=[])
def test_multisets(before: list[tuple[int, str | None]], after: list[tuple[int, str | None]]) -> None:
    """Rows added and removed are what is left of one multiset when the other is taken away."""
    added, removed = compare(digests_of(before), digests_of(after))
    assert added == (Counter(after) - Counter(before)).total()
    assert removed == (Counter(before) - Counter(after)).total()
    assert are_unique(digests_of(before)) == (len(set(before)) == len(before))


@settings(max_examples=60, deadline=None)
@given(before=ROWS, after=ROWS, draw=st.randoms(use_true_random=False))
@example(before=[], after=[], draw=random.Random(0))  # noqa: S311  no secret
def test_keys(before: list[tuple[int, str | None]], after: list[tuple[int, str | None]], draw: random.Random) -> None:
    """With unique keys, a row is changed when its key stays and its values do not."""
    old, new = dict(before), dict(after)
    sides = [list(old.items()), list(new.items())]
    for side in sides:
        draw.shuffle(side)
    keys = [value_digests(pa.array([key for key, _ in side], pa.int64())) for side in sides]
    found = compare_by_key(keys[0], digests_of(sides[0]), keys[1], digests_of(sides[1]))
    changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
    assert found == (len(new.keys() - old.keys()), len(old.keys() - new.keys()), changed)


TURN = pa.struct({"role": pa.string(), "text": pa.large_string()})
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), st.text("aé\0", max_size=9)),
    "bytes": (pa.binary(), st.binary(max_size=9)),
    "number": (pa.int32(), st.integers(-2, 2)),
    "real": (pa.float64(), st.sampled_from([0.0, -1.5, 1e300])),
    "flag": (pa.bool_(), st.booleans()),
    "texts": (pa.list_(pa.string()), st.lists(st.none() | st.text("ab", max_size=2), max_size=3)),
    "numbers": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(0, 2), max_size=3)),
    "pair": (pa.list_(pa.int8(), 2), st.tuples(st.integers(0, 1), st.integers(0, 1)).map(list)),
    "talk": (
        pa.list_(TURN),
        st.lists(st.fixed_dictionaries({"role": st.sampled_from("ua"), "text": st.none() | st.text("x", max_size=2)})),
    ),
    "medium": (
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        st.fixed_dictionaries({"bytes": st.none() | st.binary(max_size=2), "path": st.none() | st.just("a.png")}),
    ),
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_digests_are_those_of_values(data: st.DataObject) -> None:
    """Rows have the same digest if and only if they have the same values, wherever they stand and are cut."""
    names = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3, unique=True))
    one = st.fixed_dictionaries({name: st.none() | KINDS[name][1] for name in names})
    rows = data.draw(st.lists(one, min_size=1, max_size=8))
    table = pa.table({name: pa.array([row[name] for row in rows], KINDS[name][0]) for name in names})
    whole = row_digests(table.combine_chunks().to_batches()[0])
    for lane in range(2):
        for mine, digest in zip(rows, whole[:, lane], strict=True):
            for other, another in zip(rows, whole[:, lane], strict=True):
                assert (digest == another) == (mine == other)
    at = data.draw(st.integers(0, len(rows) - 1))
    turned = table.select(names[::-1]).slice(at).to_batches()[0]
    assert (row_digests(turned) == whole[at:]).all()
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    assert (row_digests(pq.read_table(buffer).to_batches()[0]) == whole).all()


# -- datasets

BASE = {"train": [[row(n) for n in range(6)], [row(n) for n in range(6, 10)]], "test": [[row(n) for n in (20, 21)]]}
FLAT = [row(n) for n in range(10)]


def without_id(splits: dict[str, list[Rows]]) -> dict[str, list[Rows]]:
    """Return the same rows without a column that tells them apart."""
    return {
        split: [[{k: v for k, v in row.items() if k != "id"} for row in rows] for rows in shards]
        for split, shards in splits.items()
    }


SAME = (10, 10, 0, 0, 0)
CASES: list[tuple[str, list[Rows], tuple[Any, ...], tuple[Any, ...]]] = [
    ("the same", [FLAT[:6], FLAT[6:]], SAME, SAME),
    ("other shards, another order", [FLAT[8:] + FLAT[2:5], FLAT[5:8] + FLAT[1::-1]], SAME, SAME),
    ("added", [FLAT[:6], [*FLAT[6:], row(30), row(31)]], (10, 12, 2, 0, 0), (10, 12, 2, 0, 0)),
    ("a shard added", [FLAT[:6], FLAT[6:], [row(30)]], (10, 11, 1, 0, 0), (10, 11, 1, 0, 0)),
    ("a shard removed", [FLAT[:6]], (10, 6, 0, 4, 0), (10, 6, 0, 4, 0)),
    ("removed", [FLAT[1:6], FLAT[6:]], (10, 9, 0, 1, 0), (10, 9, 0, 1, 0)),
    ("a caption", [FLAT[:6], [*FLAT[6:9], row(9, caption="new")]], (10, 10, 0, 0, 1), (10, 10, 1, 1, None)),
    ("a picture", [[row(0, image=medium(png(99), "0.png")), *FLAT[1:]]], (10, 10, 0, 0, 1), (10, 10, 1, 1, None)),
    ("all at once", [[row(0, caption=""), *FLAT[2:], row(40)]], (10, 10, 1, 1, 1), (10, 10, 2, 2, None)),
]


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_rows_of_a_split(tmp_path: Path, case: tuple[str, list[Rows], tuple[Any, ...], tuple[Any, ...]]) -> None:
    """Rows are told apart by `id`; without it, a changed row counts as one removed and one added."""
    _, shards, with_key, without = case
    after = {**BASE, "train": shards}
    changes = changes_between(write(tmp_path / "a", BASE), write(tmp_path / "b", after))
    assert told(changes) == {"default/train": with_key, "default/test": (2, 2, 0, 0, 0)}
    assert changes.is_empty == (with_key == SAME)
    assert (changes.is_first, changes.new_configs, changes.gone_configs) == (False, [], [])
    changes = changes_between(write(tmp_path / "a", without_id(BASE)), write(tmp_path / "b", without_id(after)))
    assert told(changes)["default/train"] == without
    twice = {**after, "test": [[row(20), row(20)]]}
    changes = changes_between(write(tmp_path / "a", twice), write(tmp_path / "b", twice))
    assert changes.is_empty


def test_a_key_that_is_not_unique(tmp_path: Path) -> None:
    """A key that names two rows of a split tells none apart, be it in a shard that stayed as it was."""
    before = {"train": [[row(0), row(1)], [row(2)]]}
    after = {"train": [[row(0), row(1)], [row(1, caption="x")]]}
    for keys, notes in (({}, 0), ({"default": "id"}, 1)):
        changes = changes_between(write(tmp_path / "a", before), write(tmp_path / "b", after), keys=keys)
        assert told(changes) == {"default/train": (3, 3, 1, 1, None)}
        assert len(changes.notes) == notes
    assert "'id' names some rows twice in default/train" in changes.notes[0]


def test_a_named_key(tmp_path: Path) -> None:
    """Any column of plain values can be named as the key; one that is none is a mistake of the command."""
    before = {"train": [[row(n, id="same", clip=n) for n in range(4)]]}
    after = {"train": [[row(n, id="same", clip=n, caption=f"{n // 3}") for n in range(1, 5)]]}
    one, two = write(tmp_path / "a", before), write(tmp_path / "b", after)
    assert told(changes_between(one, two)) == {"default/train": (4, 4, 4, 4, None)}
    assert told(changes_between(one, two, keys={"default": "clip"})) == {"default/train": (4, 4, 1, 1, 3)}
    for keys, match in (
        ({"default": "clap"}, r"'clap' is no column of default/train.*\n.*'caption', 'clip', 'id'"),
        ({"default": "image"}, "'image' is no column"),
        ({"other": "id"}, r"no config 'other'.*\n.*'default'"),
    ):
        with pytest.raises(UsageError, match=match):
            changes_between(one, two, keys=keys)
    old = write(tmp_path / "a", {"train": [[{**row(n), "number": n} for n in range(4)]]})
    changes = changes_between(old, two, keys={"default": "clip"})
    assert told(changes) == {"default/train": (4, 4, 4, 4, None)}
    assert changes.notes == ("'clip' is not there on both sides in default/train: no rows are told apart",)


def test_splits_and_configs(tmp_path: Path) -> None:
    """Splits and configs that are new or gone are told; a row that moves to another split goes here and comes there."""
    before = write(tmp_path / "a", {"train": [FLAT[:6]], "old": [FLAT[6:]]}, config="one")
    after = write(tmp_path / "b", {"train": [FLAT[:5]], "new": [[FLAT[5]]]}, config="one")
    assert told(changes_between(before, after)) == {
        "one/train": (6, 5, 0, 1, 0),
        "one/new": (None, 1, 1, 0, 0),
        "one/old": (4, None, 0, 4, 0),
    }
    other = write(tmp_path / "c", {"train": [FLAT[:6]]}, config="two")
    changes = changes_between(before, other)
    assert (changes.new_configs, changes.gone_configs) == (["two"], ["one"])
    assert told(changes)["two/train"] == (None, 6, 6, 0, 0)
    first = changes_between(None, other)
    assert first.is_first
    assert told(first) == {"two/train": (None, 6, 6, 0, 0)}


def test_only_what_differs_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of the same content, whatever they are called, are not read; nor is what only its number of rows tells."""
    read: list[str] = []
    real = shard_digests.digests_of_shard
    monkeypatch.setattr(
        shard_digests, "digests_of_shard", lambda task: read.append((task.shard.name, task.columns)) or real(task)
    )
    before = write(tmp_path / "a", {"train": [FLAT[:3], FLAT[3:6], FLAT[6:]]})
    renamed = write(tmp_path / "b", {"train": [FLAT[6:], FLAT[:3], [row(50)], FLAT[3:6]]})
    assert told(changes_between(before, renamed)) == {"default/train": (10, 11, 1, 0, 0)}
    assert read == []
    changed = write(tmp_path / "b", {"train": [FLAT[:3], FLAT[3:6], [row(9, caption="")]]})
    assert told(changes_between(before, changed)) == {"default/train": (10, 7, 0, 3, 1)}
    assert sorted(read) == [
        ("default/train-00000-of-00003.parquet", ("id",)),
        ("default/train-00001-of-00003.parquet", ("id",)),
        ("default/train-00002-of-00003.parquet", (None, "id")),
        ("default/train-00002-of-00003.parquet", (None, "id")),
    ]
    read.clear()
    cache = tmp_path / "cache"
    for times in (4, 0):
        assert told(changes_between(before, changed, cache=cache)) == {"default/train": (10, 7, 0, 3, 1)}
        assert len(read) == times
        read.clear()
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    assert told(changes_between(before, changed, cache=cache)) == {"default/train": (10, 7, 0, 3, 1)}
    assert len(read) == 4


def test_many_batches_and_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, row groups and workers change nothing; progress is that of the bytes that were read."""
    rows = [{"id": n, "text": f"{n}" * (n % 7), "talk": [f"{n % 3}"] * (n % 4)} for n in range(1_200)]
    one = write(tmp_path / "a", {"train": [rows[:800], rows[800:]]})
    changed = [{**r, "text": "x"} if r["id"] % 100 == 0 else r for r in rows[5:]]
    two = write(tmp_path / "b", {"train": [changed]})
    table = pq.read_table(tmp_path / "b/default/train-00000-of-00001.parquet")
    pq.write_table(table, tmp_path / "b/default/train-00000-of-00001.parquet", row_group_size=300, compression="zstd")
    monkeypatch.setattr(shard_digests, "BATCH_ROWS", 97)
    amounts: list[int] = []
    comparison = Comparison(one, two)
    assert comparison.bytes_to_read == 0
    assert told(comparison.changes(advance=amounts.append)) == {"default/train": (1_200, 1_195, 0, 5, 11)}
    assert 0.5 * comparison.bytes_here < sum(amounts) <= comparison.bytes_here
    monkeypatch.setattr("pipeline.executor.WORTH_A_POOL", 1)
    with LocalProcesses(2) as processes:
        assert told(Comparison(one, two).changes(executor=processes)) == {"default/train": (1_200, 1_195, 0, 5, 11)}


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    """Files that are no Parquet, damaged shards and broken cards are errors that say so."""
    good = write(tmp_path / "a", {"train": [FLAT]})
    other = tmp_path / "b"
    write(other, {"train": [[*FLAT, row(11)]]})
    path = other / "default/train-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(
        SourceError, match=r"'default/train-00000-of-00001\.parquet' of .* cannot be read: it does not end"
    ):
        changes_between(LocalFiles(other), good)
    path.write_bytes(whole[:4] + bytes(500) + whole[504:])
    changed = write(tmp_path / "a", {"train": [FLAT[1:]]})
    with pytest.raises(SourceError, match="cannot be read"):
        changes_between(LocalFiles(other), changed)
    path.unlink()
    (other / "default/train-0.jsonl").write_text('{"id": "r1"}\n')
    (other / "README.md").write_text("---\nconfigs:\n- {config_name: default, data_files: default/*}\n---\n")
    with pytest.raises(SourceError, match=r"default/train of .* is not all Parquet"):
        changes_between(LocalFiles(other), good)
    (other / "README.md").write_text("---\n[\n---\n")
    with pytest.raises(SourceError, match="the front matter is not YAML"):
        changes_between(LocalFiles(other), good)


def test_built_datasets(project: Project, tmp_path: Path) -> None:
    """Datasets that the pipeline builds: a caption, a picture, rows put in and taken out, and another cut."""
    pictures = project.pictures(12)

    def build(captions: dict[int, str], **recipe: Any) -> LocalFiles:
        rows = [{"id": n, "image": pictures[n], "text": text} for n, text in captions.items()]
        project.rows("rows.jsonl", rows)
        splits = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
        project.write({"configs": splits, **recipe}, {"id": "int64", "image": "image", "text": "string"})
        project.build()
        target = tmp_path / f"release{len(list(tmp_path.glob('release*')))}"
        shutil.copytree(project.out, target)
        return LocalFiles(target)

    first = build({n: f"text {n}" for n in range(10)})
    (project.source / pictures[3]).write_bytes(png(77))
    second = build({n: "changed" if n == 5 else f"text {n}" for n in range(1, 12)})
    assert told(changes_between(first, second)) == {"default/train": (10, 11, 2, 1, 2)}
    third = build({n: "changed" if n == 5 else f"text {n}" for n in range(1, 12)}, shards={"max_bytes": 900})
    assert len(list(third.folder.glob("default/*.parquet"))) == 2
    assert changes_between(second, third).is_empty


# -- a release on a hub


def files_of(local: LocalFiles) -> dict[str, bytes]:
    """Return the contents of a dataset."""
    return {name: (local.folder / name).read_bytes() for name in local.sizes()}


def test_a_release_on_a_hub(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Only shards whose content is not here are fetched, by parts; what that costs is known before."""
    noise = random.Random(3)  # noqa: S311  no secret
    rows = [row(n, image=medium(noise.randbytes(50_000))) for n in range(12)]
    before = write(tmp_path / "a", {"train": [rows[:4], rows[4:8], rows[8:]], "test": [[row(90)]]})
    repo = hf.repo(NAME, files_of(before))
    repo.tags["v1.0.0"] = repo.branches["main"]
    repo.commit({"README.md": b"# something else since\n"})
    changed = [*rows[8:11], {**rows[11], "caption": "new"}, row(12)]
    after = write(tmp_path / "b", {"train": [rows[:4], changed, rows[4:8]], "test": [[row(90)]]})
    old = before.sizes()["default/train-00002-of-00003.parquet"]
    comparison = Comparison(HubFiles(on_hf("v1.0.0", NAME)), after)
    assert comparison.bytes_to_read == old
    # the listing, the card, and the footer of the one shard that is not here
    assert len(hf.asked("/tree/")) == 1
    assert {request.path.rpartition("/")[2] for request in hf.asked("/resolve/")} == {
        "README.md",
        "train-00002-of-00003.parquet",
    }
    expected = {"default/train": (12, 13, 1, 0, 1), "default/test": (1, 1, 0, 0, 0)}
    assert told(comparison.changes()) == expected
    assert old < hf.sent < old + AHEAD + 10_000
    hf.log.clear()
    cache = tmp_path / "cache"
    assert told(changes_between(HubFiles(on_hf("v1.0.0", NAME)), after, cache=cache)) == expected
    hf.log.clear()
    again = Comparison(HubFiles(on_hf("v1.0.0", NAME)), after, cache=cache)
    assert again.bytes_to_read == 0
    assert told(again.changes()) == expected
    assert {request.path.rpartition("/")[2] for request in hf.asked("/resolve/")} == {"README.md"}


def test_large_shards_are_fetched_in_parts(
    hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that is too large to be held is fetched a piece at a time."""
    monkeypatch.setattr(shard_digests, "WHOLE_BYTES", 0)
    monkeypatch.setattr(shard_digests, "REMOTE_BUFFER", 100_000)
    noise = random.Random(3)  # noqa: S311  no secret
    rows = [row(n, image=medium(noise.randbytes(50_000))) for n in range(30)]
    before = write(tmp_path / "a", {"train": [rows]})
    pages = {"write_batch_size": 1, "data_page_size": 100, "use_dictionary": False}
    write_shard(before.folder / "default/train-00000-of-00001.parquet", rows, **pages)
    hf.repo(NAME, files_of(before))
    after = write(tmp_path / "b", {"train": [[*rows[1:], row(0, caption="")]]})
    assert told(changes_between(HubFiles(on_hf(None, NAME)), after)) == {"default/train": (30, 30, 0, 0, 1)}
    size = before.sizes()["default/train-00000-of-00001.parquet"]
    assert size < hf.sent < size + 5 * AHEAD
    parts = [request.range or "" for request in hf.asked("/_cdn/")]
    assert len(parts) > 10
    lengths = [int(end) - int(start) for start, end in (part.removeprefix("bytes=").split("-") for part in parts)]
    assert max(lengths) <= 200_000


def test_the_next_release_reads_nothing(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """When a release was published from here, no shard of it is ever fetched again, though they are all gone here."""
    cache = tmp_path / "cache"
    local = write(tmp_path / "a", {"train": [FLAT[:5], FLAT[5:]]})
    comparison = Comparison(None, local, cache=cache)
    assert told(comparison.changes()) == {"default/train": (None, 10, 10, 0, 0)}
    comparison.keep()
    hf.repo(NAME, files_of(local))
    after = write(tmp_path / "a", {"train": [[*FLAT[1:], row(60, id="r60")]]})
    hf.log.clear()
    assert told(changes_between(HubFiles(on_hf(None, NAME)), after, cache=cache)) == {
        "default/train": (10, 10, 1, 1, 0)
    }
    assert not hf.asked("parquet|/_cdn/")


def test_hashes_that_are_known_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hashed the files already says so."""
    monkeypatch.setattr("pipeline.publish.row_changes.hash_file", lambda _: pytest.fail("hashed again"))
    before, after = write(tmp_path / "a", {"train": [FLAT]}), write(tmp_path / "b", {"train": [FLAT]})
    name = "default/train-00000-of-00001.parquet"
    changes = Comparison(before, after, hashes_before={name: "0" * 64}, hashes_after={name: "0" * 64}).changes()
    assert changes.is_empty
