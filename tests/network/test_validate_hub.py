"""Validation of datasets that lie on a hub: the hubs' real clients against doubles, and what it costs."""

# ruff: noqa: F811  fixtures of another file, which tests name as their arguments

from __future__ import annotations

import io
import json
import random
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checks.hub_files import HubFiles, hub_target
from pipeline.cli import main
from pipeline.errors import SourceError
from pipeline.mend_card import mend, plan_mending
from pipeline.sources.hub_ranges import AHEAD, Part, RangeReader
from pipeline.validation import validate
from tests.network.hub_server import Fault
from tests.network.test_hub_sources import alone, hf, ms, on_hf, on_ms  # noqa: F401

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.network.hf_double import HuggingFaceDouble
    from tests.network.ms_double import ModelScopeDouble

NAME = "alice/pictures"
SHARDS = 40
SHARD = 300_000
"""Bytes of a shard, which no compression makes fewer."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Give the files of a good dataset of many shards."""
    folder = tmp_path_factory.mktemp("hub") / "pictures"
    (folder / "data").mkdir(parents=True)
    noise = np.random.default_rng(7)
    for number in range(SHARDS):
        table = pa.table({"n": [2 * number, 2 * number + 1], "blob": [noise.bytes(SHARD // 2) for _ in range(2)]})
        split, place, count = ("train", number, 30) if number < 30 else ("test", number - 30, 10)
        path = folder / "data" / f"{split}-{place:05}-of-{count:05}.parquet"
        pq.write_table(table, path, write_page_checksum=True)
    mend(plan_mending(folder))
    card = folder / "README.md"
    card.write_bytes(card.read_bytes().replace(b"---\n", b"---\nlicense: mit\n", 1))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def command(*arguments: str, cache: Path) -> Result:
    """Run `shardwright validate` in this process."""
    return CliRunner().invoke(main, ["validate", *arguments, f"--cache={cache}", "--workers=1"])


def told(result: Result) -> dict[str, object]:
    """Return the report of a command."""
    report: dict[str, object] = json.loads(result.stdout)
    return report


# -- what it costs


def test_hugging_face_is_asked_for_card_listing_and_footers(hf: HuggingFaceDouble, dataset: dict[str, bytes]) -> None:
    """One request for the commit, one for the listing, one for the card, and the end of each shard."""
    hf.repo(NAME, dataset)
    report = validate(HubFiles(on_hf(name=NAME)))
    assert (report.ok, report.warnings, report.look) == (True, 0, "quick")
    assert (report.facts["shards"], report.facts["rows"], report.facts["splits"]) == (SHARDS, 2 * SHARDS, 2)
    assert len(hf.asked("/api/")) == 2
    assert len(hf.asked("/resolve/.*README.md")) == 1
    assert len(hf.asked("/resolve/.*parquet")) == SHARDS
    assert len(hf.asked("/_cdn/")) == SHARDS
    assert len(hf.log) == 3 + 2 * SHARDS
    assert hf.sent < SHARDS * AHEAD + 30_000
    assert hf.sent < sum(map(len, dataset.values())) / 4
    assert all(request.range for request in hf.asked("/resolve/|/_cdn/"))


def test_modelscope_is_asked_for_card_listing_and_footers(ms: ModelScopeDouble, dataset: dict[str, bytes]) -> None:
    """The same, with its own client."""
    ms.repo(NAME, dataset)
    report = validate(HubFiles(on_ms(name=NAME)))
    assert (report.ok, report.warnings) == (True, 0)
    assert report.facts["shards"] == SHARDS
    assert sorted(set(ms.bodies())) == sorted(dataset)
    assert len(ms.bodies()) == 1 + SHARDS
    assert ms.sent < SHARDS * AHEAD + 30_000


def test_footers_longer_than_the_first_part(hf: HuggingFaceDouble) -> None:
    """A second part is fetched, and no more than that."""
    names = [f"column_with_a_long_name_{number}" for number in range(1_500)]
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: np.arange(500) for name in names}), buffer)
    hf.repo(NAME, {"data/train-00000-of-00001.parquet": buffer.getvalue()})
    files = HubFiles(on_hf(name=NAME))
    with files.open("data/train-00000-of-00001.parquet") as file:
        assert pq.read_metadata(file).num_columns == 1_500
    assert len(hf.asked("/_cdn/")) == 2
    assert AHEAD < hf.sent < len(buffer.getvalue()) / 3


def test_the_token_stays_with_the_hub(
    hf: HuggingFaceDouble, dataset: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files come from another host, which is not given it."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    hf.repo(NAME, dataset, private=True)
    assert validate(HubFiles(on_hf(name=NAME))).ok
    assert all(request.headers["authorization"] == "Bearer hf_alice" for request in hf.asked("/resolve/"))
    assert not any("authorization" in request.headers for request in hf.asked("/_cdn/"))


# -- what is found


def test_a_pinned_revision_is_what_is_looked_at(
    hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path
) -> None:
    """A commit stays what it was, and a branch is where it is now."""
    repo = hf.repo(NAME, dataset)
    first = repo.branches["main"]
    card = dataset["README.md"].replace(b"num_examples: 60", b"num_examples: 61")
    second = repo.commit({"README.md": card})
    old = told(command(f"huggingface:{NAME}@{first}", "--json", cache=tmp_path))
    new = told(command(f"{NAME}@main", "--json", cache=tmp_path))
    assert (old["ok"], new["ok"]) == (True, False)
    assert new["counts"] == {"SW106": 1}
    assert first[:12] in str(old["notes"])
    assert second[:12] in str(new["notes"])
    assert {request.path.split("/")[5] for request in hf.asked("/resolve/")} == {first, second}


@pytest.mark.parametrize("hub", ["huggingface", "modelscope"])
def test_a_cut_shard_is_found(
    hub: str, hf: HuggingFaceDouble, ms: ModelScopeDouble, dataset: dict[str, bytes], tmp_path: Path
) -> None:
    """Its end is no footer; the others are read all the same."""
    name = "data/train-00003-of-00030.parquet"
    files = {**dataset, name: dataset[name][:-50]}
    hf.repo(NAME, files)
    ms.repo(NAME, files)
    result = command(f"{hub}:{NAME}", cache=tmp_path)
    assert result.exit_code == 1
    assert f"SW301 error   {name}" in result.stdout
    assert result.stdout.count("SW301") == 1


def test_links_and_leftovers_are_found_from_the_listing(hf: HuggingFaceDouble, dataset: dict[str, bytes]) -> None:
    """Checks of names need no bytes."""
    name = "data/train-00000-of-00030.parquet"
    card = dataset["README.md"] + b"\n![p](images/a.png) [d](data/) [h](.github/x.md)\n"
    hf.repo(
        NAME, {**dataset, "README.md": card, "data/train-00000-of-00007.parquet": dataset[name], ".github/x.md": b""}
    )
    report = validate(HubFiles(on_hf(name=NAME)))
    assert "SW110" in report.counts
    assert ".github/x.md" not in HubFiles(on_hf(name=NAME)).sizes()


def test_names_that_are_none_are_not_asked_for(hf: HuggingFaceDouble, dataset: dict[str, bytes]) -> None:
    """A listing is text of strangers."""
    odd = {"../up.parquet": b"x", "a//b.parquet": b"x", "c\\d.parquet": b"x", "/e.parquet": b"x"}
    hf.repo(NAME, {**dataset, **odd})
    assert list(HubFiles(on_hf(name=NAME)).sizes()) == sorted(dataset)


def test_modelscope_has_lists_of_its_own(ms: ModelScopeDouble, dataset: dict[str, bytes], tmp_path: Path) -> None:
    """A licence is not compared with what Hugging Face knows, and that is said."""
    card = dataset["README.md"].replace(b"license: mit", b"license: Apache License 2.0")
    ms.repo(NAME, {**dataset, "README.md": card})
    result = command(f"modelscope:{NAME}", cache=tmp_path)
    assert result.exit_code == 0, result.output
    assert "not compared with Hugging Face's lists" in result.stdout


def test_sizes_that_are_not_listed_are_asked_for(ms: ModelScopeDouble, dataset: dict[str, bytes]) -> None:
    """By one byte of each file that matters."""
    ms.repo(NAME, {**dataset, "notes.txt": b"text"}, says_sizes=False)
    files = HubFiles(on_ms(name=NAME))
    assert {name: size for name, size in files.sizes().items() if name != "notes.txt"} == {
        name: len(data) for name, data in dataset.items()
    }
    assert "notes.txt" not in ms.bodies()
    assert ms.sent < 30_000
    assert validate(files).ok


# -- what goes wrong


def test_a_private_dataset_without_a_token(hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path) -> None:
    """It is said what to do, and no problem of the dataset is made of it."""
    hf.repo(NAME, dataset, private=True)
    result = command(f"huggingface:{NAME}", cache=tmp_path)
    assert result.exit_code == 3
    assert "is not there, or is private and no token was given" in result.stderr
    assert "HF_TOKEN" in result.stderr


def test_a_gated_dataset(hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path) -> None:
    """Its listing is open, its files are not."""
    hf.repo(NAME, dataset, gated=True)
    result = command(NAME, cache=tmp_path)
    assert result.exit_code == 3
    assert "is gated" in result.stderr


def test_a_private_dataset_of_modelscope(ms: ModelScopeDouble, dataset: dict[str, bytes], tmp_path: Path) -> None:
    """With the name of its own variable."""
    ms.repo(NAME, dataset, private=True)
    result = command(f"modelscope:{NAME}", cache=tmp_path)
    assert result.exit_code == 3
    assert "MODELSCOPE_API_TOKEN" in result.stderr


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "/_cdn/", "status": 503, "times": 2},
        {"path": "/resolve/.*README", "status": 503, "times": 2},
        {"path": "/resolve/.*parquet", "status": 429, "times": 2, "headers": {"Retry-After": "3"}},
        {"path": "/tree/", "status": 502, "times": 2},
        {"path": "/_cdn/", "cut": 100, "times": 2, "after": 5},
        {"path": "/_cdn/", "reset": True, "times": 2, "after": 5},
    ],
    ids=str,
)
def test_what_passes_is_survived(
    fault: dict[str, object], hf: HuggingFaceDouble, dataset: dict[str, bytes], alone: list[float]
) -> None:
    """A hub that is busy for a moment, and connections that break."""
    hf.repo(NAME, dataset)
    hf.faults = [Fault(**fault)]  # type: ignore[arg-type]
    assert validate(HubFiles(on_hf(name=NAME))).ok
    assert hf.faults[0].times == 0
    if fault.get("status") == 429:
        assert min(alone) >= 3


