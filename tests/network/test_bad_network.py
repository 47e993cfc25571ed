"""Media over a bad network, through whole builds: what can be had arrives byte for byte, the rest is said by row."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from pipeline import run
from pipeline.errors import MediaMissingError
from pipeline.network.ledger import Ledger
from tests.network import faults
from tests.network.bad_server import BadServer, refused_url
from tests.network.faults import OK
from tests.project import Project, png

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = 5_000, 3_000_000
"""Bytes; what is large goes on after a kill."""


def picture(number: int, size: int = SMALL) -> bytes:
    """Return a PNG with noise behind its end, as many bytes as wanted."""
    noise = random.Random(number).randbytes(size)  # noqa: S311  (not secrets)
    return (png(number) + noise)[:size]


def cut_picture(number: int) -> bytes:
    """Return a PNG that is cut off inside of its pixels."""
    return png(number, (300, 300))[:-60]


RECOVERED: dict[str, tuple[int, list[faults.Fault]]] = {
    # what happens: bytes of the file, and what its requests meet one after the other
    "reset before the body": (SMALL, [faults.reset_before(), OK]),
    "reset in the body": (LARGE, [faults.reset_after(1_500_000), OK]),
    "closed without an answer": (SMALL, [faults.close_before(), faults.close_before(), OK]),
    "a stall": (SMALL, [faults.stall(1_000, 30), OK]),
    "a byte now and then": (SMALL, [faults.slow(20), OK]),
    "cut off, with a length": (LARGE, [faults.truncated(2_000_000), OK]),
    "cut off again and again": (LARGE, [*[faults.truncated(400_000)] * 7, OK]),
    "cut off in chunks": (SMALL, [faults.chunked_cut(1_500), OK]),
    "in chunks": (SMALL, [faults.chunked()]),
    "without a length": (SMALL, [faults.until_close()]),
    "a length too large": (SMALL, [faults.wrong_length(500), OK]),
    "429 with Retry-After": (SMALL, [faults.status(429, 1), OK]),
    "429 without": (SMALL, [faults.status(429), OK]),
    "503 with Retry-After": (SMALL, [faults.status(503, 1), OK]),
    "503 without": (SMALL, [faults.status(503), OK]),
    "500 twice": (SMALL, [faults.status(500), faults.status(500), OK]),
    "a page with status 200": (SMALL, [faults.html(200), OK]),
    "a page that says it is a picture": (SMALL, [faults.html(200, "image/png"), OK]),
    "a wrong range": (LARGE, [faults.truncated(1_200_000), faults.wrong_range(), OK]),
    "ranges ignored": (LARGE, [faults.truncated(1_200_000), faults.ignores_range()]),
    "ranges refused": (LARGE, [faults.truncated(1_200_000), faults.range_416(), OK]),
    "a weak ETag": (LARGE, [faults.truncated(1_200_000) & faults.weak_etag(last_modified=False), OK]),
    "no validators": (LARGE, [faults.truncated(1_200_000) & faults.no_validators(), OK]),
    "Last-Modified alone": (LARGE, [faults.truncated(1_200_000) & faults.no_etag(), OK & faults.no_etag()]),
    "gzip though not asked for": (SMALL, [faults.gzip_encoded()]),
    "wrong bytes of the right length": (SMALL, [faults.wrong_bytes(), OK]),
    "interim answers": (SMALL, [faults.informational()]),
    "no status line": (SMALL, [faults.bad_status_line(), OK]),
}

LOST: dict[str, tuple[list[faults.Fault], str]] = {
    # what happens: what every request meets, and the reason of the reject
    "404": ([faults.status(404)], "fetch.status"),
    "410": ([faults.status(410)], "fetch.status"),
    "403": ([faults.status(403)], "fetch.status"),
    "500 for ever": ([faults.status(500)], "fetch.status"),
    "asked to wait for an hour": ([faults.status(503, 3_600)], "fetch.status"),
    "reset for ever": ([faults.reset_after(10)], "fetch.cut"),
    "a page for ever": ([faults.html(200)], "fetch.not_media"),
    "endless": ([faults.endless()], "fetch.too_large"),
    "a redirect in a circle": ([faults.redirect_loop()], "fetch.redirects"),
    "a redirect to private ground": ([faults.redirect("http://10.0.0.1/x.png")], "fetch.forbidden"),
    "a redirect to the machine itself": ([faults.redirect("http://localhost/x.png")], "fetch.forbidden"),
    "a redirect to a file": ([faults.redirect("file:///etc/passwd")], "fetch.url"),
    "wrong bytes for ever": ([faults.wrong_bytes()], "media.kind"),
    "a stall for ever": ([faults.stall(100, 30)], "fetch.timeout"),
    "a huge header": ([faults.huge_header()], "fetch.protocol"),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let builds wait for a second where they would wait for a minute."""
    limits = run._fetch_limits
    short = {"backoff": 0.02, "stall": 1.0, "slowest": 100, "whole": 20.0, "longest_wait": 3.0, "pause": 0.2}
    monkeypatch.setattr(run, "_fetch_limits", lambda recipe: replace(limits(recipe), **short))


