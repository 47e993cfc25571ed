"""Publishing into a folder: one step for readers, whatever happens to the push."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from pipeline.errors import UsageError, WorkspaceError
from pipeline.publish import folder as folder_module
from pipeline.publish.folder import FolderRemote
from pipeline.publish.plan import plan_push
from pipeline.publish.remote import Change, LocalFile, MovedError, PublishError, Pushed, RemoteState
from pipeline.publish.target import parse_target
from pipeline.workspace import holding
from tests.project import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("SHARDWRIGHT_KILLS", "10"))
SEED = int(os.environ.get("SHARDWRIGHT_SEED", "7"))
ONE = {"README.md": b"# Clips\n", "data/train-00000-of-00001.parquet": b"one" * 1000, "media/ä b/1.png": b"picture"}
TWO = {**ONE, "README.md": b"# Clips 2\n", "data/test-00000-of-00001.parquet": b"two" * 1000}
TWO.pop("media/ä b/1.png")


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Make a folder hold these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def local(folder: Path) -> dict[str, LocalFile]:
    """Return the files of a folder as they are published."""
    return {
        path: LocalFile(path=folder / path, size=(folder / path).stat().st_size, sha256=sha256)
        for path, sha256 in tree(folder).items()
    }


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return what `tree` gives for files with these contents."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}


def change_to(folder: Path, state: RemoteState, *, title: str = "a version", **more: bool | str) -> Change:
    """Plan a change: all files of the folder are there afterwards, and no others."""
    wanted = local(folder)
    plan = plan_push(parse_target("folder:x"), "dataset", state, wanted)
    deletions = frozenset(state.files) - frozenset(wanted)
    return Change(
        state=state,
        wanted=wanted,
        additions=plan.additions,
        deletions=deletions,
        title=title,
        **more,  # type: ignore[arg-type]
    )


def nothing(size: int) -> None:
    """Show nothing."""


class Nas:
    """A folder with a place to publish to, and a folder to publish."""

    def __init__(self, root: Path, name: str = "clips") -> None:
        self.source = root / "source"
        self.parent = root / "nas" / "data"
        self.parent.mkdir(parents=True, exist_ok=True)
        self.place = self.parent / name
        self.versions = self.parent / f".{name}.versions"
        self.advanced: list[int] = []

    @property
    def remote(self) -> FolderRemote:
        """The place, looked at anew."""
        return FolderRemote(parse_target(f"folder:{self.place}"), "dataset")

    def publish(self, files: Mapping[str, bytes] | None = None) -> Pushed:
        """Publish these files, or what lies in the source."""
        if files is not None:
            write(self.source, files)
        self.advanced = []
        return self.remote.push(change_to(self.source, self.remote.look()), self.advanced.append)

    def there(self) -> list[str]:
        """Return what lies beside the place, and the kinds of what lies with the versions."""
        return sorted(path.name for path in self.versions.iterdir())


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    """Give a place with nothing in it."""
    return Nas(tmp_path)


# -- versions


def test_first_version(nas: Nas) -> None:
    """The place is a relative link to a folder that is exactly the dataset, and is listed hash by hash."""
    state = nas.remote.look()
    assert (state.exists, state.branch_exists, state.commit, state.files) == (False, False, None, {})
    pushed = nas.publish(ONE)
    assert tree(nas.place) == hashes(ONE)
    assert str(nas.place.readlink()) == f".clips.versions/{pushed.commit}"
    assert pushed.sent == sum(map(len, ONE.values())) == sum(nas.advanced)
    assert pushed.url == str(nas.place)
    assert nas.there() == sorted([pushed.commit, f"{pushed.commit}.json", "lock"])
    listed = nas.remote.listing(pushed.revision)
    assert {path: file.sha256 for path, file in listed.items()} == hashes(ONE)
    assert {path: file.size for path, file in listed.items()} == {path: len(data) for path, data in ONE.items()}
    assert b"".join(nas.remote.read("media/ä b/1.png", "")) == b"picture"
    state = nas.remote.look()
    assert (state.exists, state.branch_exists, state.commit, state.files) == (True, True, pushed.commit, listed)


def test_unchanged(nas: Nas) -> None:
    """Publishing the same again copies nothing and leaves the very same link."""
    first = nas.publish(ONE)
    link = nas.place.lstat()
    again = nas.publish(ONE)
    assert (again.commit, again.sent, nas.advanced) == (first.commit, 0, [])
    assert (nas.place.lstat().st_ino, nas.place.lstat().st_mtime_ns) == (link.st_ino, link.st_mtime_ns)
    write(nas.source, ONE)  # other times and inodes
    elsewhere = Nas(nas.parent.parent.parent / "other").publish(ONE)
    assert elsewhere.commit == first.commit


def test_replaced_added_and_deleted(nas: Nas) -> None:
    """Only what is new is copied; the same content is the same file on the disk, under whichever name."""
    nas.publish(ONE)
    inode = (nas.place / "data/train-00000-of-00001.parquet").stat().st_ino
    pushed = nas.publish(TWO)
    assert tree(nas.place) == hashes(TWO)
    assert pushed.sent == sum(len(TWO[path]) for path in ("README.md", "data/test-00000-of-00001.parquet"))
    assert sum(nas.advanced) == pushed.sent
    assert (nas.place / "data/train-00000-of-00001.parquet").stat().st_ino == inode
    renamed = {"data/renamed.parquet": ONE["data/train-00000-of-00001.parquet"], "twice": TWO["README.md"]}
    pushed = nas.publish(TWO | renamed)
    assert pushed.sent == 0
    assert sum(nas.advanced) == sum(map(len, renamed.values()))
    assert (nas.place / "data/renamed.parquet").stat().st_ino == inode
    assert {file.sha256 for file in nas.remote.listing("").values()} == set(hashes(TWO).values())


def test_files_of_people_stay(nas: Nas) -> None:
    """What is neither wanted nor deleted is part of the next version; a link that somebody put there is not."""
    nas.publish(ONE)
    (nas.place / "LICENSE").write_bytes(b"mine")
    (nas.place / "secret").symlink_to("/etc/hostname")
    state = nas.remote.look()
    assert state.files["LICENSE"].sha256 == hashlib.sha256(b"mine").hexdigest()
    assert "secret" not in state.files
    assert "secret" not in nas.remote.listing("")
    with pytest.raises(PublishError, match="is or lies behind a link"):
        list(nas.remote.read("secret", ""))
    with pytest.raises(PublishError, match="is or lies behind a link"):
        list(nas.remote.read("../../../source/README.md", ""))
    write(nas.source, TWO)
    wanted = local(nas.source)
    deletions = frozenset({"media/ä b/1.png"})
    nas.remote.push(
        Change(state=state, wanted=wanted, additions=frozenset(wanted), deletions=deletions, title=""), nothing
    )
    assert tree(nas.place) == hashes({**TWO, "LICENSE": b"mine"})


def test_old_versions_are_pruned(nas: Nas) -> None:
    """The current version, the one before and those with a tag are kept; what only others had goes from the disk."""
    commits = []
    for number in range(5):
        commits.append(nas.publish({**ONE, "README.md": b"%d" % number}).commit)
        if number == 1:
            nas.remote.tag("v1.0.0", commits[-1], "")
    kept = [commits[1], commits[3], commits[4]]
    assert nas.there() == sorted([*kept, *(f"{commit}.json" for commit in kept), "lock"])
    assert tree(nas.parent / "clips@v1.0.0") == hashes({**ONE, "README.md": b"1"})


def test_a_reader_goes_on(nas: Nas) -> None:
    """Who has a file of the old version open, or its folder, reads on in it, also when it is no longer kept."""
    nas.publish(ONE)
    opened = (nas.place / "data/train-00000-of-00001.parquet").open("rb", buffering=0)
    folder = os.open(nas.place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert opened.read(300) == b"one" * 100
        nas.publish({**TWO, "data/train-00000-of-00001.parquet": b"other"})
        assert os.stat("README.md", dir_fd=folder).st_size == len(ONE["README.md"])
        nas.publish({"README.md": b"third"})
        assert opened.read() == b"one" * 900
    finally:
        opened.close()
        os.close(folder)


def test_readers_see_whole_versions(nas: Nas) -> None:
    """Whoever opens the place while it is exchanged again and again gets one version or the other, and all of it."""
    versions = [dict.fromkeys(("README.md", *"abcdefgh"), b"%d" % number) for number in range(2)]
    nas.publish(versions[0])
    seen: Counter[frozenset[str]] = Counter()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            place = Path(os.path.realpath(nas.place))
            seen[frozenset((place / name).read_text() for name in versions[0])] += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 20):
        nas.publish(versions[number % 2])
    over.set()
    for reader in readers:
        reader.join()
    assert set(seen) == {frozenset("0"), frozenset("1")}


def test_back_to_an_older_version(nas: Nas) -> None:
    """The folder of a tag can be published: nothing is copied, the link leads there again."""
    first = nas.publish(ONE)
    nas.remote.tag("v1", first.commit, "")
    second = nas.publish(TWO)
    nas.source = nas.parent / "clips@v1"
    pushed = nas.publish()
    assert (pushed.commit, pushed.sent) == (first.commit, 0)
    assert tree(nas.place) == hashes(ONE)
    assert second.commit in nas.there()  # as the one before


def test_tags(nas: Nas) -> None:
    """A tag is a link beside the place, stays where it is, and is told with the newest last."""
    with pytest.raises(PublishError, match="has no version"):
        nas.remote.tag("v0", "0" * 40, "")
    assert not list(nas.parent.iterdir())
    first = nas.publish(ONE).commit
    nas.remote.tag("v2", first, "the first")
    nas.remote.tag("v2", first, "again")
    second = nas.publish(TWO).commit
    nas.remote.tag("v1", second, "")
    (nas.parent / "clips@mine").symlink_to("/etc")
    (nas.parent / "clips@file").write_bytes(b"")
    assert list(nas.remote.look().tags.items()) == [("v2", first), ("v1", second)]
    assert str((nas.parent / "clips@v2").readlink()) == f".clips.versions/{first}"
    assert {path: file.sha256 for path, file in nas.remote.listing("v2").items()} == hashes(ONE)
    folder, files = nas.remote.version("v2")
    assert tree(folder) == {path: file.sha256 for path, file in files.items()} == hashes(ONE)
    with pytest.raises(PublishError, match="another version"):
        nas.remote.tag("v2", second, "")
    for name in ("mine", "file"):
        with pytest.raises(PublishError, match="was not published by shardwright"):
            nas.remote.tag(name, second, "")
    with pytest.raises(PublishError, match="cannot be the tag of a folder"):
        nas.remote.tag("release/v1", second, "")
    with pytest.raises(PublishError, match="has no version"):
        nas.remote.listing("v3")


# -- what is there already


def test_foreign_things_are_not_touched(nas: Nas) -> None:
    """A folder with something in it, a file and somebody's link are errors with a way out; an empty folder is none."""
    nas.place.mkdir()
    (nas.place / "mine.txt").write_bytes(b"mine")
    with pytest.raises(PublishError, match=r"e\.g\. 'mine\.txt'\n  next: publish to another place, or move it away"):
        nas.publish(ONE)
    with pytest.raises(PublishError, match="holds what was not published"):
        nas.remote.push(change_to(nas.source, RemoteState(exists=False)), nothing)
    assert tree(nas.place) == hashes({"mine.txt": b"mine"})
    shutil.rmtree(nas.place)
    nas.place.write_bytes(b"mine")
    with pytest.raises(PublishError, match="was not published by shardwright"):
        nas.remote.look()
    nas.place.unlink()
    for leads_to in ("/etc", ".clips.versions/mine", "../.clips.versions/" + "0" * 40, ".others.versions/" + "0" * 40):
        nas.place.symlink_to(leads_to)
        with pytest.raises(PublishError, match=r"is a link to .*, which was not published"):
            nas.remote.look()
        nas.place.unlink()
    nas.place.mkdir()
    assert not nas.remote.look().exists
    nas.publish(ONE)
    assert tree(nas.place) == hashes(ONE)


