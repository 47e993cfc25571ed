"""Dataset repositories as sources: the hubs' real clients against doubles on the loopback."""

from __future__ import annotations

import email.utils
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ShardwrightError, SourceError, WorkspaceError
from pipeline.sources import hub_retry, hub_shelf
from pipeline.sources.hub import HubRepo, ListedFile, Listing, list_repo, parse_hub_url, snapshot
from pipeline.sources.hub_listing import matching
from pipeline.sources.local import expand
from tests.network.hf_double import HuggingFaceDouble
from tests.network.hub_server import Fault
from tests.network.ms_double import ModelScopeDouble
from tests.project import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sources.hub import HubName

ROOT = Path(__file__).parents[2]
NAME = "alice/birds"
FILES = {
    "README.md": b"# Birds\n",
    "data/a.jsonl": b'{"n": 1}\n' * 500,
    "data/b.jsonl": b'{"n": 2}\n' * 500,
    "images/1.png": b"one" * 30_000,
    "images/deep/2.png": b"two" * 30_000,
    "images/.hidden.png": b"dot" * 100,
}
ALL = ["**/*"]
VISIBLE = {path for path in FILES if "/." not in path}
SECRETS = ("hf_alice", "hf_bob", "hf_wrong", "ms-alice", "ms-bob", "ms-wrong")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Keep the clients away from this machine's caches, tokens and proxies; give the waits that we ask for."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "MODELSCOPE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MODELSCOPE_HOME", str(home / "ms"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(home / "ms-cache"))
    monkeypatch.setattr(constants, "HF_HOME", str(home / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    # Else the client asks once a day for a list of programs that may be using it.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    waits: list[float] = []
    sleep = time.sleep
    monkeypatch.setattr(hub_retry, "pause", waits.append)
    # The clients sleep between their own attempts, up to eight seconds: the attempts are real, the time is not.
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.005)))
    from modelscope_hub._download_control import _DownloadControl

    monkeypatch.setattr(_DownloadControl, "sleep", lambda self, seconds: self.check())  # noqa: ARG005
    yield waits
    close_session()


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceDouble]:
    """Give a double of Hugging Face with one public repository."""
    with HuggingFaceDouble() as double:
        monkeypatch.setenv("HF_ENDPOINT", double.endpoint)
        double.repo(NAME, FILES)
        yield double


@pytest.fixture
def ms(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelScopeDouble]:
    """Give a double of ModelScope with one public repository."""
    with ModelScopeDouble() as double:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", double.endpoint)
        double.repo(NAME, FILES)
        yield double


def on_hf(revision: str | None = None, name: str = NAME) -> HubRepo:
    """Name a repository on Hugging Face."""
    return HubRepo(hub="huggingface", id=name, revision=revision)


def on_ms(revision: str | None = None, name: str = NAME) -> HubRepo:
    """Name a repository on ModelScope."""
    return HubRepo(hub="modelscope", id=name, revision=revision)


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    """Return what `tree` gives for files with these contents."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}


def visible(files: dict[str, bytes] = FILES) -> dict[str, str]:
    """Return the hashes of the files that are not hidden."""
    return hashes({path: data for path, data in files.items() if "/." not in path})


def refused(repo: HubRepo, folder: Path, patterns: list[str] | None = None, **options: Any) -> SourceError:
    """Return the error of a snapshot; it never shows a token."""
    with pytest.raises(ShardwrightError) as caught:
        snapshot(repo, patterns or ALL, folder, **options)
    text = str(caught.value)
    assert not any(secret in text for secret in SECRETS), text
    assert isinstance(caught.value, SourceError), text
    return caught.value


def half_files(folder: Path) -> list[str]:
    """Return what looks like half a file in the folders of finished snapshots."""
    return [path.name for path in folder.rglob("*") if path.suffix in {".incomplete", ".metadata", ".lock"}]


# -- Hugging Face: what is there


def test_a_public_repository_arrives_whole(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """All files that match are there with their bytes, real files, and nothing beside them."""
    came: list[int] = []
    found = snapshot(on_hf(), ALL, tmp_path / "s", advance=came.append)
    assert tree(found.folder) == visible()
    assert not any(path.is_symlink() for path in found.folder.rglob("*"))
    assert found.commit == hf.repos[NAME].branches["main"]
    assert set(found.files) == VISIBLE
    assert sum(came) == sum(size for _, size in found.files.values()) == sum(len(FILES[path]) for path in VISIBLE)
    assert found.files["images/1.png"][0] == hashlib.sha256(FILES["images/1.png"]).hexdigest()
    assert found.files["README.md"][0] is None
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted(
        [found.folder.name, f"{found.folder.name}.json", "latest.json"]
    )
    assert not (tmp_path / "home" / "hf").exists()


def test_the_listing_alone(hf: HuggingFaceDouble) -> None:
    """A repository can be listed without a download."""
    listing = list_repo(on_hf())
    assert set(listing.files) == set(FILES)
    assert listing.commit == hf.repos[NAME].branches["main"]
    assert all(file.size == len(FILES[path]) for path, file in listing.files.items())
    assert hf.bodies() == []


def test_the_second_run_asks_for_the_commit_and_nothing_else(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """A branch costs one request when it has not moved; a full commit id costs none."""
    first = snapshot(on_hf("main"), ALL, tmp_path)
    hf.log.clear()
    assert snapshot(on_hf("main"), ALL, tmp_path) == first
    assert [request.path for request in hf.log] == [f"/api/datasets/{NAME}/revision/main"]
    hf.log.clear()
    assert snapshot(on_hf(first.commit), ALL, tmp_path) == first
    assert hf.log == []


def test_a_pinned_commit_stays(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """A commit that is named is had, also when its branch has moved on; so are tags and other branches."""
    repo = hf.repos[NAME]
    old = repo.branches["main"]
    repo.tags["v1"] = old
    repo.commit({"data/a.jsonl": b"new\n"})
    repo.branches["refs/convert/parquet"] = old
    for revision in (old, "v1", old[:9], "refs/convert/parquet"):
        found = snapshot(on_hf(revision), ["data/*.jsonl"], tmp_path / revision.replace("/", "-"))
        assert found.commit == old
        assert (found.folder / "data/a.jsonl").read_bytes() == FILES["data/a.jsonl"]


def test_a_branch_that_moves_costs_what_has_changed(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Only new contents are fetched, also under other names; the old snapshot stays as it was."""
    repo = hf.repos[NAME]
    first = snapshot(on_hf(), ALL, tmp_path)
    before = tree(first.folder)
    new = b"three" * 9000
    repo.commit(
        {"images/1.png": new, "data/b.jsonl": None, "images/2.png": FILES["images/deep/2.png"], "data/c.jsonl": b"c\n"}
    )
    hf.log.clear()
    second = snapshot(on_hf(), ALL, tmp_path)
    assert sorted(hf.bodies()) == sorted([hashlib.sha256(new).hexdigest(), "data/c.jsonl"])
    expected = {**FILES, "images/1.png": new, "images/2.png": FILES["images/deep/2.png"], "data/c.jsonl": b"c\n"}
    del expected["data/b.jsonl"]
    assert tree(second.folder) == visible(expected)
    assert tree(first.folder) == before
    assert (second.folder / "README.md").stat().st_ino == (first.folder / "README.md").stat().st_ino


