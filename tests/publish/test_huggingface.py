"""Pushes to Hugging Face: its real client against a double, through Git LFS and through Xet."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from pipeline.publish import hf_reading, hf_uploads
from pipeline.publish.remote import MovedError, PublishError
from tests.network.hub_server import Fault
from tests.project import Project, tree
from tests.publish.hf_place import CARD, FIRST, NAME, SECOND, TOKEN, Place, kept_alone, noise, open_place, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.network.hub_server import Request

alone = pytest.fixture(kept_alone, autouse=True)


@pytest.fixture(params=[False, True], ids=["lfs", "xet"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give a place, once for each way that large files go."""
    yield from open_place(tmp_path, monkeypatch, xet=request.param)


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give a place to which large files go through Git LFS."""
    yield from open_place(tmp_path, monkeypatch, xet=False)


@pytest.fixture
def xet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give a place to which large files go through Xet."""
    yield from open_place(tmp_path, monkeypatch, xet=True)


def changing(place: Place) -> list[Request]:
    """Return the requests that change something."""
    return [request for request in place.hub.log if request.method != "GET" and "preupload" not in request.path]


# -- what is there afterwards


def test_a_first_push(place: Place) -> None:
    """A private repository is made, and one commit holds all files to the byte."""
    pushed = place.push(FIRST)
    assert place.there() == FIRST
    assert place.hub.repos[NAME].private
    assert place.commits() == 2
    assert pushed.commit == place.hub.repos[NAME].branches["main"]
    assert pushed.url == f"{place.hub.endpoint}/datasets/{NAME}"
    assert (pushed.revision, pushed.pull_request) == ("main", None)
    assert pushed.sent == sum(map(len, FIRST.values())) == sum(place.advanced)


def test_a_second_push_sends_what_is_new(place: Place) -> None:
    """What goes, goes in the same commit; what has another name only is not sent again; what is there stays."""
    place.push(FIRST)
    pushed = place.push(SECOND)
    assert place.there() == SECOND
    assert place.commits() == 3
    new = len(SECOND["README.md"]) + len(SECOND["data/test-00000-of-00001.parquet"])
    assert pushed.sent == sum(place.advanced) == new


def test_nothing_new_is_no_commit(place: Place) -> None:
    """The third push of the same asks four questions and changes nothing."""
    place.push(FIRST)
    place.hub.log.clear()
    pushed = place.push(FIRST)
    assert (place.commits(), pushed.sent, changing(place)) == (2, 0, [])
    assert pushed.commit == place.hub.repos[NAME].branches["main"]


def test_files_of_others_stay(place: Place) -> None:
    """A push takes away what pushes brought, and nothing that people added."""
    place.push(FIRST)
    place.hub.repos[NAME].commit({"LICENSE": b"mine", "data/train-00002-of-00003.parquet": noise(9)})
    place.push(FIRST)
    assert place.there() == {**FIRST, "LICENSE": b"mine"}


def test_a_model(place: Place) -> None:
    """Models go the same way, to another address."""
    files = {"README.md": CARD, "config.json": b"{}", "model.bin": noise(5), "tables/scores.parquet": noise(6)}
    remote = place.remote(kind="model")
    pushed = place.push(files, remote)
    assert place.there(f"models/{NAME}") == files
    assert place.hub.repos.keys() == {f"models/{NAME}"}
    assert pushed.url == f"{place.hub.endpoint}/{NAME}"
    assert set(remote.look().files) == {*files, ".gitattributes"}
    assert b"".join(remote.read("model.bin", pushed.revision)) == files["model.bin"]


LOADED = """
import sys
from datasets import Image, disable_progress_bars, load_dataset

disable_progress_bars()
there, here = (
    {split: list(rows.cast_column("image", Image(decode=False))) for split, rows in load_dataset(place).items()}
    for place in sys.argv[1:]
)
assert there == here, (there, here)
print({split: len(rows) for split, rows in there.items()})
"""


