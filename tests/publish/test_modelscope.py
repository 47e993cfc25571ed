"""Publishing to ModelScope: its real client against a double on the loopback."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import UsageError
from pipeline.publish.remote import MovedError, PublishError
from tests.network.hub_server import Fault, Reply, as_json
from tests.network.ms_pushes import FIRST
from tests.publish.ms_place import FIRST_FILES, NAME, SECOND_FILES, Place, leave_alone, refusal, served, sha

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.network.hub_server import Request


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


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Place]:
    """Give a folder and a hub for datasets."""
    assert waits == []
    with served("dataset", tmp_path, monkeypatch) as place:
        yield place


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Place]:
    """Give a folder and a hub for models."""
    assert waits == []
    with served("model", tmp_path, monkeypatch) as place:
        yield place


def refused(place: Place, **options: Any) -> PublishError:
    """Return the error of looking and pushing; the hub is as it was before."""
    before = {name: place.there(name) for name in (NAME, "bob/birds")}
    with pytest.raises(PublishError) as caught:
        place.push(**options)
    assert {name: place.there(name) for name in before} == before
    return refusal(caught.value)


def commits(place: Place) -> list[dict[str, Any]]:
    """Return what was asked of the commits that were made."""
    return place.double.history


# -- what arrives


def test_a_first_push_makes_a_private_repository(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """All files arrive as they are, in one commit, and nothing is written on the terminal or into the folder."""
    files = place.wanted()
    pushed = place.push(license="mit")
    assert place.there() == FIRST_FILES
    repo = place.double.pushed(place.kind, NAME)
    assert (repo.visibility, repo.license, repo.protected) == (1, "MIT", 2)
    assert [one["commit_message"] for one in commits(place)] == ["Publish it\n\nWith care."]
    assert pushed.sent == sum(map(len, FIRST_FILES.values())) == sum(place.told)
    assert pushed.url == f"{place.double.endpoint}/{place.kind}s/{NAME}"
    assert (pushed.revision, pushed.pull_request) == ("master", None)
    assert place.wanted() == files
    assert capfd.readouterr() == ("", "")
    remote = place.remote()
    state = remote.look()
    assert (state.exists, state.branch_exists, state.private, state.gated) == (True, True, True, None)
    assert state.commit == pushed.commit
    assert {path: listed.sha256 for path, listed in remote.listing("master").items()} == {
        path: sha(data) for path, data in {**FIRST, **FIRST_FILES}.items()
    }
    assert b"".join(remote.read("README.md", pushed.revision)) == FIRST_FILES["README.md"]


def test_nothing_new_sends_nothing(place: Place) -> None:
    """A push of what is there makes no commit, and no request that could change anything."""
    pushed = place.push()
    place.double.log.clear()
    again = place.push()
    assert (again.commit, again.sent, sum(place.told)) == (pushed.commit, 0, 0)
    assert {request.method for request in place.double.log} == {"GET"}
    assert len(commits(place)) == 1


def test_replaced_and_deleted_in_one_commit(place: Place) -> None:
    """What is new is sent, what is gone is deleted, what is the same is left, and all of it at once."""
    place.push()
    place.double.log.clear()
    pushed = place.holds(SECOND_FILES).push()
    assert place.there() == SECOND_FILES
    assert len(commits(place)) == 2
    actions = {action["path"]: (action["action"], action["type"]) for action in commits(place)[1]["actions"]}
    assert actions == {
        "README.md": ("create", "normal"),
        "data/train-00000-of-00001.parquet": ("create", "lfs"),
        "data/train-00000-of-00002.parquet": ("delete", "normal"),
        "data/train-00001-of-00002.parquet": ("delete", "normal"),
    }
    new = SECOND_FILES["data/train-00000-of-00001.parquet"]
    assert place.sent() == [sha(new)]
    assert pushed.sent == sum(place.told) == len(new) + len(SECOND_FILES["README.md"])


def test_names_and_contents_of_all_sorts(place: Place) -> None:
    """Spaces, other scripts, signs of URLs; empty files; the same content twice; small ones beside large ones."""
    files = {
        "README.md": b"# " + b"long " * 40_000,
        "two words/a b.txt": b"1",
        "图像/鳥 ☂.jsonl": b'{"n": 1}\n',
        "signs/#?%20+&=;,'@.txt": b"2",
        "empty.txt": b"",
        "empty.bin": b"",
        "twice/a.bin": b"same" * 50_000,
        "twice/b.bin": b"same" * 50_000,
        "just.txt": b"x" * 64 * 1024,
        "more.txt": b"y" * (64 * 1024 + 1),
    }
    place.holds(files).push()
    assert place.there() == files
    assert sorted(place.sent()) == sorted({sha(files["twice/a.bin"]), sha(files["more.txt"])} | _as_jsonl(place, files))
    assert sum(place.told) == sum(len(data) for data in {sha(data): data for data in files.values()}.values())
    remote = place.remote()
    for path, data in files.items():
        assert b"".join(remote.read(path, "master")) == data
    place.double.log.clear()
    place.push()
    assert {request.method for request in place.double.log} == {"GET"}


def _as_jsonl(place: Place, files: dict[str, bytes]) -> set[str]:
    """Return the hash of the JSON Lines, which only datasets keep beside the commit whatever their length."""
    return {sha(data) for path, data in files.items() if path.endswith(".jsonl")} if place.kind == "dataset" else set()


def test_a_file_takes_the_name_of_a_folder(place: Place) -> None:
    """Deletions come before additions, within one commit."""
    place.holds({"a/b.txt": b"1", "c": b"2"}).push()
    files = {"a": b"3", "c/d.txt": b"4"}
    place.holds(files).push()
    assert place.there() == files


def test_a_file_that_becomes_large(place: Place) -> None:
    """Whether a content travels in the commit or beside it makes it no other content."""
    place.double.made(place.kind, NAME, {"a.txt": b"x" * 1000, "b.txt": b"y" * 100_000})
    files = {"a.txt": b"x" * 100_000, "b.txt": b"y" * 1000}
    place.holds(files).push()
    assert place.there() == files
    actions = commits(place)[0]["actions"]
    assert {action["path"]: action["type"] for action in actions} == {"a.txt": "lfs", "b.txt": "normal"}


def test_a_content_under_another_name_is_not_sent_again(place: Place) -> None:
    """What moved within the repository is known to the hub; it is no part of what is to be sent."""
    place.push()
    place.double.log.clear()
    moved = {path.replace("data/", "moved/"): data for path, data in FIRST_FILES.items()}
    pushed = place.holds(moved).push()
    assert place.there() == moved
    assert (place.sent(), pushed.sent, sum(place.told)) == ([], 0, 0)


@pytest.mark.parametrize(
    ("card", "hub"),
    [
        ("mit", "MIT"),
        ("apache-2.0", "Apache-2.0"),
        ("cc-by-4.0", "cc-by-4.0"),
        ("gpl-3.0", "gpl-3.0"),
        ("other", "Other"),
        ("cc-by-nc-nd-4.0", "Other"),
        (None, "Other"),
    ],
)
def test_the_licence_is_that_of_the_card(dataset: Place, card: str | None, hub: str) -> None:
    """A licence that the hub does not know is another one, and never the one that its client would write by itself."""
    dataset.push(license=card)
    assert dataset.double.pushed("dataset", NAME).license == hub


def test_what_is_there_keeps_its_settings(place: Place) -> None:
    """A repository that was not made by the push stays public, with its licence."""
    place.double.made(place.kind, NAME, {"README.md": b"old"}, visibility=5, license="GPL-3.0")
    assert place.remote().look().private is False
    place.push(private=True, license="mit")
    repo = place.double.pushed(place.kind, NAME)
    assert (repo.visibility, repo.license) == (5, "GPL-3.0")
    assert place.there() == FIRST_FILES


def test_a_public_repository_is_made_when_it_is_asked_for(place: Place) -> None:
    """And one of an organisation is internal to it, which is not public."""
    place.push(private=False)
    assert place.double.pushed(place.kind, NAME).visibility == 5
    place.double.pushed(place.kind, NAME).visibility = 3
    assert place.remote().look().private is True


def test_a_branch_that_is_there(place: Place) -> None:
    """Another branch than the usual one is written when it is there; the usual one stays as it is."""
    place.double.made(place.kind, NAME, {"old": b"1"}).commit({"old": b"2"}, "next")
    place.push(place.remote(branch="next"))
    assert place.there(branch="next") == FIRST_FILES
    assert place.there() == {"old": b"1"}


def test_an_empty_repository_without_a_branch(dataset: Place) -> None:
    """It can be looked at; what the hub answers to the first commit is what counts."""
    dataset.double.made("dataset", NAME, {}).revisions.clear()
    state = dataset.remote().look()
    assert (state.exists, state.branch_exists, state.commit, dict(state.files)) == (True, False, None, {})
    with pytest.raises(PublishError, match="when you are on a branch"):
        dataset.push(state=state)


def test_a_remote_that_was_wiped_is_filled_again(place: Place) -> None:
    """What was pushed before is believed of nobody but the hub."""
    place.push()
    place.double.blobs.clear()
    place.double.pushed(place.kind, NAME).revisions["master"] = {}
    place.double.log.clear()
    place.push()
    assert place.there() == FIRST_FILES
    assert len(place.sent()) == 2
    place.double.pushed(place.kind, NAME).revisions["master"] = {}
    place.double.log.clear()
    place.push()
    assert (place.there(), place.sent()) == (FIRST_FILES, [])


def test_many_small_files_take_few_requests(place: Place, waits: list[float]) -> None:
    """2,000 files go in one commit, with tens of requests; a listing of datasets has 200 entries to a page."""
    files = {f"notes/{number % 20:02}/{number:05}.txt": b"%d" % number for number in range(1_999)}
    files["README.md"] = b"# Many\n"
    place.holds(files).push()
    assert place.there() == files
    assert len(commits(place)) == 1
    pages = 11 if place.kind == "dataset" else 1
    fixed = ["users/me", "about", "create", "listing of the new", "listing before", "commit"]
    assert len(place.double.log) == len(fixed) + pages
    place.double.log.clear()
    place.push()
    assert len(place.double.log) == len(["users/me", "about", "revisions"]) + pages
    assert waits == []


def test_many_large_files_are_asked_for_together(place: Place) -> None:
    """One request asks for 64 contents, and each is sent once; what is there is not sent."""
    files = {f"images/{number:03}.bin": b"%d" % number for number in range(200)}
    place.double.made(place.kind, NAME, {})
    place.double.blobs = {sha(data): data for data in list(files.values())[:50]}
    place.holds(files).push()
    assert place.there() == files
    assert len(place.double.asked("/objects/batch", "POST")) == 4
    assert sorted(place.sent()) == sorted(map(sha, list(files.values())[50:]))
    assert sum(place.told) == sum(map(len, files.values()))


def test_more_files_than_a_commit_takes(dataset: Place) -> None:
    """They are refused before anything is sent: in two commits, somebody would see the half of them."""
    dataset.holds({f"{number}.txt": b"1" for number in range(2_001)})
    error = refused(dataset)
    assert "2,001 files" in error.what
    assert "2,000" in error.allowed
    assert "archive" in error.hint
    assert {request.method for request in dataset.double.log} == {"GET"}


def test_many_small_texts_do_not_make_a_long_commit(dataset: Place) -> None:
    """Above 8 MiB of them, the larger ones go beside the commit; what the hub itself reads never does."""
    files = {f"texts/{number:03}.txt": b"%03d" % number + b"x" * 60_000 for number in range(200)}
    files["README.md"] = b"# Texts\n" + b"y" * 100_000
    dataset.holds(files).push()
    assert dataset.there() == files
    commit = dataset.double.asked("/commit/", "POST")[0]
    assert len(commit.body) < 8.5 * 2**20
    kinds = {action["path"]: action["type"] for action in commits(dataset)[0]["actions"]}
    assert kinds["README.md"] == "normal"
    assert set(kinds.values()) == {"normal", "lfs"}


def test_a_model_with_more_files_than_are_listed_at_once(model: Place) -> None:
    """The hub cuts such a listing off in silence; its client walks through the folders."""
    many = {f"{folder}/{number}.txt": b"1" for folder in "ab" for number in range(1_600)}
    model.double.made("model", NAME, many)
    state = model.remote().look()
    assert state.files.keys() == many.keys()
    model.double.made("model", NAME, {f"{number}.txt": b"1" for number in range(3_100)})
    with pytest.raises(PublishError, match="more files in one folder"):
        model.remote().look()


# -- what others do meanwhile


def test_somebody_pushed_since_it_was_looked_at(place: Place) -> None:
    """Nothing is sent and nothing is changed."""
    place.push()
    remote = place.holds(SECOND_FILES).remote()
    state = remote.look()
    place.double.pushed(place.kind, NAME).commit({"theirs.txt": b"1"})
    place.double.log.clear()
    with pytest.raises(MovedError, match="changed by somebody else") as caught:
        place.push(remote, state)
    refusal(caught.value)
    assert place.there() == {**FIRST_FILES, "theirs.txt": b"1"}
    assert {request.method for request in place.double.log} == {"GET"}


def test_somebody_pushed_while_contents_were_sent(place: Place) -> None:
    """It is found immediately before the commit, which is not made."""
    place.push()
    remote = place.holds(SECOND_FILES).remote()
    state = remote.look()
    put = place.double.put

    def put_and_push(*arguments: Any) -> Any:
        place.double.pushed(place.kind, NAME).commit({"theirs.txt": b"1"})
        return put(*arguments)

    place.double.put = put_and_push  # type: ignore[method-assign]
    with pytest.raises(MovedError):
        place.push(remote, state)
    assert place.there() == {**FIRST_FILES, "theirs.txt": b"1"}


def test_somebody_pushed_in_the_last_moment(place: Place) -> None:
    """Between the check and the commit, nothing can be prevented: it is reported, by name."""
    place.push()
    place.holds(SECOND_FILES)
    place.double.between.append(lambda: place.double.pushed(place.kind, NAME).commit({"their file.txt": b"1"}))
    with pytest.raises(PublishError, match=r"at the same moment: 'their file\.txt' there is not what") as caught:
        place.push()
    assert not isinstance(caught.value, MovedError)
    assert "the push was made" in refusal(caught.value).hint
    assert place.there() == {**SECOND_FILES, "their file.txt": b"1"}


def test_somebody_made_the_repository(place: Place) -> None:
    """A repository that was not there when it was looked for is not written."""
    remote = place.remote()
    state = remote.look()
    assert not state.exists
    place.double.made(place.kind, NAME, {"theirs.txt": b"1"})
    with pytest.raises(MovedError):
        place.push(remote, state)
    assert place.there() == {"theirs.txt": b"1"}


def test_the_repository_went_away(place: Place) -> None:
    """It is not made again behind the back of whoever deleted it."""
    place.push()
    remote = place.holds(SECOND_FILES).remote()
    state = remote.look()
    (place.double.repos if place.kind == "dataset" else place.double.models).clear()
    with pytest.raises(MovedError):
        place.push(remote, state)
    assert place.there() is None


@pytest.mark.parametrize(
    "content", [b"x" * 120_000, b"short", b"one" * 40_000 + b"more"], ids=["other", "less", "more"]
)
@pytest.mark.parametrize("path", ["data/train-00000-of-00002.parquet", "notes.txt"])
def test_a_file_changed_on_this_disk(place: Place, path: str, content: bytes) -> None:
    """It is found before its last byte goes: nothing is published, and the next push is as planned anew."""
    place.holds({"README.md": b"old"}).push()
    place.holds(FIRST_FILES)
    remote = place.remote()
    change = place.change(remote.look())
    (place.folder / path).write_bytes(content)
    with pytest.raises(PublishError, match=f"'{path}' changed while it was pushed") as caught:
        remote.push(change, place.told.append)
    refusal(caught.value)
    assert place.there() == {"README.md": b"old"}
    place.push()
    assert place.there() == {**FIRST_FILES, path: content}


def test_a_file_went_away_on_this_disk(place: Place) -> None:
    """That is an error of this disk, and not one of the hub."""
    remote = place.remote()
    change = place.change(remote.look())
    (place.folder / "data/train-00000-of-00002.parquet").unlink()
    with pytest.raises((PublishError, FileNotFoundError)) as caught:
        remote.push(change, place.told.append)
    assert "train-00000-of-00002.parquet" in str(caught.value)
    assert place.there() == {"README.md": FIRST["README.md"]}


# -- who may


def test_without_a_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said where to make one, before anything is asked of the hub."""
    monkeypatch.delenv("MODELSCOPE_API_TOKEN")
    error = refused(place)
    assert "without a token" in error.what
    assert f"{place.double.endpoint}/my/myaccesstoken" in error.hint
    assert "MODELSCOPE_API_TOKEN" in error.hint
    assert place.double.log == []


