"""Pushes to Hugging Face that something goes wrong with: readers see the old or the new, and another run completes."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.publish import hf_additions, hf_client, hf_uploads
from pipeline.publish.hf_access import check_access
from pipeline.publish.remote import MovedError, PublishError
from tests.network.hub_server import Fault
from tests.publish.hf_place import CARD, FIRST, NAME, SECOND, TOKEN, Place, kept_alone, noise, open_place, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

alone = pytest.fixture(kept_alone, autouse=True)

FOREVER = 1_000_000
SHARD = "data/train-00000-of-00002.parquet"
BOTH_WAYS = pytest.mark.parametrize("is_xet", [False, True], ids=["lfs", "xet"])

SECOND_PUSHES = pytest.mark.parametrize("trials", [(False, True), (True, True)], ids=["lfs", "xet"], indirect=True)


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


# -- at every request of a push


class Trials:
    """The same push again and again, each time to a new double that has the first edition, or nothing."""

    def __init__(self, fresh: Callable[[], Iterator[Place]], *, is_there: bool) -> None:
        self._fresh, self._is_there = fresh, is_there
        self.before, self.after = (FIRST, SECOND) if is_there else ({}, FIRST)

    def places(self) -> Iterator[Place]:
        """Give a place for every request of the push, of which one counts them."""
        for place in self._fresh():
            self._lay(place)
            place.push(self.after)
            count = len(place.hub.log)
        for _ in range(count):
            for place in self._fresh():
                self._lay(place)
                yield place

    def _lay(self, place: Place) -> None:
        if self._is_there:
            place.hub.stored |= {place.lay(FIRST)[name].sha256: data for name, data in FIRST.items()}
            place.hub.repo(NAME, {**FIRST, ".gitattributes": b"*.parquet filter=lfs\n"})

    def tried(self, place: Place) -> str:
        """Push while something goes wrong, and see what is there; then push without; return the error."""
        error = ""
        try:
            place.push(self.after)
        except PublishError as caught:
            error = shown(caught)
        seen = place.there() if NAME in place.hub.repos else {}
        assert seen in ((self.before, self.after) if error else (self.after,)), error
        self._completed(place, is_done=seen == self.after)
        return error

    def _completed(self, place: Place, *, is_done: bool) -> None:
        """Push again: what the hub has is not sent again; there is one commit, however often its answer was lost."""
        hub = place.hub
        hub.faults.clear()
        hub.log.clear()
        has = set(hub.chunks.contents() if hub.chunks else hub.stored)
        again = place.push(self.after)
        assert place.there() == self.after
        assert place.commits() == 2
        sent = {request.path.split("/")[2] for request in hub.asked("^/_lfs/[0-9a-f]+$", "PUT")}
        assert not sent & has
        files = place.lay(self.after)
        missing = sum(file.size for file in files.values() if file.sha256 not in has)
        assert again.sent <= (0 if is_done else missing)


@pytest.fixture(params=[(False, False), (False, True), (True, False), (True, True)], ids=str)
def trials(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trials:
    """Give the trials of a push, by whether large files go through Xet, and whether there is a first edition."""
    is_xet, is_there = request.param
    numbers = iter(range(FOREVER))
    return Trials(
        lambda: open_place(tmp_path, monkeypatch, xet=is_xet, number=next(numbers)),
        is_there=is_there,
    )


@pytest.mark.parametrize("undone", [True, False], ids=["undone", "done"])
def test_a_connection_that_breaks_once(undone: bool, trials: Trials) -> None:
    """At whichever request it does, the push survives it; whether that was carried out or not."""
    for number, place in enumerate(trials.places()):
        place.hub.faults = [Fault(".", method="*", after=number, reset=True, undone=undone)]
        assert trials.tried(place) == "", number


@pytest.mark.parametrize("undone", [True, False], ids=["undone", "done"])
def test_a_connection_that_breaks_for_good(undone: bool, trials: Trials) -> None:
    """From whichever request on it does, nothing is half there, and another push sends what is missing."""
    for number, place in enumerate(trials.places()):
        place.hub.faults = [Fault(".", method="*", after=number, reset=True, undone=undone, times=FOREVER)]
        assert "cannot be reached" in trials.tried(place), number


@SECOND_PUSHES
@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_cannot_once(status: int, trials: Trials, alone: list[float]) -> None:
    """Each request is made again, also where the client does not, and as late as the server asks."""
    for number, place in enumerate(trials.places()):
        alone.clear()
        fault = Fault(".", method="*", after=number, status=status, headers={"Retry-After": "7"}, undone=True)
        place.hub.faults = [fault]
        assert trials.tried(place) == "", number
        assert all(7 <= wait <= 8 for wait in alone)


@SECOND_PUSHES
def test_a_server_that_cannot_any_more(trials: Trials) -> None:
    """It is said so, and nothing is half there."""
    for number, place in enumerate(trials.places()):
        place.hub.faults = [Fault(".", method="*", after=number, status=503, undone=True, times=FOREVER)]
        error = trials.tried(place)
        assert "answers 503" in error, number
        assert "not sent again" in error or "was lost" in error


# -- who may not


def test_no_token(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said where one is made, before anybody is asked."""
    monkeypatch.delenv("HF_TOKEN")
    error = lfs.refused(FIRST)
    assert "cannot be written without a token" in error
    assert f"{lfs.hub.endpoint}/settings/tokens" in error
    assert "HF_TOKEN" in error
    assert lfs.hub.log == []