def test_it_loads_as_it_does_here(place: Place, project: Project) -> None:
    """A built dataset is loaded from the hub, in a clean process, as it is from the folder."""
    names = project.pictures(8)
    project.rows("rows.jsonl", [{"n": number, "image": name} for number, name in enumerate(names)])
    splits = {"train": {"files": "rows.jsonl"}}
    recipe = {"configs": {"default": {"splits": splits}}, "media": {"image": {"relative_to": "root"}}}
    project.write({**recipe, "shards": {"max_bytes": "500"}}, {"image": "image", "n": "int64"})
    project.build()
    before = tree(project.out)
    place.push(project.out)
    assert tree(project.out) == before, "the client leaves nothing in the folder"
    assert len(before) > 2
    assert {path: hashlib.sha256(data).hexdigest() for path, data in place.there().items()} == before
    home = place.folder / "other-home"
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", LOADED, NAME, str(project.out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout == "{'train': 8}\n", done.stderr[-2000:]


def test_names_that_urls_write_otherwise(place: Place) -> None:
    """Spaces, percent and number signs, and letters of all countries arrive as they are, and read back."""
    files = {"README.md": CARD, "media/a b#1%20?.png": noise(1), "データ/ö &=+.jsonl": b"{}\n"}
    remote = place.remote()
    place.push(files, remote)
    assert place.there() == files
    for name, data in files.items():
        assert b"".join(remote.read(name, "main")) == data


# -- branches, tags, pull requests, settings


def test_a_branch_that_is_not_there_begins_as_main(place: Place) -> None:
    """It is main's commit first, and then one commit more; main stays where it is."""
    main = place.push(FIRST).commit
    remote = place.remote(f"{NAME}@next")
    state = remote.look()
    assert (state.exists, state.branch_exists, state.commit) == (True, False, main)
    assert set(state.files) == {*FIRST, ".gitattributes"}
    pushed = place.push(SECOND, remote)
    repo = place.hub.repos[NAME]
    assert (place.there(), place.there(revision="next")) == (FIRST, SECOND)
    assert repo.branches == {"main": main, "next": pushed.commit}
    assert (pushed.revision, pushed.url) == ("next", f"{place.hub.endpoint}/datasets/{NAME}/tree/next")
    assert place.commits() == 3


def test_a_branch_of_a_repository_that_is_not_there(lfs: Place) -> None:
    """Both are made."""
    lfs.push(FIRST, lfs.remote(f"{NAME}@dev"))
    assert (lfs.there(), lfs.there(revision="dev")) == ({}, FIRST)


def test_a_branch_as_main_is(lfs: Place) -> None:
    """Where nothing is to be changed, the branch is made all the same."""
    main = lfs.push(FIRST).commit
    assert lfs.push(FIRST, lfs.remote(f"{NAME}@same")).commit == main
    assert lfs.hub.repos[NAME].branches == {"main": main, "same": main}


def test_a_pull_request(place: Place) -> None:
    """Nothing is on the branch; another push of the same finds it; one of something else opens another."""
    place.push(FIRST)
    remote = place.remote()
    pushed = place.push(SECOND, remote, pull_request=True)
    assert place.there() == FIRST
    assert place.there(revision="refs/pr/1") == SECOND
    page = f"{place.hub.endpoint}/datasets/{NAME}/discussions/1"
    assert (pushed.pull_request, pushed.revision, pushed.url) == (page, "refs/pr/1", page)
    assert set(remote.listing(pushed.revision)) == {*SECOND, ".gitattributes"}
    assert b"".join(remote.read("README.md", pushed.revision)) == SECOND["README.md"]
    again = place.push(SECOND, pull_request=True)
    assert (again.commit, again.pull_request, again.sent) == (pushed.commit, page, 0)
    other = place.push({**SECOND, "README.md": CARD}, pull_request=True)
    assert other.revision == "refs/pr/2"
    place.hub.discussions[NAME][0].status = "closed"
    assert place.push(SECOND, pull_request=True).revision == "refs/pr/3"