def name_of(case: str) -> str:
    """Return the name of a case's file."""
    return f"{case.replace(' ', '-')}.png"


def write(project: Project, urls: list[str], **fetch: Any) -> None:
    """Write a project whose rows ask for URLs."""
    project.rows("rows.jsonl", [{"image": url, "number": number} for number, url in enumerate(urls)])
    recipe = {
        "configs": {"default": {"splits": {"train": {"files": "rows.jsonl"}}}},
        "fetch": {"allow_hosts": ["127.0.0.1"], "max_bytes": "4MB", **fetch},
    }
    project.write(recipe, {"image": "image", "number": "int64"})


def published(project: Project) -> dict[int, bytes]:
    """Return the bytes of each row's picture."""
    return {row["number"]: row["image"]["bytes"] for row in project.split("train").to_pylist()}


def test_what_can_be_had_arrives(project: Project) -> None:
    """Whatever happens on the way, a file that can be had arrives byte for byte, and a second run asks for nothing."""
    files = {name_of(case): picture(number, size) for number, (case, (size, _)) in enumerate(RECOVERED.items())}
    met = {name_of(case): some for case, (_, some) in RECOVERED.items()}
    with BadServer(files, met) as server:
        write(project, [server.url(name) for name in files])
        report = project.build()
        assert project.reasons() == []
        assert published(project) == dict(enumerate(files.values()))
        assert report.stages[2].media == len(files)
        asked = len(server.requests)
        (project.work / "plan").rename(project.root / "old-plan")
        project.build()
        assert len(server.requests) == asked
    assert not list((project.root / "cache").glob("media/partial/*/*"))


def test_what_breaks_off_goes_on_where_it_was(project: Project) -> None:
    """A large file whose body broke off is continued by a range that its ETag guards, and not fetched again."""
    data = picture(1, LARGE)
    with BadServer({"a.png": data}, {"a.png": [faults.truncated(1_200_000), OK]}) as server:
        write(project, [server.url("a.png")])
        project.build()
        assert published(project) == {0: data}
        ranges = [request.range for request in server.requests]
        assert ranges[0] is None
        assert ranges[1] == "bytes=1200000-"


def test_a_new_version_between_two_parts(project: Project) -> None:
    """A file that is replaced while it comes is fetched whole in its new version; no file is made of two."""
    old, new = picture(1, LARGE), picture(2, LARGE)
    with BadServer({"a.png": old}, {"a.png": [faults.truncated(1_200_000), faults.other_etag(new), OK]}) as server:
        write(project, [server.url("a.png")])
        project.build()
        assert published(project) == {0: new}