def test_modelscope_may_be_busy_for_a_moment(ms: ModelScopeDouble, dataset: dict[str, bytes]) -> None:
    """Its client tells it otherwise."""
    ms.repo(NAME, dataset)
    ms.faults = [Fault(path="parquet", status=503, times=2), Fault(path="parquet", cut=10, times=1, after=9)]
    assert validate(HubFiles(on_ms(name=NAME))).ok
    assert [fault.times for fault in ms.faults] == [0, 0]


def test_a_hub_that_stays_busy_is_no_damaged_shard(
    hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path
) -> None:
    """Nothing is said of the dataset."""
    hf.repo(NAME, dataset)
    hf.faults = [Fault(path="/_cdn/", status=503, times=1_000)]
    result = command(NAME, cache=tmp_path)
    assert result.exit_code == 3
    assert "SW301" not in result.output
    assert "again and again" in result.stderr


def test_a_server_without_parts_is_not_asked_for_all(hf: HuggingFaceDouble, dataset: dict[str, bytes]) -> None:
    """Small files are taken whole; of a large one not more than what is on its way."""
    hf.gives_parts = False
    hf.repo(NAME, dataset)
    assert validate(HubFiles(on_hf(name=NAME))).ok
    hf.repo("alice/large", {"data/train-00000-of-00001.parquet": random.Random(1).randbytes(8_000_000)})  # noqa: S311
    with pytest.raises(SourceError, match="only whole files"):
        validate(HubFiles(on_hf(name="alice/large")))