def test_a_token_that_has_ended(lfs: Place) -> None:
    """The same, and the token is not shown."""
    error = lfs.refused(FIRST, lfs.remote(token="hf_wrong"))  # noqa: S106  of the double
    assert "does not accept the token" in error
    assert "/settings/tokens" in error
    assert "hf_wrong" not in error


def test_a_token_that_may_only_read(lfs: Place) -> None:
    """The scope that is missing is named."""
    lfs.hub.roles[TOKEN] = "read"
    error = lfs.refused(FIRST)
    assert "may only read: its role is 'read'" in error
    assert "`write`" in error
    assert "/settings/tokens" in error
    assert lfs.hub.repos == {}


def scope(name: str, *permissions: str, kind: str = "user") -> dict[str, Any]:
    """Return a scope of a fine-grained token."""
    return {"entity": {"_id": "1", "type": kind, "name": name}, "permissions": list(permissions)}


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ([], False),
        ([scope("alice", "repo.content.read")], False),
        ([scope("bob", "repo.write")], False),
        ([scope("alice/other", "repo.write", kind="dataset")], False),
        ([scope("alice", "repo.write")], True),
        ([scope("bob"), scope(NAME, "repo.content.write", kind="dataset")], True),
    ],
)
def test_a_fine_grained_token(scopes: list[dict[str, Any]], allowed: bool, lfs: Place) -> None:
    """What it was given is looked at, and what it lacks is named."""
    lfs.hub.repo(NAME, FIRST)
    lfs.hub.roles[TOKEN] = {"canReadGatedRepos": True, "global": [], "scoped": scopes}
    if allowed:
        lfs.push(SECOND)
        assert lfs.there() == SECOND
    else:
        error = lfs.refused(SECOND)
        assert "has no permission `repo.write` for 'alice' or 'alice/birds'" in error
        assert lfs.there() == FIRST


def test_an_organisation(lfs: Place) -> None:
    """Strangers and those who may only read there are told so before anything is asked; members write."""
    remote = lfs.remote("acme/birds")
    assert "'alice', whose token this is, may not make it for 'acme'" in lfs.refused(FIRST, remote)
    lfs.hub.orgs = {"alice": {"acme": "read"}}
    assert "may not make it for 'acme'" in lfs.refused(FIRST, lfs.remote("acme/birds"))
    lfs.hub.orgs = {"alice": {"acme": "contributor"}}
    lfs.push(FIRST, lfs.remote("acme/birds"))
    assert lfs.there("acme/birds") == FIRST