def test_what_cannot_be_had_is_said(project: Project) -> None:
    """Every file that cannot be had is a reject with its row and reason; nothing of it is let in, and the run ends."""
    files = {name_of(case): picture(number) for number, case in enumerate(LOST)}
    files["good.png"] = picture(99)
    with BadServer(files, {name_of(case): some for case, (some, _) in LOST.items()}) as server:
        refused = refused_url("x.png")
        write(project, [*[server.url(name) for name in files], refused])
        started = time.monotonic()
        project.build()
        assert time.monotonic() - started < 60
    expected = [("rows.jsonl", number + 1, reason) for number, (_, reason) in enumerate(LOST.values())]
    assert project.reasons() == [*expected, ("rows.jsonl", len(files) + 1, "fetch.connect")]
    assert published(project) == {len(LOST): files["good.png"]}
    stored = list((project.root / "cache" / "media" / "objects").glob("??/*"))
    assert len(stored) == 1
    with Ledger(project.root / "cache") as ledger:
        failed = {entry.shown.rpartition("/")[2]: entry for entry in ledger.failed()}
    assert failed["404.png"].http == 404
    assert failed["404.png"].row == "default rows.jsonl:1"
    assert failed["500-for-ever.png"].tries == 5
    assert failed["500-for-ever.png"].lasts == "passing"


def test_a_cut_off_file_of_unknown_length(project: Project) -> None:
    """A body without a length that broke off is told by its picture, fetched once more, and then let in or rejected."""
    whole = png(7, (300, 300))
    files = {"once.png": whole, "always.png": whole}
    cut = faults.truncated_without_length(len(whole) - 200)
    with BadServer(files, {"once.png": [cut, OK], "always.png": [cut]}) as server:
        write(project, [server.url(name) for name in files])
        project.build()
        assert published(project) == {0: whole}
        assert project.reasons() == [("rows.jsonl", 2, "media.decode")]
        assert server.tries("always.png") == 2


def test_the_next_build_asks_for_what_may_have_passed(project: Project) -> None:
    """What a busy server would not give is asked for again; what is not there only when somebody says so."""
    files = {"busy.png": picture(1), "gone.png": picture(2), "forbidden.png": picture(3), "good.png": picture(4)}
    met = {
        "busy.png": [*[faults.status(503)] * 5, OK],
        "gone.png": [faults.status(404), OK],
        "forbidden.png": [faults.status(403), OK],
    }
    with BadServer(files, met) as server:
        write(project, [server.url(name) for name in files])
        project.build()
        assert set(published(project)) == {3}
        project.build()
        assert set(published(project)) == {0, 3}
        asked = len(server.requests)
        project.build()
        assert len(server.requests) == asked
        project.build(upto="cache", retry=True, retry_status=403)
        assert (server.tries("gone.png"), server.tries("forbidden.png")) == (1, 2)
        project.build(retry=True)
        assert published(project) == dict(enumerate(files.values()))


def test_one_url_is_fetched_once(project: Project) -> None:
    """However many rows, columns, configs and builds want a URL, whatever its signature, it is fetched once."""
    with BadServer({"a.png": picture(1)}) as server:
        signed = [server.url("a.png") + f"?X-Amz-Signature={n:064x}&X-Amz-Date=20260101T00000{n}Z" for n in range(9)]
        write(project, signed)
        project.build()
        assert len(published(project)) == 9
        assert len(server.requests) == 1
        other = Project(project.root / "other")
        write(other, [server.url("a.png")])
        (other.root / "cache").symlink_to(project.root / "cache")
        other.build()
        assert len(server.requests) == 1


def test_two_urls_of_one_name(project: Project) -> None:
    """Two URLs that end alike are two files."""
    with BadServer({"a/x.png": picture(1), "b/x.png": picture(2)}) as server:
        write(project, [server.url("a/x.png"), server.url("b/x.png")])
        project.build()
        assert published(project) == {0: picture(1), 1: picture(2)}