def test_what_comes_meanwhile_is_not_written_over(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody puts at the place at the last moment stays."""
    write(nas.source, ONE)
    change = change_to(nas.source, nas.remote.look())
    remote = nas.remote
    put = remote._links.put

    def late(*arguments: object, **more: object) -> None:
        nas.place.write_bytes(b"mine")
        put(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(remote._links, "put", late)
    with pytest.raises(WorkspaceError, match="a file stands where a folder is needed"):
        remote.push(change, nothing)
    assert nas.place.read_bytes() == b"mine"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The folder around the place is not made, because its disk may only not be mounted."""
    remote = FolderRemote(parse_target(f"folder:{tmp_path}/not/mounted/clips"), "dataset")
    with pytest.raises(
        PublishError, match=r"there is no folder .*/not/mounted to publish into\n  next: mount its disk"
    ):
        remote.look()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["/", "..", "/nas/data/..", ".", "a\nb", "a\0b"])
def test_places_that_are_none(place: str) -> None:
    """A place without a name of its own is a mistake of the command."""
    with pytest.raises(UsageError, match="does not name a folder"):
        FolderRemote(parse_target(f"folder:{place}"), "dataset")


def test_into_itself(nas: Nas) -> None:
    """What is published cannot be the place, what lies there, or a folder around the place."""
    state = RemoteState(exists=False)
    write(nas.source, ONE)
    for place in (nas.source / "inside", nas.source / "data" / "deep"):
        remote = FolderRemote(parse_target(f"folder:{place}"), "dataset")
        with pytest.raises(PublishError, match="lies inside of"):
            remote.push(change_to(nas.source, state), nothing)
    with pytest.raises(PublishError, match="not published by shardwright"):
        FolderRemote(parse_target(f"folder:{nas.source}"), "dataset").push(change_to(nas.source, state), nothing)
    assert tree(nas.source) == hashes(ONE)
    nas.publish(ONE)
    nas.source = nas.place
    with pytest.raises(PublishError, match="is itself what is to be published"):
        nas.publish()
    assert tree(nas.place) == hashes(ONE)