def test_a_file_shorter_than_its_listing(hf: HuggingFaceDouble, dataset: dict[str, bytes]) -> None:
    """The hub is not what it says it is, which is no fault of the dataset's shards."""
    repo = hf.repo(NAME, dataset)
    files = HubFiles(on_hf(name=NAME))
    name = "data/test-00000-of-00010.parquet"
    data = dataset[name][:-1_000]
    listed = files.sizes()[name]
    at = repo.commits[files.commit]
    at[name] = type(at[name])(data, large=True)
    message = f"has {listed - 1_000:,} bytes, and more are listed"
    with files.open(name) as file, pytest.raises(SourceError, match=message):
        file.read()


# -- the command


def test_full_downloads_and_looks_at_all(hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path) -> None:
    """A flipped byte of a page is found then, and what is there is not downloaded again."""
    name = "data/train-00003-of-00030.parquet"
    data = bytearray(dataset[name])
    data[len(data) // 2] ^= 0xFF
    few = {path: content for path, content in dataset.items() if "parquet" not in path or path == name}
    card = b"---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\n"
    hf.repo(NAME, {**few, "README.md": card, name: bytes(data), ".hidden": b""})
    assert command(NAME, "--select=SW3", cache=tmp_path).exit_code == 0
    result = command(NAME, "--full", "--select=SW3", "--json", cache=tmp_path)
    report = told(result)
    assert (result.exit_code, report["target"], report["look"]) == (1, NAME, "full")
    assert "it was downloaded at" in str(report["notes"])
    bodies = len(hf.bodies())
    offline = command(NAME, "--full", "--offline", "--select=SW3", "--json", cache=tmp_path)
    assert told(offline)["counts"] == report["counts"]
    assert len(hf.bodies()) == bodies


def test_rows_that_were_not_looked_at_are_told_of(
    hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path
) -> None:
    """And what looks at them."""
    hf.repo(NAME, dataset)
    result = command(NAME, cache=tmp_path)
    assert result.exit_code == 0, result.output
    assert "no row was looked at" in result.stdout
    assert "--full looks at all" in result.stdout


def test_a_folder_goes_before_a_hub(
    hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is meant, and nobody is asked."""
    monkeypatch.chdir(tmp_path)
    for name, data in dataset.items():
        path = tmp_path / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert command(NAME, "--quick", cache=tmp_path).exit_code == 0
    assert hf.log == []


def test_a_mistyped_folder_is_told_of(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """A name without a hub may have been meant as a folder."""
    result = command("out/demo", cache=tmp_path)
    assert result.exit_code == 3
    assert "a folder out/demo is not there either" in result.stderr
    assert hf.log


@pytest.mark.parametrize("target", ["huggingface:nothing", "elsewhere:a/b", "a/b/c", "nothing", "recipes/gone.yaml"])
def test_what_names_nothing(target: str, hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Neither a recipe nor a folder nor a dataset of a hub; nobody is asked."""
    result = command(target, cache=tmp_path)
    assert result.exit_code == 2
    assert hf.log == []


def test_without_the_network(hf: HuggingFaceDouble, dataset: dict[str, bytes], tmp_path: Path) -> None:
    """Nobody is asked, and it is said how it could be done."""
    hf.repo(NAME, dataset)
    result = command(NAME, "--offline", cache=tmp_path)
    assert result.exit_code == 2
    assert "--full" in result.stderr
    assert hf.log == []


def test_a_dataset_of_a_hub_is_not_mended(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Only a folder is."""
    result = command(NAME, "--fix", "--yes", cache=tmp_path)
    assert result.exit_code == 2
    assert "--fix mends a dataset folder" in result.stderr
    assert hf.log == []


# -- names and readers


@pytest.mark.parametrize(
    ("text", "repo"),
    [
        ("huggingface:org/name", ("huggingface", "org/name", None)),
        ("modelscope:org/name@v1.0", ("modelscope", "org/name", "v1.0")),
        ("org/na.me-1@refs/pr/3", ("huggingface", "org/na.me-1", "refs/pr/3")),
        ("name", None),
        ("a/b/c", None),
        ("github:a/b", None),
        ("org/name@", None),
    ],
)
def test_targets(text: str, repo: tuple[str, str, str | None] | None) -> None:
    """What names a repository, and what does not."""
    found = hub_target(text)
    assert (found and (found.hub, found.id, found.revision)) == repo


def test_a_name_that_climbs() -> None:
    """Two dots are no owner."""
    with pytest.raises(SourceError):
        hub_target("../name")


moves = st.lists(
    st.tuples(st.sampled_from(["read", "start", "here", "end"]), st.integers(-200_000, 200_000)), max_size=12
)


@given(size=st.integers(0, 200_000), steps=moves)
def test_a_reader_is_like_a_file(size: int, steps: list[tuple[str, int]]) -> None:
    """Whatever is read from wherever, it is the same; and no byte is asked for that is not there."""
    data = random.Random(size).randbytes(size)  # noqa: S311
    fetched: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> Part:
        fetched.append((start, end))
        return Part(data[start:end], size)

    with RangeReader(size, fetch) as reader, io.BytesIO(data) as file:
        for what, number in steps:
            if what == "read":
                assert reader.read(number) == file.read(number)
            else:
                whence = {"start": io.SEEK_SET, "here": io.SEEK_CUR, "end": io.SEEK_END}[what]
                base = {"start": 0, "here": file.tell(), "end": size}[what]
                if base + number < 0:
                    with pytest.raises(ValueError, match="before the start"):
                        reader.seek(number, whence)
                else:
                    assert reader.seek(number, whence) == file.seek(number, whence)
            assert reader.tell() == file.tell()
    assert all(0 <= start < end <= size for start, end in fetched)