def test_an_old_snapshot_that_was_changed_is_not_taken_from(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """A file that somebody edited in place is neither found again nor linked."""
    first = snapshot(on_hf(), ALL, tmp_path)
    edited = first.folder / "data/a.jsonl"
    edited.write_bytes(edited.read_bytes().replace(b"1", b"7"))
    hf.repos[NAME].commit({"README.md": b"# Other\n"})
    hf.log.clear()
    second = snapshot(on_hf(), ALL, tmp_path)
    assert sorted(hf.bodies()) == ["README.md", "data/a.jsonl"]
    assert tree(second.folder) == visible({**FILES, "README.md": b"# Other\n"})
    hf.log.clear()
    assert tree(snapshot(on_hf(first.commit), ALL, tmp_path).folder) == visible()


def test_a_file_that_was_only_touched_is_kept(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Another time makes a file be read again, not fetched again."""
    first = snapshot(on_hf(), ALL, tmp_path)
    os.utime(first.folder / "README.md", (1, 1))
    hf.log.clear()
    assert snapshot(on_hf(), ALL, tmp_path) == first
    assert hf.bodies() == []


def test_patterns_choose_and_do_not_mix(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Each set of patterns has a folder of its own with exactly its files; what both have is fetched once."""
    data = snapshot(on_hf(), ["data/*"], tmp_path)
    assert set(tree(data.folder)) == {"data/a.jsonl", "data/b.jsonl"}
    hf.log.clear()
    some = snapshot(on_hf(), ["images/**/*.png", "data/a.jsonl"], tmp_path)
    assert set(tree(some.folder)) == {"data/a.jsonl", "images/1.png", "images/deep/2.png"}
    assert len(hf.bodies()) == 2
    assert set(tree(snapshot(on_hf(), ["images/.hidden.png"], tmp_path).folder)) == {"images/.hidden.png"}
    assert set(tree(snapshot(on_hf(), ["images/**"], tmp_path).folder)) == {"images/1.png", "images/deep/2.png"}


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("data/a.json", "data/a.jsonl"),
        ("data", "'data/*'"),
        ("/data/a.jsonl", "relative"),
        ("../x", "relative"),
        ("data/**.jsonl", "'data/*.jsonl'"),
    ],
)
def test_a_pattern_without_a_file_is_an_error(hf: HuggingFaceDouble, tmp_path: Path, pattern: str, hint: str) -> None:
    """The error names what is near, or what a pattern may be; nothing is fetched."""
    assert hint in str(refused(on_hf(), tmp_path, [pattern]))
    assert hf.bodies() == []