def test_links_above_and_odd_names(tmp_path: Path) -> None:
    """Links in the path are followed, and names may hold blanks and any letters."""
    nas = Nas(tmp_path, "Bilder für Ärzte @ 東京")
    (tmp_path / "mount").symlink_to(tmp_path / "nas")
    real = nas.place
    nas.place = tmp_path / "mount" / "data" / "." / real.name
    nas.publish({**ONE, "ordner mit blank/ü 東京.json": b"{}"})
    nas.publish({**TWO, "ordner mit blank/ü 東京.json": b"{}"})
    assert tree(real) == hashes({**TWO, "ordner mit blank/ü 東京.json": b"{}"})
    odd = os.fsdecode(b"odd-\xff.json")
    nas.publish({**TWO, odd: b"{}"})
    assert nas.publish({**TWO, odd: b"{}"}).sent == 0
    assert tree(real)[odd] == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(("more", "match"), [({"pull_request": True}, "pull requests"), ({"gated": "auto"}, "gated")])
def test_what_a_folder_cannot(nas: Nas, more: dict[str, bool | str], match: str) -> None:
    """A pull request and a gate are mistakes of the command; nothing is made."""
    write(nas.source, ONE)
    with pytest.raises(UsageError, match=match):
        nas.remote.push(change_to(nas.source, nas.remote.look(), **more), nothing)  # type: ignore[arg-type]
    assert not list(nas.parent.iterdir())


