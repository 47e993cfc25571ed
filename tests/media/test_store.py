"""The media store: what goes in comes out, and nothing that changed is believed."""

from __future__ import annotations

import base64
import contextlib
import logging
import multiprocessing
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import RowRejected, SourceError, WorkspaceError
from pipeline.media.facts import MediaFacts
from pipeline.media.inline import inline_bytes
from pipeline.media.probe import hash_bytes, hash_file
from pipeline.media.store import RACY_NS, MediaStore

if TYPE_CHECKING:
    from pathlib import Path

FACTS = MediaFacts(kind="image", format="png", width=3, height=4, frames=1, mode="RGB")


def _put_many(cache: Path) -> list[str]:
    with MediaStore(cache) as store:
        hashes = [store.put(bytes([n]) * 1000) for n in range(50)]
        store.remember_facts([(sha256, FACTS) for sha256 in hashes], "image", "decode")
        return hashes


def _remember_one(task: tuple[Path, int, float]) -> None:
    cache, number, start = task
    while time.monotonic() < start:  # so that all open the index at the same moment
        pass
    with MediaStore(cache) as store:
        store.remember_facts([(f"{number:064x}", FACTS)], "image", "decode")


@pytest.mark.parametrize("damaged", [False, True])
def test_many_processes_open_the_index(tmp_path: Path, damaged: bool) -> None:
    """Four processes that open a new or damaged index at once all get to write, and nothing is lost."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(len, ["ready"] * 8)
        for attempt in range(8):
            cache = tmp_path / str(attempt)
            if damaged:
                (cache / "media").mkdir(parents=True)
                (cache / "media" / "index.sqlite").write_bytes(b"this is no database" * 1000)
            pool.map(_remember_one, [(cache, n, time.monotonic() + 0.02) for n in range(4)], chunksize=1)
            with MediaStore(cache) as store:
                assert len(store.facts([f"{n:064x}" for n in range(4)], "image", "decode")) == 4
            assert len(list((cache / "media").glob("index.damaged-*.sqlite"))) == damaged


def test_many_processes_put_the_same(tmp_path: Path) -> None:
    """Four processes that store the same objects at once leave each of them whole, once."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        results = pool.map(_put_many, [tmp_path] * 4)
    assert all(result == results[0] for result in results)
    with MediaStore(tmp_path) as store:
        for number, sha256 in enumerate(results[0]):
            assert store.object_path(sha256).read_bytes() == bytes([number]) * 1000
        assert store.facts(results[0], "image", "decode") == dict.fromkeys(results[0], FACTS)
    files = [path for path in (tmp_path / "media" / "objects").rglob("*") if path.is_file()]
    assert len(files) == 50


def test_adopted_file_is_known_until_it_changes(tmp_path: Path) -> None:
    """An adopted file is known by its times, and unknown after any change; its name need not be Unicode."""
    path = tmp_path / "a file with \udcff in its name"
    path.write_bytes(b"one")
    with MediaStore(tmp_path / "cache") as store:
        store.adopt([(path, path.stat(), hash_file(path)[0])], looked_ns=path.stat().st_ctime_ns + RACY_NS + 1)
        assert store.known_file(path, path.stat()) == hash_bytes(b"one")
        path.write_bytes(b"two")
        assert store.known_file(path, path.stat()) is None


def test_racy_file_is_not_believed(tmp_path: Path) -> None:
    """A file changed within RACY_NS before it was looked at may change in the same tick: it is hashed again."""
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    stat, sha256 = path.stat(), hash_file(path)[0]
    newest = max(stat.st_mtime_ns, stat.st_ctime_ns)
    with MediaStore(tmp_path / "cache") as store:
        store.adopt([(path, stat, sha256)])
        assert store.known_file(path, stat) is None
        store.adopt([(path, stat, sha256)], looked_ns=newest + RACY_NS)
        assert store.known_file(path, stat) is None
        store.adopt([(path, stat, sha256)], looked_ns=newest + RACY_NS + 1)
        assert store.known_file(path, stat) == sha256


def test_older_probe_is_not_believed(tmp_path: Path) -> None:
    """What another version of the probes found, good or bad, is found out again."""
    with MediaStore(tmp_path) as store:
        store.remember_facts([("ab" * 32, FACTS), ("cd" * 32, RowRejected("media.decode", "no"))], "image", "decode")
    with contextlib.closing(sqlite3.connect(tmp_path / "media" / "index.sqlite")) as connection, connection:
        connection.execute("UPDATE facts SET version = version - 1")
    with MediaStore(tmp_path) as store:
        assert store.facts(["ab" * 32, "cd" * 32], "image", "decode") == {}


def test_failed_probe_is_remembered(tmp_path: Path) -> None:
    """A medium that does not decode is remembered with its reason."""
    with MediaStore(tmp_path) as store:
        store.remember_facts([("ab" * 32, RowRejected("media.decode", "no frame"))], "video", "decode")
        found = store.facts(["ab" * 32, "cd" * 32], "video", "decode")
    assert list(found) == ["ab" * 32]
    rejected = found["ab" * 32]
    assert isinstance(rejected, RowRejected)
    assert (rejected.code, rejected.message) == ("media.decode", "no frame")