def test_a_stranger_may_propose(lfs: Place) -> None:
    """Who may not write a public repository may open a pull request."""
    lfs.hub.repo(NAME, FIRST)
    remote = lfs.remote(token="hf_bob")  # noqa: S106  of the double
    assert lfs.push(SECOND, remote, pull_request=True).revision == "refs/pr/1"
    assert "may not be written" in lfs.refused(SECOND, remote)


def test_who_sees_it_is_not_changed_later(lfs: Place) -> None:
    """A push says who sees a repository that it makes, and never of one that is there."""
    lfs.push(FIRST, private=False)
    assert not lfs.hub.repos[NAME].private
    lfs.push(SECOND, private=True)
    assert not lfs.hub.repos[NAME].private
    state = lfs.remote().look()
    assert (state.private, state.gated) == (False, None)


def test_a_gated_repository(lfs: Place) -> None:
    """A new one is gated before there is anything to see, one that is there after the commit, and alone where asked."""
    lfs.push(FIRST, gated="manual")
    assert lfs.hub.repos[NAME].gated == "manual"
    paths = [request.path.rpartition("/")[2] for request in lfs.hub.log if request.method in ("PUT", "POST")]
    assert paths.index("settings") < paths.index("batch")
    assert lfs.remote().look().gated == "manual"
    lfs.push(SECOND, gated="auto")
    assert lfs.hub.repos[NAME].gated == "auto"
    lfs.push(SECOND, gated="manual")
    assert (lfs.hub.repos[NAME].gated, lfs.commits()) == ("manual", 3)


def test_tags(lfs: Place) -> None:
    """A commit is named once; the same name for it again is fine, for another it is refused."""
    remote = lfs.remote()
    first = lfs.push(FIRST, remote).commit
    remote.tag("v1.0.0", first, "The first")
    remote.tag("v1.0.0", first, "The first")
    second = lfs.push(SECOND, remote).commit
    with pytest.raises(PublishError, match=r"has the tag 'v1\.0\.0' already") as caught:
        remote.tag("v1.0.0", second, "The second")
    assert first[:12] in shown(caught.value)
    assert remote.look().tags == {"v1.0.0": first}
    assert "as a tag" in lfs.refused(SECOND, lfs.remote(f"{NAME}@v1.0.0"))


@pytest.mark.parametrize("undone", [True, False])
def test_a_tag_whose_answer_is_lost(undone: bool, lfs: Place) -> None:
    """It is asked for again, and found."""
    remote = lfs.remote()
    commit = lfs.push(FIRST, remote).commit
    lfs.hub.faults = [Fault("/tag/", method="POST", reset=True, undone=undone)]
    remote.tag("v1", commit, "")
    assert lfs.hub.repos[NAME].tags == {"v1": commit}


# -- reading back