@pytest.mark.parametrize("token", ["ms-wrong", "ms-wro\nng", "ms-wrong\u2028", "ms wrong"])
def test_a_token_that_is_none(place: Place, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Also one that no request could carry, and that a library would show."""
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", token)
    error = refused(place)
    assert "does not accept the token" in error.what
    assert "/my/myaccesstoken" in error.hint
    assert token not in repr(error)


def test_a_token_with_a_line_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came out of a file, and is meant without."""
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-alice\n")
    place.push()
    assert place.there() == FIRST_FILES


def test_a_token_that_is_given(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes before that of the environment."""
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-wrong")
    place.push(place.remote(token="ms-alice"))  # noqa: S106  of the double
    assert place.there() == FIRST_FILES


def test_a_stored_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the login of the client stored is found where it stored it."""
    from modelscope_hub.config import HubConfig

    monkeypatch.delenv("MODELSCOPE_API_TOKEN")
    HubConfig(endpoint=place.double.endpoint).save_token("ms-alice")
    place.push()
    assert place.there() == FIRST_FILES


def test_a_token_that_may_only_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub tells it with the first request that changes something; nothing is changed."""
    place.double.made(place.kind, NAME, {"old": b"1"}, visibility=5)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-alice-reads")
    error = refused(place)
    assert "may not be written: no permission" in error.what
    assert "write" in error.hint
    assert "/my/myaccesstoken" in error.hint


def test_the_name_of_somebody_else(place: Place) -> None:
    """A repository is not made in another's name, and not written where it is there."""
    error = refused(place, remote=place.remote("bob/birds"))
    assert "no permission to create" in error.what
    place.double.made(place.kind, "bob/birds", {"old": b"1"}, visibility=5)
    assert "may not be written" in refused(place, remote=place.remote("bob/birds")).what
    place.double.pushed(place.kind, "bob/birds").visibility = 1
    error = refused(place, remote=place.remote("bob/birds"))
    assert "may not be written" in error.what


def test_a_name_that_nobody_has(place: Place) -> None:
    """The hub's own words say why; they are not taken for those of a repository that is there."""
    error = refused(place, remote=place.remote("nobody/birds"))
    assert "cannot be made: the namespace does not exist" in error.what


def test_no_room(place: Place) -> None:
    """Contents that find no room are refused before a commit names them."""
    place.double.full = True
    with pytest.raises(PublishError, match="storage quota exceeded") as caught:
        place.push()
    assert "make room" in refusal(caught.value).hint
    assert (commits(place), place.sent()) == ([], [])


def test_no_room_as_the_hub_codes_it(place: Place) -> None:
    """Nor is such an answer to the commit tried again and again."""
    place.double.made(place.kind, NAME, {"old": b"1"})
    refuse(place, "/commit/", 403, {"code": "QuotaLimitExceed", "message": "storage exhausted"})
    error = refused(place)
    assert "storage exhausted" in error.what
    assert "make room" in error.hint
    assert len(place.double.asked("/commit/", "POST")) == 1


def refuse(place: Place, path: str, status: int, body: dict[str, Any]) -> None:
    """Answer all requests for a path with this, and carry none of them out."""
    answer = place.double.answer

    def answered(request: Request) -> Reply:
        return as_json(body, status) if re.search(path, request.path) else answer(request)

    place.double.answer = answered  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/commit/", {"Code": 400, "Success": False, "Message": "not today"}),
        ("/objects/batch", {"Code": 10010, "Success": False, "Message": "not today", "Data": None}),
        ("/objects/batch", {"Code": 403, "Success": False, "Message": "not today"}),
        ("/repo/(files|tree)", {"Code": 10010, "Success": False, "Message": "not today", "Data": None}),
        ("/revisions", {"Code": 10010, "Success": False, "Message": "not today", "Data": None}),
    ],
)
def test_failures_that_call_themselves_a_success(place: Place, path: str, body: dict[str, Any]) -> None:
    """An answer of status 200 that says that something failed is not taken for one that says that nothing is there."""
    place.double.made(place.kind, NAME, {"old": b"1"})
    refuse(place, path, 200, body)
    assert "not today" in refused(place).what
    assert commits(place) == []