def test_changed_medium_is_refused(tmp_path: Path) -> None:
    """Reading a medium that changed, grew, shrank or vanished since it was hashed is an error that says so."""
    path = tmp_path / "medium"
    path.write_bytes(b"0123456789")
    sha256 = hash_file(path)[0]
    with MediaStore(tmp_path / "cache") as store:
        buffer = bytearray(10)
        store.read_into(sha256, path, memoryview(buffer))
        assert bytes(buffer) == b"0123456789"
        for change in (b"012345678x", b"0123456789+", b"012345678"):
            path.write_bytes(change)
            with pytest.raises(SourceError, match="changed since it was cached"):
                store.read_into(sha256, path, memoryview(bytearray(10)))
        path.unlink()
        with pytest.raises(SourceError, match="cannot be read any more"):
            store.read_into(sha256, path, memoryview(bytearray(10)))


def test_damaged_object_is_put_again(tmp_path: Path) -> None:
    """An object that the disk changed is set aside when it is read, so that the next build mends it."""
    with MediaStore(tmp_path) as store:
        sha256 = store.put(b"0123456789")
        path = store.object_path(sha256)
        path.write_bytes(b"012345678x")
        with pytest.raises(SourceError, match="changed since it was cached"):
            store.read_into(sha256, path, memoryview(bytearray(10)))
        assert store.put(b"0123456789") == sha256
        assert path.read_bytes() == b"0123456789"
        assert path.with_name(f"{sha256}.damaged").read_bytes() == b"012345678x"


def test_damage_met_later_is_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An index whose head is whole and whose pages are not is made anew in the middle of the work."""
    hashes = [f"{n:064x}" for n in range(2000)]
    with MediaStore(tmp_path) as store:
        store.remember_facts([(sha256, FACTS) for sha256 in hashes], "image", "decode")
    path = tmp_path / "media" / "index.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING), MediaStore(tmp_path) as store:
        assert store.facts(hashes, "image", "decode") == {}
        store.remember_facts([(hashes[0], FACTS)], "image", "decode")
        assert store.facts(hashes, "image", "decode") == {hashes[0]: FACTS}
    assert "damaged" in caplog.text


def test_unusable_folder(tmp_path: Path) -> None:
    """A cache folder that cannot be written is an error that names the place."""
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "objects").write_text("a file")
    (tmp_path / "media" / "index.sqlite").mkdir()
    with MediaStore(tmp_path) as store:
        with pytest.raises(WorkspaceError, match="objects"):
            store.put(b"data")
        with pytest.raises(WorkspaceError, match=r"index\.sqlite"):
            store.facts(["ab" * 32], "image", "decode")


def test_damaged_index_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged index is set aside with a warning, and the objects stay."""
    with MediaStore(tmp_path) as store:
        sha256 = store.put(b"object")
        store.remember_facts([(sha256, FACTS)], "image", "decode")
    (tmp_path / "media" / "index.sqlite").write_bytes(b"this is no database" * 1000)
    for ending in ("-wal", "-shm"):
        (tmp_path / "media" / f"index.sqlite{ending}").unlink(missing_ok=True)
    with caplog.at_level(logging.WARNING), MediaStore(tmp_path) as store:
        assert store.facts([sha256], "image", "decode") == {}
        assert store.object_path(sha256).read_bytes() == b"object"
    assert "damaged" in caplog.text


def test_index_of_another_version_is_emptied(tmp_path: Path) -> None:
    """An index of another version is not believed, and works again at once."""
    with MediaStore(tmp_path) as store:
        store.remember_facts([("ab" * 32, FACTS)], "image", "decode")
    connection = sqlite3.connect(tmp_path / "media" / "index.sqlite")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with MediaStore(tmp_path) as store:
        assert store.facts(["ab" * 32], "image", "decode") == {}
        store.remember_facts([("ab" * 32, FACTS)], "image", "decode")
        assert store.facts(["ab" * 32], "image", "decode") == {"ab" * 32: FACTS}


def test_inline_media() -> None:
    """Bytes, the struct of `datasets` and data URIs are media inside the annotation; a path is not."""
    data = bytes(range(256))
    assert inline_bytes(data) == data
    assert inline_bytes({"bytes": data, "path": "a.png"}) == data
    assert inline_bytes({"bytes": None, "path": "a.png"}) is None
    assert inline_bytes("data:image/png;base64," + base64.b64encode(data).decode()) == data
    assert inline_bytes("images/a.png") is None
    for broken in ("data:image/png;base64,@@@", "data:image/png,abc", "data:nothing"):
        with pytest.raises(RowRejected) as refused:
            inline_bytes(broken)
        assert refused.value.code == "media.inline"


def test_hashes_are_taken_anew_only_for_what_changed(tmp_path: Path) -> None:
    """Known files keep their hash, changed ones get a new one, and a vanished one is an error with its name."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    with MediaStore(tmp_path / "cache") as store:
        assert store.hashes_of([first, second]) == {first: hash_file(first), second: hash_file(second)}
        second.write_bytes(b"changed")
        assert store.hashes_of([first, second]) == {first: hash_file(first), second: (hash_bytes(b"changed"), 7)}
        assert store.is_unchanged(first, hash_bytes(b"one"), 3)
        assert not store.is_unchanged(first, hash_bytes(b"one"), 4)
        assert not store.is_unchanged(first, hash_bytes(b"two"), 3)
        first.unlink()
        assert not store.is_unchanged(first, hash_bytes(b"one"), 3)
        with pytest.raises(FileNotFoundError, match="first"):
            store.hashes_of([first])