def test_permissions(nas: Nas) -> None:
    """Copies are as readable as the umask and their source allow."""
    write(nas.source, ONE)
    (nas.source / "README.md").chmod(0o600)
    (nas.source / "data/train-00000-of-00001.parquet").chmod(0o444)
    before = os.umask(0o027)
    try:
        nas.publish()
    finally:
        os.umask(before)
    modes = {path: (nas.place / path).stat().st_mode & 0o777 for path in ONE}
    assert modes == {"README.md": 0o600, "data/train-00000-of-00001.parquet": 0o640, "media/ä b/1.png": 0o640}
    assert (nas.place / "data").stat().st_mode & 0o777 == 0o750
    assert nas.place.stat().st_mode & 0o777 == 0o750


# -- what is damaged


def test_damage_is_found_and_mended(nas: Nas) -> None:
    """A file that was changed in place is seen, and the same content is published again beside the damaged version."""
    first = nas.publish(ONE).commit
    nas.remote.tag("v1", first, "")
    path = nas.place / "data/train-00000-of-00001.parquet"
    path.write_bytes(b"bad")
    assert nas.remote.look().files["data/train-00000-of-00001.parquet"].size == 3
    pushed = nas.publish(ONE)
    assert pushed.commit == f"{first}-2"
    assert pushed.sent == len(ONE["data/train-00000-of-00001.parquet"])
    assert tree(nas.place) == hashes(ONE)
    nas.remote.tag("v1", pushed.commit, "")
    assert nas.remote.look().tags == {"v1": pushed.commit}


