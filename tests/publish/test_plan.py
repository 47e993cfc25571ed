"""The plan of a push: what is added, replaced, deleted and left, and what must be sent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.media.store import MediaStore
from pipeline.publish.content import is_of_ours, read_content
from pipeline.publish.plan import plan_push
from pipeline.publish.remote import LocalFile, RemoteState
from pipeline.publish.target import Target, parse_target
from pipeline.sources.hub_listing import ListedFile

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target(hub="huggingface", place="alice/clips", branch="main")
SHARDS = [f"default/train-{n:05d}-of-00003.parquet" for n in range(3)]
OTHERS = ["README.md", ".gitattributes", "LICENSE", "notes/about.md", "extra.parquet", "media/logo.png"]
CONTENTS = st.sampled_from([b"", b"a", b"bb", b"ccc"])


def sha256(data: bytes) -> str:
    """Hash some bytes."""
    return hashlib.sha256(data).hexdigest()


def git(data: bytes) -> str:
    """Name a content as git does."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@given(
    here=st.dictionaries(st.sampled_from(SHARDS + OTHERS), CONTENTS),
    there=st.dictionaries(st.sampled_from(SHARDS + OTHERS), st.tuples(CONTENTS, st.booleans())),
)
def test_every_file_is_in_one_place(
    tmp_path_factory: pytest.TempPathFactory, here: dict[str, bytes], there: dict[str, tuple[bytes, bool]]
) -> None:
    """Carrying the plan out on a plain dictionary gives what is wanted, and touches nothing that is not ours."""
    folder = tmp_path_factory.getbasetemp() / "contents"
    folder.mkdir(exist_ok=True)
    wanted = {}
    for name, data in here.items():
        path = folder / sha256(data)
        path.write_bytes(data)
        wanted[name] = LocalFile(path=path, size=len(data), sha256=sha256(data))
    files = {
        name: ListedFile(size=len(data), sha256=sha256(data) if large else None, git=None if large else git(data))
        for name, (data, large) in there.items()
    }
    plan = plan_push(TARGET, "dataset", RemoteState(exists=True, branch_exists=True, commit="c", files=files), wanted)
    assert set(plan.added) | set(plan.replaced) | set(plan.same) == set(here)
    assert set(plan.replaced) | set(plan.same) | set(plan.deleted) | set(plan.foreign) == set(there)
    result = {name: data for name, (data, _) in there.items() if name not in plan.deleted}
    result |= {name: here[name] for name in plan.additions}
    assert {name: result[name] for name in here} == here
    assert set(result) - set(here) == set(plan.foreign) == {n for n in there if n not in here and n not in SHARDS}
    known = {data for data, large in there.values() if large}
    assert plan.to_send == sum(map(len, {here[name] for name in plan.additions} - known))
    assert plan.is_empty == (result == {name: data for name, (data, _) in there.items()})


@pytest.mark.parametrize(
    ("path", "kind", "ours"),
    [
        ("default/train-00000-of-00001.parquet", "dataset", True),
        ("data/train-00000-of-00001-0123456789abcdef.parquet", "dataset", True),
        ("media/default/ab/" + "ab" * 32 + ".mp4", "dataset", True),
        ("media/default-00000.tar", "dataset", True),
        ("media/logo.png", "dataset", False),
        ("train.parquet", "dataset", False),
        (".gitattributes", "dataset", False),
        ("model-00001-of-00002.safetensors", "model", True),
        ("adapter_model.safetensors", "model", True),
        ("tokenizer.json", "model", True),
        ("LICENSE", "model", False),
        ("default/train-00000-of-00001.parquet", "model", False),
    ],
)
def test_whose_file_it_is(path: str, kind: str, *, ours: bool) -> None:
    """Only what a push of this kind writes may be deleted by one."""
    assert is_of_ours(path, "dataset" if kind == "dataset" else "model") is ours


def test_targets() -> None:
    """Places are read as people write them."""
    assert parse_target("huggingface:alice/clips") == TARGET
    assert parse_target("modelscope:alice/clips").branch == "master"
    assert parse_target("huggingface:alice/clips@next").branch == "next"
    assert str(parse_target("huggingface:alice/clips@next")) == "huggingface:alice/clips@next"
    assert str(parse_target("modelscope:alice/clips")) == "modelscope:alice/clips"
    assert parse_target("folder:/nas/a b").place == "/nas/a b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice/clips",
        "github:alice/clips",
        "huggingface:clips",
        "huggingface:a/b/c",
        "huggingface:../clips",
        "folder:",
    ]
    + [f"huggingface:a/b@{branch}" for branch in ("", "-x", "a..b", "a b", "a~1", "x.lock", "/a", "a/")],
)
def test_no_targets(text: str) -> None:
    """What is no place, repository or branch is a clear mistake."""
    with pytest.raises(UsageError) as error:
        parse_target(text)
    assert error.value.allowed


def test_what_is_read_of_a_folder(tmp_path: Path) -> None:
    """Hidden files stay; links lead to their files; a folder without a card, or a model with a pickle, is refused."""
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / ".tmp-x").write_bytes(b"half")
    (tmp_path / "blob").write_bytes(b"shard")
    (folder / "train-00000-of-00001.parquet").symlink_to(tmp_path / "blob")
    with MediaStore(tmp_path / "cache") as store:
        with pytest.raises(UsageError, match=r"no README\.md"):
            read_content(folder, "dataset", store)
        (folder / "README.md").write_bytes(b"# Clips\n")
        files = read_content(folder, "dataset", store)
        assert {name: file.sha256 for name, file in files.items()} == {
            "README.md": sha256(b"# Clips\n"),
            "train-00000-of-00001.parquet": sha256(b"shard"),
        }
        (folder / "optimizer.pt").write_bytes(b"")
        with pytest.raises(UsageError, match="pickle"):
            read_content(folder, "model", store)
