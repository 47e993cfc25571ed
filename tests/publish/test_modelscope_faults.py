"""Pushes to ModelScope over a bad network: what is there is the old or the new, and the next push completes it.

Every request of a push is hit in its turn, before it is carried out and after it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.publish.remote import MovedError, PublishError
from pipeline.sources.hub_retry import PATIENCE
from tests.network.hub_server import Fault, as_json
from tests.publish.ms_place import FIRST_FILES, NAME, SECOND_FILES, Nth, Place, leave_alone, refusal, served, sha

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.remote import Pushed

ROOT = Path(__file__).parents[2]
FOR_EVER = 10**6
EVERY = pytest.mark.parametrize("push", ["first", "second"])
"""One push that makes the repository, and one that replaces, adds and deletes; each for datasets and for models."""
TWO = pytest.mark.parametrize(("place", "push"), [("dataset", "first"), ("model", "second")], indirect=["place"])
"""Each of these pushes, and each kind, once."""


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the waits that were asked for; none of them takes its time."""
    return leave_alone(tmp_path, monkeypatch)


@pytest.fixture(params=["dataset", "model"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> Iterator[Place]:
    """Give a folder and a hub, once for datasets and once for models."""
    assert waits == []
    with served(request.param, tmp_path, monkeypatch) as place:
        yield place


def prepared(place: Place, push: str) -> list[dict[str, bytes] | None]:
    """Set the hub and the folder up for a push; returns what may be there, whenever one looks: the last is the new."""
    place.double.faults.clear()
    place.double.blobs.clear()
    place.double.repos.clear()
    place.double.models.clear()
    old: list[dict[str, bytes] | None] = [None, {"README.md": b"---\nlicense: Other\n---\n"}]
    new = FIRST_FILES
    if push == "second":
        place.double.made(place.kind, NAME, FIRST_FILES)
        old, new = [FIRST_FILES], SECOND_FILES
    place.holds(new)
    place.double.log.clear()
    place.double.history.clear()
    return [*old, new]


def requests_of(place: Place, push: str) -> int:
    """Return the number of requests that a push takes when nothing goes wrong."""
    prepared(place, push)
    place.push()
    return len(place.double.log)


def failed(place: Place, **options: Any) -> PublishError | None:
    """Push; return the error, if there was one."""
    try:
        place.push(**options)
    except PublishError as error:
        return refusal(error)
    return None


def completes(place: Place, new: dict[str, bytes] | None) -> None:
    """Check that a push now makes what is wanted, and sends what the hub does not have, and nothing else."""
    place.double.faults.clear()
    place.double.log.clear()
    had = set(place.double.blobs)
    place.push()
    assert place.there() == new
    assert len(place.sent()) == len(set(place.sent()))
    assert not set(place.sent()) & had


# -- every request in its turn


@pytest.mark.parametrize("undone", [True, False], ids=["before", "after"])
@EVERY
def test_a_connection_that_is_cut_once(place: Place, push: str, undone: bool) -> None:
    """At any request, before it is carried out or after it: the push is made all the same, once."""
    count = requests_of(place, push)
    assert 8 < count < 20
    for number in range(count):
        states = prepared(place, push)
        place.double.faults = [Nth(after=number, reset=True, undone=undone)]
        assert failed(place) is None, number
        assert place.there() == states[-1]
        assert len(place.double.history) == 1, number
        assert sum(place.told) == len_of_new(place, push)


def len_of_new(place: Place, push: str) -> int:
    """Return the bytes of the contents that a push brings."""
    old = {sha(data) for data in FIRST_FILES.values()} if push == "second" else set()
    return sum(file.size for file in place.wanted().values() if file.sha256 not in old)


@pytest.mark.parametrize("undone", [True, False], ids=["before", "after"])
@EVERY
def test_a_network_that_goes_away(place: Place, push: str, undone: bool) -> None:
    """From any request on: an error in words, the old or the new to the byte, and the next push completes it."""
    count = requests_of(place, push)
    for number in range(count):
        states = prepared(place, push)
        place.double.faults = [Nth(after=number, times=FOR_EVER, reset=True, undone=undone)]
        error = failed(place)
        assert error is not None, number
        assert "cannot be reached" in error.what or "not known" in error.what
        assert place.there() in states, number
        completes(place, states[-1])


@pytest.mark.parametrize("status", [500, 503, 429])
@pytest.mark.parametrize("undone", [True, False], ids=["before", "after"])
@TWO
def test_a_server_that_cannot_now(place: Place, waits: list[float], push: str, undone: bool, status: int) -> None:
    """Once, at any request, and it says how long to wait: that long is waited, and the push is made, once."""
    count = requests_of(place, push)
    for number in range(count):
        states = prepared(place, push)
        waits.clear()
        place.double.faults = [Nth(after=number, status=status, headers={"Retry-After": "7"}, undone=undone)]
        assert failed(place) is None, number
        assert place.there() == states[-1]
        assert len(place.double.history) == 1, number
        commit_was_made = not undone and "/commit/" in place.double.log[number].path
        assert commit_was_made or any(7 <= wait < 8 for wait in waits), (number, waits)


@TWO
def test_a_server_that_never_can(place: Place, push: str, capfd: pytest.CaptureFixture[str]) -> None:
    """From any request on: it is given up after some tries, in silence, and the next push completes it."""
    count = requests_of(place, push)
    for number in range(count):
        states = prepared(place, push)
        place.double.faults = [Nth(after=number, times=FOR_EVER, status=503, undone=True)]
        error = failed(place)
        assert error is not None, number
        assert "503" in error.what
        assert place.there() in states, number
        assert len(place.double.log) < count + 30
        completes(place, states[-1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("status", [401, 403])
@TWO
def test_a_refusal_at_any_request(place: Place, push: str, status: int) -> None:
    """A token that ends meanwhile, or may not: an error in words, and the old to the byte."""
    count = requests_of(place, push)
    for number in range(count):
        states = prepared(place, push)
        place.double.faults = [Nth(after=number, times=FOR_EVER, status=status, undone=True)]
        error = failed(place)
        assert error is not None, number
        assert place.there() in states, number
        completes(place, states[-1])


# -- the commit


def test_an_answer_that_was_lost_and_somebody_else(place: Place) -> None:
    """Our commit was made, its answer was lost, and somebody pushed then: it is not made again over theirs."""
    prepared(place, "second")
    place.double.faults = [Fault("/commit/", method="POST", reset=True)]
    commit = place.double.commit

    def commit_and_push(*arguments: Any) -> Any:
        reply = commit(*arguments)
        place.double.pushed(place.kind, NAME).commit({"theirs.txt": b"1"})
        return reply

    place.double.writes = [(m, p, commit_and_push if "commit" in p else to) for m, p, to in place.double.writes]
    with pytest.raises(MovedError) as caught:
        place.push()
    assert "may be among what was changed" in refusal(caught.value).hint
    assert place.there() == {**SECOND_FILES, "theirs.txt": b"1"}
    assert len(place.double.history) == 1


def test_an_answer_that_was_lost_and_then_the_network(place: Place) -> None:
    """What cannot be found out is said to be unknown; the next push finds it done."""
    prepared(place, "second")
    place.double.faults = [Fault("/commit/", method="POST", reset=True)]
    # looked at, begun, checked before the commit
    place.double.faults += [Fault("/repo/(tree|files)", reset=True, times=FOR_EVER, after=3)]
    error = failed(place)
    assert error is not None
    assert "is not known: its answer was lost" in error.what
    assert place.there() == SECOND_FILES
    completes(place, SECOND_FILES)
    assert len(place.double.history) == 1


@pytest.mark.parametrize("undone", [True, False], ids=["before", "after"])
def test_an_answer_that_was_lost_by_a_hub_that_says_no_hashes(place: Place, undone: bool) -> None:
    """A content as long as the one before looks the same in its listing, and is not taken to be there."""
    old, new = {"notes.txt": b"old", "data.bin": b"old"}, {"notes.txt": b"new", "data.bin": b"new"}
    place.double.made(place.kind, NAME, old, says_hashes=False)
    place.double.faults = [Fault("/commit/", method="POST", reset=True, undone=undone)]
    place.holds(new).push()
    assert place.there() == new


def test_a_success_that_cannot_be_checked(place: Place) -> None:
    """The commit was made, and then nothing is heard any more."""
    prepared(place, "second")
    place.double.faults = [Fault("/repo/(tree|files)", reset=True, times=FOR_EVER, after=3)]
    error = failed(place)
    assert error is not None
    assert "is not known" in error.what
    completes(place, SECOND_FILES)
    assert len(place.double.history) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"Code": 10030000001, "Message": "commit rejected"}),
        (409, {"Message": "conflict"}),
        (400, {"Message": "Branch changed while it was written"}),
        (400, {"Message": "Could not update refs/heads/master. Please retry"}),
    ],
)
def test_commits_that_cross(place: Place, status: int, body: dict[str, Any]) -> None:
    """What the hub says when two come at once may pass: it is tried again, upon what is there then."""
    prepared(place, "second")
    commit, left = place.double.commit, [1, 1]

    def crossed(*arguments: Any) -> Any:
        return as_json(body, status) if left and left.pop() else commit(*arguments)

    place.double.writes = [(m, p, crossed if "commit" in p else to) for m, p, to in place.double.writes]
    assert failed(place) is None
    assert place.there() == SECOND_FILES
    assert len(place.double.asked("/commit/", "POST")) == 3