def test_damage_that_only_hashing_tells(nas: Nas) -> None:
    """Bytes that went bad under the same size and time are found by the listing, and mended by the next push."""
    nas.publish(ONE)
    path = nas.place / "data/train-00000-of-00001.parquet"
    facts = path.stat()
    path.write_bytes(b"bad" * 1000)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    good = hashes(ONE)["data/train-00000-of-00001.parquet"]
    assert nas.remote.look().files["data/train-00000-of-00001.parquet"].sha256 == good
    assert nas.remote.listing("")["data/train-00000-of-00001.parquet"].sha256 != good
    assert nas.remote.look().files["data/train-00000-of-00001.parquet"].sha256 != good
    nas.publish(ONE)
    assert tree(nas.place) == hashes(ONE)


@pytest.mark.parametrize("record", [b"", b"[]", b'{"files": {"README.md": [1, 2]}, "parent": 3, "title": ""}', None])
def test_a_lost_record(nas: Nas, record: bytes | None) -> None:
    """Without its record a version is read to know it; what follows is right all the same."""
    path = nas.versions / f"{nas.publish(ONE).commit}.json"
    path.unlink()
    if record is not None:
        path.write_bytes(record)
    assert {name: file.sha256 for name, file in nas.remote.look().files.items()} == hashes(ONE)
    nas.publish(TWO)
    assert tree(nas.place) == hashes(TWO)


def test_who_may_only_read_can_verify(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is told although nobody may note it."""
    nas.publish(ONE)
    (nas.place / "README.md").write_bytes(b"# Other")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        assert nas.remote.listing("")["README.md"].sha256 == hashlib.sha256(b"# Other").hexdigest()


def test_versions_that_are_gone(nas: Nas) -> None:
    """A place whose version was removed by hand is empty, and can be published to."""
    nas.publish(ONE)
    shutil.rmtree(nas.versions)
    assert not nas.remote.look().files
    nas.publish(ONE)
    assert tree(nas.place) == hashes(ONE)


# -- what goes wrong on the way


def test_a_source_that_changes(nas: Nas) -> None:
    """A file that is not what was hashed, or is gone, is an error, and nothing is changed."""
    nas.publish(ONE)
    write(nas.source, TWO)
    for data in (b"TWO" * 1000, b"two" * 1001, b"two"):
        change = change_to(write(nas.source, TWO), nas.remote.look())
        (nas.source / "data/test-00000-of-00001.parquet").write_bytes(data)
        with pytest.raises(PublishError, match="was changed while it was published"):
            nas.remote.push(change, nothing)
    (nas.source / "data/test-00000-of-00001.parquet").unlink()
    with pytest.raises(PublishError, match="cannot be read: No such file"):
        nas.remote.push(change, nothing)
    assert tree(nas.place) == hashes(ONE)
    nas.publish(TWO)
    assert tree(nas.place) == hashes(TWO)


def test_moved(nas: Nas) -> None:
    """A place that somebody else changed since is not touched; that the same was published is no error."""
    write(nas.source, TWO)
    change = change_to(nas.source, nas.remote.look())
    nas.publish(ONE)
    with pytest.raises(MovedError, match="changed by somebody else"):
        nas.remote.push(change_to(write(nas.source, TWO), RemoteState(exists=False)), nothing)
    assert tree(nas.place) == hashes(ONE)
    nas.publish(TWO)
    assert nas.remote.push(change, nothing).sent == 0


def test_two_publishers(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many who publish at once one wins, and all others are told; the place is the winner's to the byte."""
    nas.publish(ONE)
    state = nas.remote.look()
    contents = [{**TWO, "README.md": b"%d" % number} for number in range(6)]
    changes = [change_to(write(nas.source.with_name(f"s{n}"), files), state) for n, files in enumerate(contents)]
    results: list[object] = []

    def run(change: Change) -> None:
        try:
            results.append(nas.remote.push(change, nothing))
        except PublishError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [result for result in results if isinstance(result, Pushed)]
    assert len(won) == 1
    assert all(isinstance(result, MovedError) for result in results if result not in won)
    assert tree(nas.place) in [hashes(files) for files in contents]
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.1)
    with (
        holding(nas.versions / "lock", fcntl.LOCK_EX),
        pytest.raises(PublishError, match="somebody else is publishing"),
    ):
        nas.publish(ONE)