def test_secrets_stay_out(project: Project) -> None:
    """Tokens and signatures of URLs reach neither ledger, manifest, rejects, card nor shards."""
    with BadServer({"a.png": picture(1)}, {"b.png": [faults.status(404)]}) as server:
        secret = "TOPSECRET" + "0123456789"
        write(project, [f"{server.url(name)}?token={secret}&X-Amz-Signature={secret}" for name in ("a.png", "b.png")])
        project.build()
        assert len(server.requests) == 2
        assert set(published(project)) == {0}
    assert pq.read_table(project.work / "rejected.parquet").num_rows == 1
    for folder in (project.out, project.root / "cache", project.work):
        for path in folder.rglob("*"):
            if path.is_file() and "records" not in path.parts:  # those are the annotation itself
                assert secret.encode() not in path.read_bytes(), path


def test_offline(project: Project) -> None:
    """Without the network a complete build is done again, and one that is not names every row and URL at once."""
    files = {f"{number}.png": picture(number) for number in range(4)}
    with BadServer(files) as server:
        urls = [server.url(name) for name in files]
    write(project, urls)
    with pytest.raises(MediaMissingError) as error:
        project.build(offline=True)
    assert all(f"rows.jsonl:{number + 1}: image: {url}" in str(error.value) for number, url in enumerate(urls))
    with BadServer(files) as server:
        write(project, [server.url(name) for name in files])
        project.build()
    good = published(project)
    for folder in ("work", "out"):
        (project.root / folder).rename(project.root / f"old-{folder}")
    project.build(offline=True)
    assert published(project) == good == dict(enumerate(files.values()))


def test_a_host_that_refuses_everything_is_left_in_peace(project: Project) -> None:
    """A host that answers 403 to everything is paused and then not asked any more; other hosts go on."""
    names = [f"{number}.png" for number in range(200)]
    with (
        BadServer({name: picture(1) for name in names}, forbids_after=0) as angry,
        BadServer({name: picture(number) for number, name in enumerate(names)}) as kind,
    ):
        write(project, [url for name in names for url in (angry.url(name), kind.url(name))])
        text = project.source / "rows.jsonl"
        text.write_text(text.read_text().replace(f"127.0.0.1:{angry.port}", f"localhost:{angry.port}"))
        recipe = project.recipe_path.read_text().replace("- 127.0.0.1", "- 127.0.0.1\n  - localhost")
        project.recipe_path.write_text(recipe)
        project.build()
        assert len(angry.requests) < 60
        assert len(kind.requests) == 200
        assert {row["reason"] for row in project.rejected()} == {"fetch.status", "fetch.host"}
        assert len(published(project)) == 200


def test_a_server_that_counts(project: Project) -> None:
    """A server that allows so many requests a second gets no more of them than it can bear, and gives all files."""
    files = {f"{number}.png": picture(number) for number in range(60)}
    with BadServer(files, limit_per_second=30) as server:
        write(project, [server.url(name) for name in files])
        project.build()
        assert len(published(project)) == 60
    with BadServer(files) as server:
        write(project, [server.url(name) for name in files], per_host=3)
        project.build()
        assert server.most_at_once <= 3


@pytest.fixture
def served() -> Iterator[BadServer]:
    """Give a server of two files."""
    with BadServer({"a.png": picture(1), "b.png": picture(2)}) as server:
        yield server


def test_an_object_that_was_damaged_is_fetched_again(project: Project, served: BadServer) -> None:
    """An object that is gone or cut off is fetched again; the store never serves half of a file."""
    write(project, [served.url("a.png"), served.url("b.png")])
    project.build()
    one, other = sorted((project.root / "cache" / "media" / "objects").glob("??/*"))
    one.unlink()
    other.write_bytes(other.read_bytes()[:100])
    (project.work / "plan").rename(project.root / "old-plan")
    project.build()
    assert published(project) == {0: picture(1), 1: picture(2)}
    assert len(served.requests) == 4