def test_answers_that_are_none(place: Place) -> None:
    """A batch that says nothing of contents does not say that they are all there; nor does a page of somebody else."""
    place.double.made(place.kind, NAME, {"old": b"1"})
    refuse(place, "/objects/batch", 200, {"Code": 200, "Success": True, "Data": None})
    assert "does not answer as ModelScope does" in refused(place).what
    place.double.writes = [("POST", ".*", lambda *_: Reply(200, b"<html>Log in</html>"))]
    del place.double.answer
    assert "does not answer as ModelScope does" in refused(place).what


def test_a_protected_branch(place: Place) -> None:
    """The hub's words are shown."""
    place.double.made(place.kind, NAME, {"old": b"1"}, locked={"master"})
    assert "it is protected" in refused(place).what


def test_what_a_server_says_is_shown_plainly(place: Place) -> None:
    """No token, no sign that a terminal would obey, and not the whole of a page."""
    place.double.made(place.kind, NAME, {"old": b"1"})
    refuse(place, "/commit/", 403, {"Message": f"\x1b[31mms-alice {'x' * 5_000}"})
    error = refused(place)
    assert "\\x1b[31m*** xx" in error.what
    assert len(error.what) < 500


# -- what this hub does not have


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pull_request": True}, "no pull requests"),
        ({"gated": "auto"}, "gates of one kind"),
        ({"gated": "manual", "private": False}, "gates private repositories alone"),
    ],
)
def test_what_is_not_offered(place: Place, options: dict[str, Any], words: str) -> None:
    """It is a wrong use, and said before anything is sent."""
    remote = place.remote()
    state = remote.look()
    place.double.log.clear()
    with pytest.raises(UsageError, match=words) as caught:
        place.push(remote, state, **options)
    assert refusal(caught.value).exit_code == 2
    assert place.double.log == []