def test_a_listing_that_is_late(place: Place, waits: list[float]) -> None:
    """A hub that lists what was there before for a while after a commit is waited for, and not believed for ever."""
    for late, outcome in ((2, None), (FOR_EVER, "lists what was there before")):
        prepared(place, "second")
        waits.clear()
        stale(place, late)
        error = failed(place)
        assert (error.what if error else "").endswith(outcome or "")
        assert len(waits) == (2 if outcome is None else 5)
        assert place.there() == SECOND_FILES
        assert len(place.double.history) == 1


def stale(place: Place, times: int) -> None:
    """List what was there before a commit, for some listings after it."""
    repo = place.double.pushed(place.kind, NAME)
    before, left = dict(repo.revisions["master"]), [times]
    at = repo.at

    def old(revision: str) -> Any:
        if place.double.history and left[0] > 0:
            left[0] -= 1
            return before
        return at(revision)

    repo.at = old  # type: ignore[method-assign]


@pytest.mark.parametrize("undone", [True, False], ids=["before", "after"])
def test_tags_over_a_bad_network(place: Place, undone: bool) -> None:
    """Every request of a tag is cut in its turn; the tag is made all the same."""
    remote = place.remote()
    pushed = place.push(remote)
    place.double.log.clear()
    remote.tag("v0", pushed.commit, "")
    count = len(place.double.log)
    for number in range(count):
        place.double.faults = [Nth(after=number, reset=True, undone=undone)]
        remote.tag(f"v{number + 1}", pushed.commit, "")
    tags = place.double.pushed(place.kind, NAME).tags
    assert tags == {f"v{number}" for number in range(count + 1)}
    assert dict(remote.look().tags) == dict.fromkeys(tags, pushed.commit)