def test_a_file_is_read_piece_by_piece(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is asked for by itself, on from where the one before ended; the token stays with the hub."""
    monkeypatch.setattr(hf_reading, "PIECE", 7_000)
    remote = place.remote()
    place.push(FIRST, remote)
    place.hub.log.clear()
    place.hub.faults = [Fault("/_cdn/", cut=100, after=1), Fault("/_cdn/", status=503, after=3)]
    pieces = list(remote.read("data/train-00000-of-00002.parquet", "main"))
    assert b"".join(pieces) == FIRST["data/train-00000-of-00002.parquet"]
    assert max(map(len, pieces)) == 7_000
    assert [fault.times for fault in place.hub.faults] == [0, 0]
    assert not any("authorization" in request.headers for request in place.hub.asked("/_cdn/"))
    assert b"".join(remote.read("notes/none.txt", "main")) == b""


def test_a_server_that_gives_no_parts(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read already is left out."""
    monkeypatch.setattr(hf_reading, "PIECE", 12_000)
    lfs.hub.gives_parts = False
    remote = lfs.remote()
    lfs.push(FIRST, remote)
    name = "data/train-00001-of-00002.parquet"
    assert b"".join(remote.read(name, "main")) == FIRST[name]


def test_a_file_that_is_not_there(lfs: Place) -> None:
    """It is said, of files and of revisions."""
    remote = lfs.remote()
    lfs.push(FIRST, remote)
    with pytest.raises(PublishError, match="not there"):
        list(remote.read("gone.txt", "main"))
    with pytest.raises(PublishError, match="has no branch, tag or commit"):
        remote.listing("v9")


def test_a_listing_is_asked_anew(lfs: Place) -> None:
    """What somebody changed since is seen, and nothing is kept on the disk for the next time."""
    lfs.hub.page_size = 2
    remote = lfs.remote()
    lfs.push(FIRST, remote)
    assert set(remote.listing("main")) == {*FIRST, ".gitattributes"}
    lfs.hub.repos[NAME].commit({"late.txt": b""})
    assert "late.txt" in remote.listing("main")
    assert not [path for path in (lfs.folder.parent / "home").rglob("*") if path.is_file()]


# -- what it costs


def test_two_thousand_files(xet: Place) -> None:
    """Few requests, whatever the number of files, and one commit."""
    files = {f"media/{number:05}.png": noise(number, 40) for number in range(2_000)}
    xet.push({"README.md": CARD, **files})
    assert len(xet.there()) == 2_001
    assert xet.commits() == 2
    asked = xet.hub.asked_of_the_api()
    assert len(asked) <= 30, len(asked)
    xet.push({"README.md": CARD + b"!", **files})
    assert len(asked) < len(xet.hub.asked_of_the_api()) <= 50


def test_batches_of_git_lfs(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files go in batches; each costs two requests, beside those for contents."""
    monkeypatch.setattr(hf_uploads, "BATCH_BYTES", 1_000)
    files = {f"media/{number:05}.png": noise(number, 40) for number in range(60)}
    lfs.push({"README.md": CARD, **files})
    assert lfs.there() == {"README.md": CARD, **files}
    assert len(lfs.hub.asked("/preupload/", "POST")) == len(lfs.hub.asked("/batch", "POST")) == 3


def test_new_chunks_only(xet: Place) -> None:
    """Of a large file that changed in the middle, little is sent."""
    name, size = "data/train-00000-of-00001.parquet", 3_000_000
    data = noise(1, size)
    xet.push({"README.md": CARD, name: data})
    changed = data[: size // 2] + b"new" + data[size // 2 :]
    pushed = xet.push({"README.md": CARD, name: changed})
    assert xet.there()[name] == changed
    assert 0 < pushed.sent < size / 4
    assert xet.remote().upper_bound


def test_parts_of_a_large_file(lfs: Place) -> None:
    """A store that takes large files in parts gets them so; a part that fails is sent again."""
    lfs.hub.part = 10_000
    lfs.hub.faults = [Fault("/_lfs/.*/2", method="PUT", status=503, undone=True)]
    pushed = lfs.push(FIRST)
    assert lfs.there() == FIRST
    assert pushed.sent == sum(map(len, FIRST.values())) + 10_000
    assert sum(lfs.advanced) == sum(map(len, FIRST.values()))
    assert not lfs.remote().upper_bound


PEAK = """
import re, sys
from pathlib import Path
from pipeline.publish.huggingface import HuggingFaceRemote
from pipeline.publish.remote import Change, LocalFile
from pipeline.publish.target import parse_target
remote = HuggingFaceRemote(parse_target("huggingface:alice/birds"), "dataset")
state = remote.look()
path = Path(sys.argv[1])
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
wanted = {"data/a.parquet": LocalFile(path=path, size=path.stat().st_size, sha256=sys.argv[2])}
change = Change(state=state, wanted=wanted, additions=frozenset(wanted), deletions=frozenset(), title="Large")
sent = remote.push(change, lambda _: None).sent
print(sent, (peak() - before) // 1024)
"""


def test_memory_stays_flat(lfs: Place) -> None:
    """A file of 150 MB costs a process a few more."""
    size = 150_000_000
    laid = lfs.lay({"data/a.parquet": bytes(size)})["data/a.parquet"]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", PEAK, str(laid.path), laid.sha256]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    sent, grown = map(int, done.stdout.split())
    assert sent == size
    assert grown < 60, f"{grown} MB"
    assert done.stderr == ""


# -- what nobody should see


def test_nothing_on_the_terminal_and_no_token_on_the_disk(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """No bars, no warnings, no log lines, not even of what is tried again; the client stores no token."""
    place.hub.faults = [Fault("/preupload/", method="POST", status=503, times=2), Fault("/refs", status=503)]
    place.push(FIRST)
    list(place.remote().read("README.md", "main"))
    place.refused(SECOND, place.remote(token="hf_wrong"))  # noqa: S106  of the double
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    home = place.folder.parent / "home"
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]
    assert all("xet" in path.relative_to(home).parts for path in kept)


def test_what_the_client_is_set_to_comes_back(lfs: Place) -> None:
    """Bars and log lines are as they were, and so is its way to the storage of chunks."""
    from huggingface_hub.utils import _xet, are_progress_bars_disabled, logging  # type: ignore[attr-defined]

    before = (are_progress_bars_disabled(), logging.get_verbosity(), _xet.get_xet_session)
    lfs.push(FIRST)
    assert (are_progress_bars_disabled(), logging.get_verbosity(), _xet.get_xet_session) == before


# -- a push that is ended


def test_ctrl_c_ends_it_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that send are told to stop, nothing is there, and another push completes it."""
    monkeypatch.setattr(hf_uploads, "TICK", 0.001)
    files = {"README.md": CARD, **{f"data/train-{n:05}-of-00004.parquet": noise(n, 3_000_000) for n in range(4)}}
    remote = place.remote()
    change = place.change(remote.look(), files)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remote.push(change, interrupted)
    assert not [thread for thread in threading.enumerate() if thread.name == "uploads"]
    assert place.there() == {}
    place.push(files)
    assert place.there() == files


def test_somebody_else_was_first(place: Place) -> None:
    """A branch that moved after it was looked at is not touched; one that holds just this counts as pushed."""
    place.push(FIRST)
    remote = place.remote()
    change = place.change(remote.look(), SECOND)
    place.hub.repos[NAME].commit({"theirs.txt": b"1"})
    place.hub.log.clear()
    with pytest.raises(MovedError, match="was changed by somebody else"):
        remote.push(change, place.advanced.append)
    assert place.there() == {**FIRST, "theirs.txt": b"1"}
    assert changing(place) == []
    change = place.change(remote.look(), SECOND)
    at = place.push(SECOND).commit
    pushed = remote.push(change, place.advanced.append)
    assert (pushed.commit, pushed.sent, place.there()) == (at, 0, {**SECOND, "theirs.txt": b"1"})


def test_a_gitignore_of_the_repository_leaves_nothing_out(place: Place) -> None:
    """A push says itself which files it holds, and the client would pass over ignored ones in silence."""
    place.hub.repo(NAME, {".gitignore": b"*.parquet\nnotes*\n"})
    place.push(FIRST)
    assert place.there() == {**FIRST, ".gitignore": b"*.parquet\nnotes*\n"}


def test_the_hub_writes_down_new_sorts_of_large_files(place: Place) -> None:
    """That is no change by somebody else, also where the answer to the commit is lost."""
    place.hub.kept_in_git = 1_000
    files = {**FIRST, "archive.tar": noise(4, 5_000)}
    place.hub.faults = [Fault("/commit/", method="POST", reset=True)]
    place.push(files)
    assert place.there() == files
    assert b"archive.tar filter=lfs" in place.hub.files(NAME)[".gitattributes"]
    assert place.commits() == 2


def test_the_payload_of_a_commit(lfs: Place) -> None:
    """What it says of itself, and what it is made upon."""
    lfs.push(FIRST)
    parent = lfs.hub.repos[NAME].branches["main"]
    lfs.push(SECOND, title="Release v2", description="1 file added.")
    body = [json.loads(line) for line in lfs.hub.asked("/commit/", "POST")[-1].body.splitlines()]
    assert body[0]["value"] == {"summary": "Release v2", "description": "1 file added.", "parentCommit": parent}
    assert sorted(entry["key"] for entry in body[1:]) == ["deletedFile", "deletedFile", "file", "lfsFile", "lfsFile"]