def test_gated_when_it_is_made(place: Place) -> None:
    """Who wants to read a gated repository applies for it; one that is there is gated on its page only."""
    place.push(gated="manual")
    repo = place.double.pushed(place.kind, NAME)
    assert (repo.visibility, repo.protected) == (1, 1)
    assert place.remote().look().gated == "manual"
    place.holds(SECOND_FILES).push(gated="manual")
    assert place.there() == SECOND_FILES
    repo.protected = 2
    with pytest.raises(UsageError, match="only when it makes it"):
        place.push(gated="manual")


def test_branches_are_not_made(place: Place) -> None:
    """Neither in a repository that is there, nor with one that is made; and a tag is no branch."""
    error = refused(place, remote=place.remote(branch="next"))
    assert "made with the branch 'master' alone" in error.what
    repo = place.double.made(place.kind, NAME, {"old": b"1"})
    assert "has no branch 'next'" in refused(place, remote=place.remote(branch="next")).what
    repo.commit({"old": b"1"}, "v1")
    repo.tags.add("v1")
    assert "as a tag" in refused(place, remote=place.remote(branch="v1")).what
    assert {request.method for request in place.double.log} == {"GET"}


# -- tags


def test_tags_name_what_was_pushed(place: Place) -> None:
    """The same again is fine, another is not, and what a tag names does not change."""
    remote = place.remote()
    first = place.push(remote)
    remote.tag("v1.0.0", first.commit, "The first one")
    remote.tag("v1.0.0", first.commit, "The first one")
    second = place.holds(SECOND_FILES).push(remote)
    with pytest.raises(PublishError, match=r"has the tag 'v1\.0\.0' already") as caught:
        remote.tag("v1.0.0", second.commit, "")
    refusal(caught.value)
    remote.tag("v1.1.0", second.commit, "")
    tags = remote.look().tags
    assert list(tags) == ["v1.0.0", "v1.1.0"]
    assert dict(tags) == {"v1.0.0": first.commit, "v1.1.0": second.commit}
    assert (len(tags), tags.get("v2"), "v2" in tags) == (2, None, False)
    assert set(remote.listing("v1.0.0")) == {*FIRST_FILES, ".gitattributes"}
    assert b"".join(remote.read("README.md", "v1.0.0")) == FIRST_FILES["README.md"]