def test_a_repository_of_somebody_else(lfs: Place) -> None:
    """A public one may be proposed to only; a private one is not seen."""
    lfs.hub.repo("bob/cats", FIRST)
    error = lfs.refused(SECOND, lfs.remote("bob/cats"))
    assert "may not be written: You don't have the rights to write to bob/cats" in error
    assert lfs.there("bob/cats") == FIRST
    lfs.hub.repos["bob/cats"].private = True
    assert "is not there" in lfs.refused(SECOND, lfs.remote("bob/cats"))


@pytest.mark.parametrize("told", [None, [], "x", {}, {"auth": []}, {"auth": {"accessToken": {"fineGrained": 3}}}])
def test_a_hub_that_says_nothing_of_a_token(told: Any, lfs: Place) -> None:
    """What is not said is found out by the push."""
    check_access(told, lfs.remote()._client.words, exists=False)
    fine = {"auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"global": 1, "scoped": [0, {}]}}}}
    with pytest.raises(PublishError, match="has no permission"):
        check_access(fine, lfs.remote()._client.words, exists=True)


# -- what is refused

FULL = "Private repository storage limit reached, please upgrade your plan"


@BOTH_WAYS
@pytest.mark.parametrize("status", [402, 403, 413, 507])
@pytest.mark.parametrize("request_of", ["/preupload/", "/commit/", "contents"])
def test_no_room(status: int, request_of: str, is_xet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub says is shown, with what to do; nothing is changed, and it is not asked again and again."""
    for place in open_place(tmp_path, monkeypatch, xet=is_xet):
        place.hub.repo(NAME, FIRST)
        contents = ("xet-write-token", "GET") if is_xet else ("/batch", "POST")
        path, method = contents if request_of == "contents" else (request_of, "POST")
        headers = {"X-Error-Message": FULL}
        place.hub.faults = [Fault(path, method, times=FOREVER, status=status, headers=headers, undone=True)]
        error = place.refused(SECOND)
        assert FULL in error
        assert "next:" in error
        assert "room" in error or status == 413
        assert place.there() == FIRST
        if status != 507 or request_of != "contents":  # which the storage of chunks asks again, as all from 500 on
            assert len(place.hub.asked(path, method)) <= 2, "it will not be another answer"


def test_no_room_for_one_file(lfs: Place) -> None:
    """Git LFS refuses file by file."""
    lfs.hub.full = FULL
    error = lfs.refused(FIRST)
    assert f"does not take a file: {FULL}" in error
    assert "made before that, and without anything of this push: the repository" in error
    assert lfs.there() == {}


def test_a_refusal_at_the_storage_of_files(lfs: Place) -> None:
    """What answers a PUT is another server, with words of its own; a link that has ended is asked for again."""
    lfs.hub.faults = [Fault("/_lfs/", "PUT", times=FOREVER, status=403, undone=True)]
    assert "may not be written: on purpose" in lfs.refused(FIRST)
    lfs.hub.faults = [Fault("/_lfs/", "PUT", times=3, status=403, undone=True)]
    lfs.push(FIRST)
    assert lfs.there() == FIRST


def test_a_card_that_the_hub_refuses(lfs: Place) -> None:
    """Its front matter is looked at there before the commit; what is no text is not even sent."""
    for card in (b"---\na: [1\n---\n# Birds\n", b"\xff\xfe"):
        assert "refuses the front matter of README.md" in lfs.refused({"README.md": card})
    assert lfs.there() == {}


@pytest.mark.parametrize("name", [".git/config", "data/.cache/x.parquet", "./README.md", "a/../b"])
def test_names_that_no_repository_may_hold(name: str, lfs: Place) -> None:
    """They are named, before anything is sent."""
    assert f"{name!r} cannot be a file of" in lfs.refused({name: b"x"})
    assert lfs.hub.stored == {}


@pytest.mark.parametrize("name", ["alice/birds.git", "alice/a--b", "alice/-birds"])
def test_names_that_no_repository_may_have(name: str, lfs: Place) -> None:
    """The client knows them."""
    assert "answers 400" in lfs.refused(FIRST, lfs.remote(name))


def test_a_branch_that_cannot_be_proposed_to(lfs: Place) -> None:
    """A pull request needs a branch that is there."""
    lfs.push(FIRST)
    assert "has no branch 'next'" in lfs.refused(SECOND, lfs.remote(f"{NAME}@next"), pull_request=True)


def test_a_repository_that_this_token_may_not_see(lfs: Place) -> None:
    """It cannot be made, since it is there, and is not shown."""
    lfs.hub.repo(NAME, FIRST)
    headers = {"X-Error-Code": "RepoNotFound"}
    lfs.hub.faults = [Fault(f"/api/datasets/{NAME}", status=404, headers=headers, times=FOREVER)]
    assert "is there, but this token may not see it" in lfs.refused(SECOND)
    assert lfs.there() == FIRST


def test_a_repository_without_a_main_branch(lfs: Place) -> None:
    """There is nothing that a branch could begin from."""
    branches = lfs.hub.repo(NAME, FIRST).branches
    branches["old"] = branches.pop("main")
    assert "has no branch, tag or commit 'main'" in lfs.refused(SECOND)


def test_a_gitignore_that_goes_before_ours(lfs: Place) -> None:
    """A file that would be passed over in silence is named instead."""
    lfs.hub.repo(NAME, {".gitignore": b"notes*\n"})
    lfs.hub.is_told_what_is_ignored = False
    assert "leaves out 'notes/none.txt'" in lfs.refused(FIRST)
    assert lfs.there() == {".gitignore": b"notes*\n"}


def test_offline(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who forbids the network is told so, at once."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "cannot be written while HF_HUB_OFFLINE is set" in lfs.refused(FIRST)
    assert lfs.hub.log == []


def test_a_password_in_the_endpoint(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown nowhere."""
    monkeypatch.setenv("HF_ENDPOINT", lfs.hub.endpoint.replace("//", "//me:secret@"))
    error = lfs.refused(FIRST)
    assert "secret" not in error
    assert f"{lfs.hub.endpoint}/settings/tokens" in error


def test_a_gate_that_is_refused(lfs: Place) -> None:
    """The push is made by then, which is said."""
    lfs.push(FIRST)
    lfs.hub.faults = [Fault("/settings", "PUT", times=FOREVER, status=403, undone=True)]
    assert "was pushed, but could not be gated" in lfs.refused(SECOND, gated="auto")
    assert lfs.there() == SECOND


def test_too_much_for_one_commit(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files travel inside the commit, which is not made when it would be refused."""
    monkeypatch.setattr(hf_uploads, "IN_THE_COMMIT", 1_000)
    assert "which one commit cannot hold" in lfs.refused({"README.md": CARD, "rows.jsonl": bytes(1_001)})
    assert lfs.hub.asked("/commit/", "POST") == []


# -- conflicts


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_that_passes(status: int, place: Place) -> None:
    """While the branch is where it was, the commit is tried again."""
    place.push(FIRST)
    place.hub.faults = [Fault("/commit/", "POST", times=2, status=status, undone=True)]
    place.push(SECOND)
    assert place.there() == SECOND
    assert place.commits() == 3


@pytest.mark.parametrize("theirs", [{"theirs.txt": b"1"}, {"README.md": b"theirs"}])
def test_a_commit_between_the_contents_and_ours(theirs: dict[str, bytes], place: Place) -> None:
    """Theirs stays, and nothing of ours is there."""
    place.push(FIRST)
    remote = place.remote()
    change = place.change(remote.look(), SECOND)
    repo, validate = place.hub.repos[NAME], place.hub.validate_yaml

    def between(request: Any) -> Any:
        repo.commit(theirs)
        return validate(request)

    place.hub.routes.insert(0, ("POST", __import__("re").compile("/api/validate-yaml"), between))
    with pytest.raises(MovedError, match="run it again"):
        remote.push(change, place.advanced.append)
    assert place.there() == {**FIRST, **theirs}


def test_a_branch_that_somebody_else_makes(lfs: Place) -> None:
    """Between the look and the push: it is theirs."""
    lfs.push(FIRST)
    remote = lfs.remote(f"{NAME}@next")
    change = lfs.change(remote.look(), SECOND)
    lfs.hub.repos[NAME].commit({"theirs.txt": b"1"}, "next")
    with pytest.raises(MovedError):
        remote.push(change, lfs.advanced.append)
    assert lfs.there(revision="next") == {"theirs.txt": b"1"}


@pytest.mark.parametrize("options", [{}, {"files": {}, "private": False}])
def test_a_repository_that_somebody_else_makes(options: dict[str, Any], lfs: Place) -> None:
    """Between the look and the push: it is theirs; and what was to be private is not put where all see it."""
    remote = lfs.remote()
    change = lfs.change(remote.look(), FIRST)
    theirs = lfs.hub.repo(NAME, **{"files": {"theirs.txt": b"1"}, "private": True, **options})
    at = dict(theirs.branches)
    with pytest.raises(MovedError):
        remote.push(change, lfs.advanced.append)
    assert theirs.branches == at


@pytest.mark.parametrize("undone", [True, False], ids=["undone", "done"])
def test_a_pull_request_whose_answer_is_lost(undone: bool, place: Place) -> None:
    """It is looked for, so that there is one."""
    place.push(FIRST)
    place.hub.faults = [Fault("/commit/", "POST", reset=True, undone=undone)]
    pushed = place.push(SECOND, pull_request=True)
    assert place.hub.repos[NAME].proposals == {"refs/pr/1": pushed.commit}
    assert place.there(revision="refs/pr/1") == SECOND


# -- time


@pytest.mark.parametrize("ahead", [-3_600, 20])
def test_a_clock_that_goes_wrong(ahead: float, lfs: Place, alone: list[float]) -> None:
    """A time to try again that is past is now; one to come is waited for."""
    lfs.push(FIRST)
    until = email.utils.formatdate(time.time() + ahead, usegmt=True)
    lfs.hub.faults = [Fault("/commit/", "POST", status=503, headers={"Retry-After": until}, undone=True)]
    lfs.push(SECOND)
    assert len(alone) == 1
    assert max(0, ahead) - 2 <= alone[0] <= max(0, ahead) + 1


def test_a_server_that_asks_to_wait_too_long(lfs: Place, alone: list[float]) -> None:
    """Nobody sits there for a day."""
    lfs.push(FIRST)
    headers = {"ratelimit": '"api";r=0;t=86400'}
    lfs.hub.faults = [Fault("/commit/", "POST", status=429, headers=headers, undone=True, times=FOREVER)]
    error = lfs.refused(SECOND)
    assert "asks to wait 86400 seconds" in error
    assert alone == []
    assert lfs.there() == FIRST


def test_a_server_that_falls_silent(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would wait for ever; the commit that was made meanwhile is found."""
    lfs.push(FIRST)
    monkeypatch.setattr(hf_client, "SILENCE", 0.3)
    lfs.hub.faults = [Fault("/commit/", "POST", stall=0)]
    lfs.push(SECOND)
    assert lfs.there() == SECOND
    assert lfs.commits() == 3


def test_answers_that_are_no_json(lfs: Place) -> None:
    """A gateway says what it likes."""
    lfs.push(FIRST)
    lfs.hub.faults = [Fault("/validate-yaml", "POST", wrong=True), Fault("/refs", wrong=True)]
    lfs.push(SECOND)
    assert lfs.there() == SECOND


# -- the storage of chunks


def test_a_token_for_chunks_that_has_ended(xet: Place) -> None:
    """A clock that goes wrong makes it so; another is asked for."""
    xet.hub.xet_expires = int(time.time()) - 3_600
    xet.push(FIRST)
    assert xet.there() == FIRST


def test_a_hub_without_a_storage_of_chunks(xet: Place) -> None:
    """It is said how files are sent otherwise."""
    xet.hub.xet_store = ""
    error = xet.refused(FIRST)
    assert "has no storage of chunks (Xet)" in error
    assert "HF_HUB_DISABLE_XET=1" in error


def test_a_storage_of_chunks_that_is_down(xet: Place) -> None:
    """Nothing is changed, and it is said which network is meant."""
    xet.hub.xet_store = "http://127.0.0.1:9/"
    error = xet.refused(FIRST)
    assert "cannot be reached" in error
    assert xet.there() == {}


@pytest.mark.parametrize("status", [401, 403, 404, 500, 507])
def test_a_storage_of_chunks_that_refuses(status: int, xet: Place) -> None:
    """Whatever it answers, nothing is changed and the error is one of publishing."""
    xet.hub.xet_store = f"{xet.hub.endpoint}/_chunks"
    xet.hub.faults = [Fault("^/_chunks", "*", status=status, times=FOREVER, undone=True)]
    assert xet.refused(FIRST)
    assert xet.hub.asked("^/_chunks", "POST") or xet.hub.asked("^/_chunks")
    assert xet.there() == {}


# -- files that change meanwhile


def rewritten(path: Path) -> None:
    """Put as many other bytes into a file."""
    path.write_bytes(bytes(path.stat().st_size))


def longer(path: Path) -> None:
    """Add to a file."""
    with path.open("ab") as file:
        file.write(b"more")


def gone(path: Path) -> None:
    """Remove a file."""
    path.unlink()


@pytest.mark.parametrize("happens", [rewritten, longer, gone])
@pytest.mark.parametrize("name", ["README.md", SHARD])
@pytest.mark.parametrize("moment", ["before", "preupload", "validate-yaml"])
def test_a_file_that_changes(happens: Callable[[Path], None], name: str, moment: str, place: Place) -> None:
    """Nothing is published; once all contents are on their way, what was planned is: never what it became."""
    remote = place.remote()
    change = place.change(remote.look(), FIRST)
    path = change.wanted[name].path
    answer = place.hub.answer

    def meanwhile(request: Any) -> Any:
        if moment in request.path and path.exists():
            happens(path)
        return answer(request)

    place.hub.answer = meanwhile  # type: ignore[method-assign]
    if moment == "before":
        happens(path)
    if moment == "validate-yaml":
        remote.push(change, place.advanced.append)
        assert place.there() == FIRST
        return
    with pytest.raises(PublishError, match="changed while it was pushed") as caught:
        remote.push(change, place.advanced.append)
    assert repr(name) in shown(caught.value)
    assert place.there() == {}


def test_a_file_that_changes_while_it_is_sent(lfs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last bytes are kept back, so that the hub does not take it for what it was announced as."""
    remote = lfs.remote()
    files = {"README.md": CARD, SHARD: noise(1, 2_000_000)}
    change = lfs.change(remote.look(), files)
    read = hf_additions.CheckedFile.read

    def slowly(self: hf_additions.CheckedFile, size: int | None = -1, /) -> bytes:
        if self.tell() > 1_000_000:
            rewritten(change.wanted[SHARD].path)
        return read(self, size)

    monkeypatch.setattr(hf_additions.CheckedFile, "read", slowly)
    with pytest.raises(PublishError, match="changed while it was pushed"):
        remote.push(change, lfs.advanced.append)
    assert (lfs.there(), lfs.hub.stored) == ({}, {})