@pytest.mark.parametrize("link", [errno.EPERM, errno.EMLINK])
@pytest.mark.parametrize("clone", [None, errno.EOPNOTSUPP])
def test_a_disk_without_second_names(nas: Nas, link: int, clone: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be linked is copied, by the disk itself where it can."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(link, os.strerror(link))

    def cannot(*_: object) -> int:
        raise OSError(clone or 0, "no")

    nas.publish(ONE)
    monkeypatch.setattr(os, "link", refuse)
    if clone is not None:
        monkeypatch.setattr(os, "copy_file_range", cannot)
    pushed = nas.publish(TWO)
    assert tree(nas.place) == hashes(TWO)
    assert pushed.sent == sum(map(len, TWO.values()))
    inodes = {
        (nas.versions / name / "data/train-00000-of-00001.parquet").stat().st_ino
        for name in nas.remote._versions.names()
    }
    assert len(inodes) == 2


def test_a_disk_without_links(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that knows no symbolic links is said before anything is copied."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(PublishError, match="knows no symbolic links"):
        nas.publish(ONE)
    assert nas.there() == ["lock"]


def test_a_disk_without_locks(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gives no locks is said in words."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(PublishError, match=r"No locks available\n  next: this disk gives no locks"):
        nas.publish(ONE)


def test_files_that_may_not_grow(nas: Nas) -> None:
    """A limit on the size of files is an error of the disk that names the way out; the place stays as it was."""
    nas.publish(ONE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    write(nas.source, {**ONE, "data/big.bin": os.urandom(300_000)})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(WorkspaceError, match=r"allow larger files .*--to"):
            nas.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert tree(nas.place) == hashes(ONE)
    nas.publish()
    assert tree(nas.place) == tree(nas.source)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of one megabyte: a tmpfs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine allows no mount: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """A disk that is full is an error that says so; nothing is half, and with room the next try goes on."""
    nas = Nas(tmp_path)
    nas.parent = small_disk
    nas.place, nas.versions = small_disk / "clips", small_disk / ".clips.versions"
    nas.publish({**ONE, "data/a.bin": os.urandom(300_000)})
    before = tree(nas.place)
    new = {f"data/{name}.bin": os.urandom(200_000) for name in "bcde"}
    for _ in range(2):
        with pytest.raises(
            WorkspaceError, match=r"No space left.*\n  next: free some space or choose another disk with --to"
        ):
            nas.publish({**ONE, **new})
        assert tree(nas.place) == before
        assert nas.remote.look().files.keys() == before.keys()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    pushed = nas.publish()
    assert tree(nas.place) == tree(nas.source)
    assert 200_000 <= pushed.sent <= 600_000  # the rest was there already


CHILD = """
import os, signal, sys
from pathlib import Path
from pipeline.publish import folder_copy
from tests.publish.test_folder import FolderRemote, change_to, parse_target

folder_copy.CHUNK = 4096


def push(place, source, last):
    steps = 0

    def step(frame, event, _):
        nonlocal steps
        if "publish/folder" in frame.f_code.co_filename:
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return step

    remote = FolderRemote(parse_target("folder:" + place), "dataset")
    change = change_to(Path(source), remote.look())
    sys.settrace(step)
    remote.push(change, lambda count: None)
    sys.settrace(None)
    print("took", steps, flush=True)


for line in sys.stdin:
    place, source, last = line.rstrip().split(chr(9))
    child = os.fork()
    if not child:
        push(place, source, int(last))
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
"""Pushes that are killed, each in a process of its own, at one of the steps that Python counts in our files."""


class Killer:
    """A process that makes pushes and kills them."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        self._watchdog = threading.Timer(120, self._process.kill)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)
        self._watchdog.cancel()

    def push(self, nas: Nas, source: Path, last: int) -> int:
        """Push a folder, and die in this step; returns how many there were, or 0 when it died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{nas.place}\t{source}\t{last}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().split()
        if said[0] == "ended":
            return 0
        assert self._process.stdout.readline() == "ended\n"
        return int(said[1])


def test_killed_at_any_moment(nas: Nas) -> None:
    """Killed wherever, the place is the old version or the new one to the byte, and the next push completes it."""
    draw = random.Random(SEED)  # noqa: S311  no secret
    same = {**ONE, **{f"data/same-{n}.bin": draw.randbytes(20_000) for n in range(3)}}
    versions = [{**same, **{f"data/{n}.bin": draw.randbytes(20_000) for n in range(5)}} for _ in range(2)]
    sources = [write(nas.source.with_name(f"v{n}"), files) for n, files in enumerate(versions)]
    trees = [tree(source) for source in sources]
    nas.source = sources[0]
    nas.publish()
    seen: Counter[bool] = Counter()
    with Killer() as killer:
        steps = killer.push(nas, sources[1], -1)
        assert steps > 1000
        for number in range(KILLS):
            killed, other = sources[number % 2], trees[1 - number % 2]
            is_there = nas.remote._versions.name_for(local(killed))[1]
            first = steps - 100 if number % 8 == 1 else 1  # a few at the end, when it is exchanged
            assert (
                killer.push(nas, killed, draw.randrange(1, 500) if is_there else draw.randrange(first, steps - 20)) == 0
            )
            now = tree(nas.place)
            assert now in (other, trees[number % 2])
            seen[now == other] += 1
            nas.source = killed
            pushed = nas.publish()
            assert tree(nas.place) == trees[number % 2]
            kept = {pushed.commit, nas.remote._versions.record(pushed.commit).parent}
            assert set(nas.there()) == {"lock", *kept, *(f"{name}.json" for name in kept)}
            if number % 4 != 3:  # else the other version is there already when the next one is published
                shutil.rmtree(nas.versions / str(nas.remote._versions.record(pushed.commit).parent))
    assert seen[True] > seen[False] > 0


def test_a_push_that_was_cut_off_goes_on(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a push that was cut off has copied whole is not copied again, even for another version; the rest is."""
    nas.publish(ONE)
    new = {f"data/{n}.bin": bytes([n]) * 10_000 for n in range(6)}
    write(nas.source, {**TWO, **new})

    def cut(path: str, _size: int) -> None:
        if path == "data/3.bin":
            raise KeyboardInterrupt

    real = folder_module.make_version
    monkeypatch.setattr(folder_module, "make_version", lambda *arguments: real(*arguments[:3], cut))
    with pytest.raises(KeyboardInterrupt):
        nas.publish()
    monkeypatch.undo()
    left = nas.versions / ".tmp-next"
    assert (left / "data/2.bin").exists()
    assert not (left / "data/3.bin").exists()
    (left / "data/1.bin").write_bytes(b"x" * 10_000)  # as long, and another
    (left / "data/0.bin").unlink()
    (left / "data/0.bin").symlink_to("/etc/hostname")
    (left / "stale/deep").mkdir(parents=True)
    (left / "stale/deep/old.bin").write_bytes(b"")
    (left / "data/4.bin").mkdir()
    (nas.versions / ".tmp-gone-0").mkdir()
    files = {**TWO, **new, "README.md": b"changed since", "data/5.bin": b"changed since, too"}
    pushed = nas.publish(files)
    assert tree(nas.place) == hashes(files)
    copied = [*(new[f"data/{n}.bin"] for n in (0, 1, 3, 4)), b"changed since", b"changed since, too"]
    copied.append(TWO["data/test-00000-of-00001.parquet"])
    assert pushed.sent == sum(map(len, copied))
    assert not [name for name in nas.there() if name.startswith(".tmp-")]