def test_a_listing_of_many_pages(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """All pages of a listing are read, and a page that fails is asked for again."""
    hf.page_size = 2
    files = {f"d{number % 3}/{number}.txt": str(number).encode() for number in range(20)}
    hf.repo(NAME, files)
    hf.faults.append(Fault("cursor=4", status=503))
    assert tree(snapshot(on_hf(), ALL, tmp_path).folder) == hashes(files)
    assert len(hf.asked("/tree/")) == 13


STORE = """
import sys, hf_xet
with hf_xet.XetSession().new_upload_commit(endpoint=sys.argv[1]) as commit:
    handle = commit.start_upload_file(sys.argv[2], sha256=hf_xet.COMPUTE_SHA256)
print(handle.result().xet_info.hash)
"""


def test_a_large_file_from_the_store_of_chunks(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Through Xet the content never passes the hub, and is checked all the same."""
    hf.xet_store = f"local://{tmp_path / 'chunks'}"
    for path in ("images/1.png", "images/deep/2.png"):
        content = tmp_path / "content"
        content.write_bytes(FILES[path])
        command = [sys.executable, "-c", STORE, hf.xet_store, content]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        hf.xet[hashlib.sha256(FILES[path]).hexdigest()] = done.stdout.strip()
    out, error = started("huggingface", tmp_path / "s", HF_HUB_DISABLE_XET="0").communicate(timeout=30)
    assert out.startswith(f"{len(VISIBLE)} "), error
    assert tree(Path(out.split(" ", 1)[1].strip())) == visible()
    assert not hf.asked("/_cdn/")
    wrong = dict(zip(hf.xet, reversed(hf.xet.values()), strict=True))
    hf.xet = wrong
    out, error = started("huggingface", tmp_path / "t", HF_HUB_DISABLE_XET="0").communicate(timeout=30)
    assert "SHA-256" in error


# -- Hugging Face: who may


def test_a_private_repository(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is had with a token of its owner; without one, or with another's, the error says what to set."""
    hf.repos[NAME].private = True
    assert "HF_TOKEN" in str(refused(on_hf(), tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    assert "this token may not see it" in str(refused(on_hf(), tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    assert tree(snapshot(on_hf(), ALL, tmp_path).folder) == visible()
    assert all("authorization" not in request.headers for request in hf.asked("/_cdn/"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept the token" in str(refused(on_hf(), tmp_path))
    assert list_repo(on_hf(), token="hf_alice").files  # noqa: S106  a token of the double


def test_a_gated_repository(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where to ask; who was let in gets it."""
    hf.repos[NAME].gated = True
    page = f"{hf.endpoint}/datasets/{NAME}"
    text = str(refused(on_hf(), tmp_path))
    assert page in text
    assert "HF_TOKEN" in text
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    assert page in str(refused(on_hf(), tmp_path))
    hf.repos[NAME].granted.add("bob")
    assert tree(snapshot(on_hf(), ALL, tmp_path).folder) == visible()


def test_what_is_not_there(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """A repository or revision that is not there is named, with names that are near."""
    assert "alice/birdz" in str(refused(on_hf(name="alice/birdz"), tmp_path))
    hf.repos[NAME].tags["v1.0"] = hf.repos[NAME].branches["main"]
    assert "'v1.0'" in str(refused(on_hf("v1.1"), tmp_path))
    assert "0" * 40 in str(refused(on_hf("0" * 40), tmp_path))
    with pytest.raises(SourceError, match="owner/name"):
        on_hf(name="birds")
    with pytest.raises(SourceError, match="owner/name"):
        on_hf(name="../..")


def test_an_answer_of_403(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server says is shown, without control characters; nothing is tried again."""
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    said = {"X-Error-Message": "no\x1b[31m rights, hf_bob"}
    hf.faults.append(Fault("/revision/main", status=403, headers=said))
    text = str(refused(on_hf(), tmp_path))
    assert "rights" in text
    assert "\x1b" not in text
    hf.faults.append(Fault("/resolve/.*README", "HEAD", status=403, headers={"X-Error-Message": "no rights"}))
    assert "no rights" in str(refused(on_hf(), tmp_path))
    assert hf.faults[-1].times == 0


# -- Hugging Face: what fails


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503, "times": 4},
        {"status": 429, "headers": {"Retry-After": "2"}},
        {"cut": 1000},
        {"cut": 1000, "times": 3},
        {"reset": True},
        {"wrong": True},
        {"stall": 1000},
    ],
    ids=str,
)
def test_a_body_that_fails_comes_in_the_end(
    hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], large: bool
) -> None:
    """Whatever happens to a body a few times, the file is whole in the end."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hf.faults.append(Fault("/_cdn/" if large else "/resolve/.*a.jsonl", **fault))
    found = snapshot(on_hf(), ALL, tmp_path)
    assert tree(found.folder) == visible()
    assert hf.faults[0].times == 0


def test_a_cut_body_goes_on_where_it_ended(
    hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for the rest, and not for all again."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hf.faults.append(Fault("/_cdn/", cut=50_500))
    assert tree(snapshot(on_hf(), ["images/1.png"], tmp_path).folder) == hashes({"images/1.png": FILES["images/1.png"]})
    assert [request.range for request in hf.asked("/_cdn/")] == [None, "bytes=50000-"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "answers 500"),
        ({"status": 429}, "no more requests"),
        ({"reset": True}, "cannot be reached"),
        ({"wrong": True}, "git hash"),
        ({"status": 404, "headers": {"X-Error-Code": "EntryNotFound"}}, "is not there"),
        ({"status": 418}, "answers 418"),
    ],
    ids=str,
)
def test_a_body_that_fails_for_ever(
    hf: HuggingFaceDouble, tmp_path: Path, fault: dict[str, Any], words: str, alone: list[float]
) -> None:
    """The error says what happened, in bounded time; no half file is left, and the next run goes on."""
    hf.faults.append(Fault("/resolve/.*a.jsonl", times=1000, **fault))
    assert words in str(refused(on_hf(), tmp_path))
    assert len(alone) < hub_retry.TRIES
    assert sum(alone) < hub_retry.PATIENCE
    assert not list(tmp_path.glob("*.json"))
    assert not list(tmp_path.glob("[0-9a-f]*/**/a.jsonl"))
    hf.faults.clear()
    hf.log.clear()
    found = snapshot(on_hf(), ALL, tmp_path)
    assert tree(found.folder) == visible()
    assert half_files(found.folder) == []
    assert not list(tmp_path.glob(".tmp-*"))


def test_connections_that_another_thread_closes(
    hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client closes the connections of all threads when one cannot connect; the others' files come all the same."""
    from huggingface_hub.utils import _http

    give = _http.get_session
    closed = []

    def give_a_closed_one() -> Any:
        client = give()
        if len(closed) < 3 and len(hf.log) > 2:
            closed.append(client)
            client.close()
            _http.close_session()
        return client

    monkeypatch.setattr(_http, "get_session", give_a_closed_one)
    assert tree(snapshot(on_hf(), ["README.md"], tmp_path).folder) == hashes({"README.md": FILES["README.md"]})
    assert len(closed) == 3


@pytest.mark.parametrize("path", ["/revision/main", "/tree/"])
@pytest.mark.parametrize("fault", [{"status": 502, "times": 3}, {"reset": True}, {"cut": 5}], ids=str)
def test_a_request_that_fails_is_made_again(
    hf: HuggingFaceDouble, tmp_path: Path, path: str, fault: dict[str, Any]
) -> None:
    """The client does not ask twice for a commit; we do."""
    hf.faults.append(Fault(path, **fault))
    assert tree(snapshot(on_hf(), ALL, tmp_path).folder) == visible()


def test_the_server_says_how_long_to_wait(hf: HuggingFaceDouble, tmp_path: Path, alone: list[float]) -> None:
    """A wait that the server asks for is kept, and one that is too long ends it."""
    hf.faults.append(Fault("/revision/main", status=503, headers={"Retry-After": "17"}))
    snapshot(on_hf(), ["README.md"], tmp_path)
    assert len(alone) == 1
    assert 17 <= alone[0] < 18
    alone.clear()
    hf.faults.append(Fault("/revision/main", status=429, headers={"Retry-After": "7200"}))
    text = str(refused(on_hf(), tmp_path))
    assert "7200 seconds" in text
    assert alone == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5.0), (" 0 ", 0.0), ("", None), (None, None), ("soon", None), ("-1", None), ("\u0665", None)],
)
def test_a_wait_is_read(header: str | None, seconds: float | None) -> None:
    """Numbers and dates are understood; what is neither is left to our own waits."""
    assert hub_retry.asked_wait(header) == seconds
    assert hub_retry.asked_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert (hub_retry.asked_wait(email.utils.formatdate(time.time() + 90, usegmt=True)) or 0) > 80


def test_nobody_listens(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the endpoint, without the password in it, or the proxy that is at fault."""
    with HuggingFaceDouble() as gone:
        nowhere = gone.endpoint
    monkeypatch.setenv("HF_ENDPOINT", nowhere.replace("//", "//me:secret@"))
    text = str(refused(on_hf(), tmp_path))
    assert nowhere in text
    assert "secret" not in text
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("HTTP_PROXY", nowhere)
    from huggingface_hub.utils import close_session

    close_session()
    assert "http://hub.invalid cannot be reached" in str(refused(on_hf(), tmp_path))
    assert hf.log == []


def test_a_page_that_is_no_hub(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """A login page in place of an answer is said to be none."""
    hf.info = lambda *_, **__: hf.cdn(None, "page")  # type: ignore[assignment,arg-type]
    hf.on_other_host["page"] = b"<html>log in</html>"
    hf.routes = [(m, p, hf.info if "revision" in p.pattern else to) for m, p, to in hf.routes]
    assert "does not answer as Hugging Face does" in str(refused(on_hf(), tmp_path))


def test_too_much_is_refused_before_it_is_fetched(
    hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of bytes, and the room on the disk, are looked at first."""
    assert "100,000 bytes" in str(refused(on_hf(), tmp_path, max_bytes=100_000))
    usage = shutil.disk_usage(tmp_path)._replace(free=hub_shelf.SPACE + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WorkspaceError, match="more bytes"):
        snapshot(on_hf(), ALL, tmp_path)
    assert hf.bodies() == []
    snapshot(on_hf(), ["README.md"], tmp_path, max_bytes=8)


def test_a_disk_that_takes_no_more(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """What the disk says while a file is written is an error of the workspace, with a way out."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(WorkspaceError, match="File too large"):
            snapshot(on_hf(), ["images/1.png"], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(hf.bodies()) == 1
    assert tree(snapshot(on_hf(), ALL, tmp_path).folder) == visible()


# -- without network


def test_offline_after_online(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was downloaded is found without a request, by branch and by commit; what is missing is named."""
    with pytest.raises(SourceError, match="was not downloaded yet"):
        snapshot(on_hf(), ALL, tmp_path, offline=True)
    first = snapshot(on_hf(), ALL, tmp_path)
    hf.log.clear()
    assert snapshot(on_hf(), ALL, tmp_path, offline=True) == first
    assert snapshot(on_hf(first.commit), ALL, tmp_path, offline=True) == first
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert snapshot(on_hf(), ALL, tmp_path) == first
    assert "was not downloaded yet" in str(refused(on_hf(), tmp_path, ["data/*"]))
    assert "was not downloaded yet" in str(refused(on_hf("v1"), tmp_path))
    (first.folder / "README.md").unlink()
    assert "'README.md'" in str(refused(on_hf(), tmp_path))
    assert hf.log == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert snapshot(on_hf(), ALL, tmp_path) == first
    assert hf.bodies() == ["README.md"]


SCRIPT = """
import sys
from pathlib import Path, PurePosixPath
from pipeline.errors import ShardwrightError
from pipeline.sources.hub import HubRepo, snapshot
try:
    found = snapshot(HubRepo(hub=sys.argv[1], id=sys.argv[2], revision=None), ["**/*"], Path(sys.argv[3]))
    print(len(found.files), found.folder)
except ShardwrightError as error:
    sys.exit(str(error))
"""


def started(hub: HubName, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a snapshot in a process of its own, which reads its environment as a user's does."""
    command = [sys.executable, "-c", SCRIPT, hub, NAME, str(folder)]
    whole = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.Popen(command, env=whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_environment_is_the_clients(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE reach the client as they do for everybody."""
    hf.repos[NAME].private = True
    home = tmp_path / "hf-home"
    home.mkdir()
    (home / "token").write_text("hf_alice\n", encoding="utf-8")
    out, error = started("huggingface", tmp_path / "s", HF_HOME=str(home)).communicate(timeout=30)
    assert out.startswith(f"{len(VISIBLE)} "), error
    asked = len(hf.log)
    out, error = started("huggingface", tmp_path / "s", HF_HUB_OFFLINE="1").communicate(timeout=30)
    assert out.startswith(f"{len(VISIBLE)} "), error
    assert len(hf.log) == asked
    done = started("huggingface", tmp_path / "t", HF_TOKEN="hf_wrong")  # noqa: S106  a token of the double
    out, error = done.communicate(timeout=30)
    assert done.returncode == 1
    assert "does not accept the token" in error
    assert "hf_wrong" not in error
    assert not (home / "hub").exists()


@pytest.mark.parametrize("hub", ["huggingface", "modelscope"])
def test_killed_in_the_middle(hf: HuggingFaceDouble, ms: ModelScopeDouble, tmp_path: Path, hub: HubName) -> None:
    """What was whole before a kill is kept, what was not does not count, and the next run brings the rest."""
    double: HuggingFaceDouble | ModelScopeDouble = hf if hub == "huggingface" else ms
    double.faults.append(Fault("/_cdn/" if hub == "huggingface" else "FilePath=images/deep", stall=40_000))
    process = started(hub, tmp_path / "s")
    end = time.monotonic() + 20
    there: set[str] = set()
    while time.monotonic() < end and len(there) < len(VISIBLE) - 1:
        there = {path.name for path in (tmp_path / "s").glob("[0-9a-f]*/**/*") if path.is_file()}
        threading.Event().wait(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(there) == len(VISIBLE) - 1
    assert not list((tmp_path / "s").glob("*.json"))
    double.log.clear()
    repo = on_hf() if hub == "huggingface" else on_ms()
    found = snapshot(repo, ALL, tmp_path / "s")
    assert tree(found.folder) == visible()
    assert len(double.bodies()) == 1
    if hub == "modelscope":
        assert [request.range for request in ms.asked("/repo$")] == ["bytes=40000-"]
    assert not list((tmp_path / "s").glob(".tmp-*"))


def test_interrupted(hf: HuggingFaceDouble, tmp_path: Path) -> None:
    """Ctrl-C ends it at once, also while a large file is under way."""
    hf.faults.append(Fault("/_cdn/", stall=40_000))
    process = started("huggingface", tmp_path / "s")
    end = time.monotonic() + 20
    while time.monotonic() < end and not hf.asked("/_cdn/"):
        threading.Event().wait(0.02)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - begun < 20
    assert process.returncode
    assert not list((tmp_path / "s").glob("*.json"))


# -- listings of strangers


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["../../escape.txt"], "climbs"),
        (["/etc/escape.txt"], "absolute"),
        (["a/../../escape.txt"], "climbs"),
        (["a\\..\\escape.txt"], "backslash"),
        (["a\x1b[2J.txt"], "control character"),
        (["a\n.txt"], "control character"),
        (["a//b.txt"], "plainly"),
        (["./b.txt"], "plainly"),
        (["x" * 256 + ".txt"], "255 bytes"),
        (["A.txt", "a.txt"], "one file"),
        (["stra\u00dfe.txt", "STRASSE.txt"], "one file"),
        (["\u00e9.txt", "e\u0301.txt"], "one file"),
        (["a.txt", "A.txt/b.txt"], "one file"),
        (["C:/b.txt"], "drive letter"),
    ],
)
@pytest.mark.parametrize("hub", ["huggingface", "modelscope"])
def test_paths_that_no_disk_should_see(  # noqa: PLR0917
    hf: HuggingFaceDouble, ms: ModelScopeDouble, tmp_path: Path, hub: HubName, paths: list[str], words: str
) -> None:
    """They are refused in words, with nothing fetched and nothing written; what does not match does no harm."""
    double: HuggingFaceDouble | ModelScopeDouble = hf if hub == "huggingface" else ms
    double.repo(NAME, {**dict.fromkeys(paths, b"x"), "fine.json": b"{}"})
    repo = HubRepo(hub=hub, id=NAME, revision=None)
    text = str(refused(repo, tmp_path / "s", ["**/*.txt"]))
    assert words in text
    assert "\x1b" not in text
    assert double.bodies() == []
    assert not (tmp_path / "s").exists()
    assert set(tree(snapshot(repo, ["*.json"], tmp_path / "s").folder)) == {"fine.json"}


@pytest.mark.parametrize(
    "lfs", [{"oid": "../../x", "size": 1, "pointerSize": 1}, {"oid": "a" * 64, "size": -1, "pointerSize": 1}]
)
def test_facts_that_are_none(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lfs: Any) -> None:
    """A hash or a size that is none is refused."""
    from tests.network.hf_double import Blob

    monkeypatch.setattr(
        Blob,
        "listed",
        lambda _, path: {"type": "file", "path": path, "size": 1, "oid": "0" * 40, "lfs": {**lfs, "pointerSize": 1}},
    )
    assert "lists" in str(refused(on_hf(), tmp_path))
    assert hf.bodies() == []


NAMES = st.text(st.sampled_from("ab.[]!-*?Ä"), min_size=1, max_size=4).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PARTS = st.one_of(st.just("**"), st.just("*"), st.text(st.sampled_from("ab.[]!-*?Ä"), min_size=1, max_size=4))
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@settings(max_examples=150, deadline=None)
@given(paths=st.sets(PATHS, min_size=1, max_size=6), pattern=PATTERNS)
def test_patterns_mean_what_they_mean_for_folders(
    paths: set[str], pattern: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A pattern takes the same files from a listing as from a folder that holds them."""
    root = tmp_path_factory.mktemp("files")
    made = set()
    for path in sorted(paths):
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(b"")
            made.add(path)
        except OSError:  # a file where a folder is needed
            continue
    listing = Listing(commit="0" * 40, files={path: ListedFile(size=0) for path in made})

    def taken(how: Any) -> set[str] | None:
        try:
            return set(how())
        except SourceError:
            return None

    local = taken(lambda: [path.relative_to(root).as_posix() for path in expand(root, [pattern])])
    remote = taken(lambda: matching(on_hf(), listing, [pattern]))
    shutil.rmtree(root)
    if PurePosixPath(pattern).parts[-1:] != ("**",) and len({path.casefold() for path in made}) == len(made):
        assert remote == local


# -- ModelScope


def test_modelscope_arrives_whole(ms: ModelScopeDouble, tmp_path: Path) -> None:
    """As on Hugging Face; the listing's fingerprint stands for the commit that this hub does not say."""
    first = snapshot(on_ms(), ALL, tmp_path / "s")
    assert tree(first.folder) == visible()
    assert first.commit == list_repo(on_ms("master")).commit
    assert len(first.commit) == 64
    assert not [path for path in (tmp_path / "home" / "ms-cache").rglob("*") if path.is_file()]
    ms.log.clear()
    assert snapshot(on_ms(), ALL, tmp_path / "s") == first
    assert ms.bodies() == []
    assert snapshot(on_ms(), ALL, tmp_path / "s", offline=True) == first
    ms.repos[NAME].commit({"data/a.jsonl": b"new\n", "README.md": None})
    second = snapshot(on_ms(), ALL, tmp_path / "s")
    assert ms.bodies() == ["data/a.jsonl"]
    assert second.commit != first.commit
    assert set(tree(second.folder)) == VISIBLE - {"README.md"}


def test_modelscope_pins_a_commit_where_it_says_one(ms: ModelScopeDouble, tmp_path: Path) -> None:
    """A commit id that stands with the branch is used: one request for what has not changed, none for the id."""
    ms.repos[NAME].commits["master"] = "c" * 40
    first = snapshot(on_ms(), ALL, tmp_path)
    assert first.commit == "c" * 40
    assert {request.query.get("Revision") for request in ms.asked("/repo(/tree)?$")} == {"c" * 40}
    ms.log.clear()
    assert snapshot(on_ms(), ALL, tmp_path) == first
    assert len(ms.log) == 1
    assert snapshot(on_ms("c" * 40), ALL, tmp_path) == first
    assert len(ms.log) == 1


def test_modelscope_with_many_files(ms: ModelScopeDouble, tmp_path: Path) -> None:
    """All pages of a listing are read."""
    files = {f"d/{number:04d}.txt": b"%d" % number for number in range(420)}
    ms.repo(NAME, files)
    assert set(list_repo(on_ms()).files) == set(files)
    assert len(ms.asked("/repo/tree")) == 3
    ms.faults.append(Fault("PageNumber=2", status=503))
    assert len(snapshot(on_ms(), ["d/000*"], tmp_path).files) == 10


@pytest.mark.parametrize(("hashes_said", "sizes_said"), [(False, True), (True, False), (False, False)])
def test_modelscope_that_says_less(ms: ModelScopeDouble, tmp_path: Path, hashes_said: bool, sizes_said: bool) -> None:
    """Without hashes the sizes are checked, and a size of 0 that is none is not believed."""
    ms.repo(NAME, {**FILES, "empty.txt": b""}, says_hashes=hashes_said, says_sizes=sizes_said)
    found = snapshot(on_ms(), ALL, tmp_path)
    assert tree(found.folder) == visible({**FILES, "empty.txt": b""})
    assert found.files["data/a.jsonl"][1] == len(FILES["data/a.jsonl"])
    assert snapshot(on_ms(), ALL, tmp_path) == found
    if not sizes_said:
        assert "10 bytes" in str(refused(on_ms(), tmp_path / "t", max_bytes=10))


def test_modelscope_takes_from_the_users_cache(ms: ModelScopeDouble, tmp_path: Path) -> None:
    """A file that MODELSCOPE_CACHE holds whole is copied from there; one that is not the same is fetched."""
    from modelscope_hub import HubApi
    from modelscope_hub.config import HubConfig

    api = HubApi(HubConfig())
    for path in ("data/a.jsonl", "data/b.jsonl"):
        got = api.download_file(NAME, "dataset", path)
    got.write_bytes(got.read_bytes().replace(b"2", b"3"))
    ms.log.clear()
    found = snapshot(on_ms(), ["data/*"], tmp_path)
    assert tree(found.folder) == hashes({path: FILES[path] for path in ("data/a.jsonl", "data/b.jsonl")})
    assert ms.bodies() == ["data/b.jsonl"]


def test_modelscope_who_may(ms: ModelScopeDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private, with and without a token; a token that is none; a revision that is none."""
    ms.repos[NAME].private = True
    assert "MODELSCOPE_API_TOKEN" in str(refused(on_ms(), tmp_path))
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-wrong")
    assert "does not accept the token" in str(refused(on_ms(), tmp_path))
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-alice")
    assert tree(snapshot(on_ms(), ALL, tmp_path).folder) == visible()
    ms.repos[NAME].commit(dict(FILES), "v1.0")
    assert "'v1.0'" in str(refused(on_ms("v1.1"), tmp_path))
    ms.faults.append(Fault("/repo/tree", status=403, times=9))
    assert "may not be read" in str(refused(on_ms("v1.0"), tmp_path))


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"cut": 1000},
        {"reset": True},
        {"wrong": True},
        {"stall": 1000},
    ],
    ids=str,
)
def test_modelscope_bodies_that_fail_come_in_the_end(
    ms: ModelScopeDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    """The client tries again by itself."""
    from modelscope_hub import _legacy_api

    monkeypatch.setattr(_legacy_api, "DOWNLOAD_TIMEOUT", 1)
    ms.faults.append(Fault("FilePath=data/a", **fault))
    assert tree(snapshot(on_ms(), ALL, tmp_path).folder) == visible()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "answers 500"),
        ({"status": 429}, "no more requests"),
        ({"wrong": True}, "not what the hub's listing says"),
        ({"reset": True}, "cannot be reached"),
        ({"status": 404}, "is not there"),
    ],
    ids=str,
)
def test_modelscope_bodies_that_fail_for_ever(
    ms: ModelScopeDouble, tmp_path: Path, fault: dict[str, Any], words: str
) -> None:
    """The error says what happened, nothing of the file counts, and the next run goes on."""
    ms.faults.append(Fault("FilePath=data/a", times=1000, **fault))
    assert words in str(refused(on_ms(), tmp_path))
    assert not list(tmp_path.glob("*.json"))
    ms.faults.clear()
    assert tree(snapshot(on_ms(), ALL, tmp_path).folder) == visible()


def test_modelscope_that_changes_meanwhile(ms: ModelScopeDouble, tmp_path: Path) -> None:
    """A file that is another one than a moment ago is never taken for the one that was listed."""
    plain = ms.tree

    def listed_then_changed(request: Any, repo: Any) -> Any:
        reply = plain(request, repo)
        repo.commit({"data/a.jsonl": b'{"n": 9}\n' * 500})
        return reply

    ms.routes[1] = ("GET", "/repo/tree", listed_then_changed)
    assert "run it again" in str(refused(on_ms(), tmp_path))
    assert len(snapshot(on_ms(), ALL, tmp_path).files) == len(VISIBLE)


def test_modelscope_that_nobody_serves(ms: ModelScopeDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the endpoint."""
    with ModelScopeDouble() as gone:
        nowhere = gone.endpoint
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", nowhere)
    assert f"{nowhere} cannot be reached" in str(refused(on_ms(), tmp_path))
    assert ms.log == []


# -- URLs


def test_urls_into_a_repository(hf: HuggingFaceDouble, ms: ModelScopeDouble) -> None:
    """Files are found by the URLs that people copy, decoded as servers decode them."""
    h, m = hf.endpoint, ms.endpoint
    cases: dict[str, tuple[HubRepo, str]] = {
        f"{h}/datasets/a/b/resolve/main/x/y.png": (on_hf("main", "a/b"), "x/y.png"),
        f"{h}/datasets/a/b/blob/v1/x.png?download=true#top": (on_hf("v1", "a/b"), "x.png"),
        f"{h}/datasets/a/b/raw/main/a%20b+c%25.txt": (on_hf("main", "a/b"), "a b+c%.txt"),
        f"{h}/datasets/a/b/resolve/refs%2Fpr%2F1/x": (on_hf("refs/pr/1", "a/b"), "x"),
        f"{h}/datasets/a/b/resolve/refs/convert/parquet/d/0.parquet": (
            on_hf("refs/convert/parquet", "a/b"),
            "d/0.parquet",
        ),
        f"{h.replace('http', 'HTTP')}/datasets/a/b/resolve/main/%E7%8C%AB.jpg": (on_hf("main", "a/b"), "猫.jpg"),
        f"{m}/datasets/a/b/resolve/master/x.png": (on_ms("master", "a/b"), "x.png"),
        f"{m}/api/v1/datasets/a/b/repo?Revision=v1&FilePath=d%2Fa+b.png": (on_ms("v1", "a/b"), "d/a b.png"),
        f"{m}/api/v1/datasets/a/b/repo?Source=SDK&FilePath=x": (on_ms(None, "a/b"), "x"),
    }
    for url, expected in cases.items():
        assert parse_hub_url(url) == expected, url


def test_urls_that_point_elsewhere(hf: HuggingFaceDouble, ms: ModelScopeDouble) -> None:
    """Other hosts, other kinds of repository, pages that are no files, and paths that climb are none of ours."""
    h, m = hf.endpoint, ms.endpoint
    for url in (
        "",
        "data/datasets/a.png",
        "http://127.0.0.1/datasets/a/b/resolve/main/x",
        f"{h}.evil.example/datasets/a/b/resolve/main/x",
        f"{h.replace('//', '//me:pw@')}/datasets/a/b/resolve/main/x",
        f"{h}/a/b/resolve/main/x",
        f"{h}/spaces/a/b/resolve/main/x",
        f"{h}/datasets/a/b",
        f"{h}/datasets/a/b/tree/main/x",
        f"{h}/datasets/a/b/resolve/main",
        f"{h}/datasets/a/b/resolve/main/",
        f"{h}/datasets/a/b/resolve/main/../../x",
        f"{h}/datasets/a/b/resolve/main/%2e%2e/x",
        f"{h}/datasets/a/b/resolve/main/a%00b",
        f"{h}/datasets/a/b/resolve/main/%ff",
        f"{h}/datasets/a%2Fb/c/resolve/main/x",
        f"{h}/api/v1/datasets/a/b/repo?FilePath=x",
        f"{m}/api/v1/datasets/a/b/repo?Revision=v1",
        f"{m}/api/v1/datasets/a/b/repo?FilePath=x&FilePath=y",
        f"{m}/api/v1/models/a/b/repo?FilePath=x",
        "http://[::1/datasets/a/b/resolve/main/x",
        "http://a:99999/datasets/a/b/resolve/main/x",
    ):
        assert parse_hub_url(url) is None, url


@given(path=st.text(min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_path_is_decoded_once(path: str) -> None:
    """A path that was encoded comes back as it was, or the URL is none of ours."""
    from pipeline.sources.hub_huggingface import endpoint

    try:
        encoded = urllib.parse.quote(path)
    except UnicodeEncodeError:
        return
    found = parse_hub_url(f"{endpoint()}/datasets/a/b/resolve/main/{encoded}")
    assert found is None or found[1] == path


def test_importing_the_door_loads_no_client() -> None:
    """The clients are loaded when they are used, so that `--help` stays quick."""
    code = "import sys, pipeline.sources.hub; print({m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = ("huggingface_hub", "modelscope_hub", "modelscope", "requests", "httpx2", "PIL", "av", "datasets", "torch")
    assert not [name for name in heavy if f"'{name}'" in done.stdout]