def test_a_tag_of_a_branch_that_moved(place: Place) -> None:
    """It is not made: it would name what somebody else pushed."""
    remote = place.remote()
    pushed = place.push(remote)
    place.double.pushed(place.kind, NAME).commit({"theirs.txt": b"1"})
    with pytest.raises(MovedError) as caught:
        remote.tag("v1", pushed.commit, "")
    assert "was not made" in refusal(caught.value).hint
    assert place.double.pushed(place.kind, NAME).tags == set()


@pytest.mark.parametrize("name", ["master", "main", "next"])
def test_names_that_no_tag_has(place: Place, name: str) -> None:
    """Those of branches, and those that the hub keeps for itself."""
    remote = place.remote()
    pushed = place.push(remote)
    place.double.pushed(place.kind, NAME).commit({"old": b"1"}, "next")
    with pytest.raises(PublishError, match=name) as caught:
        remote.tag(name, pushed.commit, "")
    refusal(caught.value)
    assert place.double.pushed(place.kind, NAME).tags == set()


def test_tags_where_the_hub_says_commits(place: Place) -> None:
    """A tag at the commit of the branch is what the branch is, and nothing is listed to find that out."""
    remote = place.remote()
    pushed = place.push(remote)
    place.double.pushed(place.kind, NAME).commits["master"] = "a" * 40
    remote.tag("v1", pushed.commit, "")
    state = remote.look()
    place.double.log.clear()
    assert dict(state.tags) == {"v1": state.commit}
    assert place.double.log == []