# -- contents


def test_a_wait_that_is_too_long(place: Place, waits: list[float]) -> None:
    """A server that asks for an hour is not waited for."""
    prepared(place, "second")
    place.double.faults = [Fault("/_blobs/", method="PUT", status=503, headers={"Retry-After": "3600"}, undone=True)]
    error = failed(place)
    assert error is not None
    assert "3600" in error.hint
    assert sum(waits) < PATIENCE
    completes(place, SECOND_FILES)


def test_an_address_that_has_ended(place: Place) -> None:
    """Where a content is to be sent is asked for anew, once."""
    prepared(place, "second")
    place.double.faults = [Fault("/_blobs/", method="PUT", status=403, undone=True)]
    assert failed(place) is None
    assert place.there() == SECOND_FILES
    assert len(place.double.asked("/objects/batch", "POST")) == 2
    prepared(place, "second")
    place.double.faults = [Fault("/_blobs/", method="PUT", status=403, undone=True, times=FOR_EVER)]
    error = failed(place)
    assert error is not None
    assert "may not be written" in error.what
    assert len(place.sent()) == 2


def test_what_was_sent_before_is_not_sent_again(place: Place) -> None:
    """Of many contents, those that went before the network did are known to the hub."""
    files = {f"{number:02}.bin": b"%d" % number * 1_000 for number in range(40)}
    place.double.made(place.kind, NAME, {})
    place.holds(files)
    place.double.faults = [Fault("/_blobs/", method="PUT", reset=True, times=FOR_EVER, after=25, undone=True)]
    assert failed(place) is not None
    went = set(place.double.blobs)
    assert 25 <= len(went) < 40
    completes(place, files)
    assert {sha(data) for data in files.values()} - went == set(place.sent())


def test_killed_while_it_sends(place: Place) -> None:
    """Nothing is there of a push that was killed but contents that nobody sees; the next sends the others."""
    prepared(place, "second")
    files = {**SECOND_FILES, **{f"{number}.bin": b"%d" % number * 50_000 for number in range(12)}}
    place.holds(files)
    place.double.faults = [Fault("/_blobs/", method="PUT", stall=0, times=FOR_EVER, after=6, undone=True)]
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.publish.ms_place import Place\n"
        "Place(None, Path(sys.argv[1]), sys.argv[2]).push()\n"
    )
    command = [sys.executable, "-c", script, str(place.folder), place.kind]
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    end = time.monotonic() + 30
    while len(place.sent()) < 8 and time.monotonic() < end:
        threading.Event().wait(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    assert place.there() == FIRST_FILES
    went = set(place.double.blobs)
    assert went
    completes(place, files)
    assert len(place.sent()) == 13 - len(went)


# -- two at once


def test_two_that_push_at_once(place: Place) -> None:
    """One of them comes first; the other is told so, or that it came in between, and what is there is whole."""
    for _ in range(3):
        prepared(place, "second")
        remotes = [place.remote(), place.remote()]
        changes = []
        for number, remote in enumerate(remotes):
            place.holds({**SECOND_FILES, f"of-{number}.txt": b"%d" % number})
            changes.append(place.change(remote.look()))
        place.holds({**SECOND_FILES, "of-0.txt": b"0", "of-1.txt": b"1"})
        ends: list[Pushed | PublishError | None] = [None, None]

        def run(number: int, remotes: Any = remotes, changes: Any = changes, ends: Any = ends) -> None:
            with contextlib.suppress(PublishError):
                try:
                    ends[number] = remotes[number].push(changes[number], lambda _: None)
                except PublishError as error:
                    ends[number] = refusal(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert None not in ends
        there = place.there()
        assert there is not None
        mine = {number for number in range(2) if f"of-{number}.txt" in there}
        assert {path: there[path] for path in SECOND_FILES} == SECOND_FILES
        made = {number for number in range(2) if not isinstance(ends[number], PublishError)}
        told = {number for number in range(2) if isinstance(ends[number], MovedError)}
        assert made <= mine
        assert not told & mine
        if len(mine) == 2:
            assert not made or any(isinstance(end, PublishError) for end in ends)