# -- reading back


@pytest.mark.parametrize("gives_parts", [True, False])
def test_a_body_that_is_cut_goes_on(place: Place, gives_parts: bool) -> None:
    """Where the server gives parts, from where it was cut; else from the start, without what came before."""
    place.push()
    place.double.gives_parts = gives_parts
    place.double.faults = [Fault("/repo\\?", cut=70_000), Fault("/repo\\?", status=503), Fault("/repo\\?", cut=0)]
    path = "data/train-00000-of-00002.parquet"
    assert b"".join(place.remote().read(path, "master")) == FIRST_FILES[path]


def test_what_cannot_be_read(place: Place) -> None:
    """Files, branches and bodies that are not there."""
    remote = place.remote()
    place.push(remote)
    for read in (
        lambda: list(remote.read("gone.txt", "master")),
        lambda: list(remote.read("README.md", "gone")),
        lambda: remote.listing("gone"),
    ):
        with pytest.raises(PublishError) as caught:
            read()
        refusal(caught.value)
    place.double.faults = [Fault("/repo\\?", cut=10, times=100)]
    with pytest.raises(PublishError, match="cannot be reached"):
        list(remote.read("README.md", "master"))


@pytest.mark.parametrize(("hashes", "sizes"), [(False, True), (True, False), (False, False)])
def test_a_hub_that_says_less(place: Place, hashes: bool, sizes: bool) -> None:
    """What a listing does not say is not held against it, and what it says is compared."""
    place.double.made(place.kind, NAME, {"old.txt": b"1"}, says_hashes=hashes, says_sizes=sizes)
    place.push()
    assert place.there() == FIRST_FILES
    place.holds(SECOND_FILES).push()
    assert place.there() == SECOND_FILES
    place.double.between.append(lambda: place.double.pushed(place.kind, NAME).commit({"theirs.txt": b"1"}))
    with pytest.raises(PublishError, match=r"at the same moment: 'theirs\.txt'"):
        place.holds(FIRST_FILES).push()


def test_what_the_hub_writes_itself_is_none_of_somebody_else(place: Place) -> None:
    """A hub may note in .gitattributes which files are large."""
    place.push()
    place.double.between.append(
        lambda: place.double.pushed(place.kind, NAME).commit({".gitattributes": b"*.parquet filter=lfs\n"})
    )
    place.holds(SECOND_FILES).push()
    assert place.there() == SECOND_FILES


def test_requests_carry_what_the_hub_wants(dataset: Place) -> None:
    """The commit is what the client's own pushes send: actions with the same keys."""
    dataset.push()
    (request,) = dataset.double.asked("/commit/master", "POST")
    actions = json.loads(request.body)["actions"]
    assert {tuple(sorted(action)) for action in actions} == {
        ("action", "content", "encoding", "path", "sha256", "size", "type")
    }
