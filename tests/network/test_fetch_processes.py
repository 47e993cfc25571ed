"""Fetching across processes and over TLS: kills, two builds at once, certificates, and connections that break off."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.network.failure import FetchError
from pipeline.network.fetcher import Arrived, Failed, Fetcher
from pipeline.network.limits import FetchLimits
from pipeline.network.urls import parse_url
from tests.network import faults
from tests.network.bad_server import BadServer
from tests.network.certificates import make_tls
from tests.network.faults import OK
from tests.project import Project, png

if TYPE_CHECKING:
    import ssl

    from tests.network.certificates import TlsFiles

ROOT = Path(__file__).parents[2]
LARGE = png(1) + random.Random(1).randbytes(4_000_000)  # noqa: S311  (not secrets)
QUICK = FetchLimits(
    allow_hosts=frozenset({"127.0.0.1", "localhost"}), backoff=0.02, stall=1.0, longest_wait=2.0, pause=0.2
)


def write(project: Project, urls: list[str]) -> None:
    """Write a project whose rows ask for URLs."""
    project.rows("rows.jsonl", [{"image": url, "number": number} for number, url in enumerate(urls)])
    splits = {"train": {"files": "rows.jsonl"}}
    recipe = {"configs": {"default": {"splits": splits}}, "fetch": {"allow_hosts": ["127.0.0.1", "localhost"]}}
    project.write(recipe, {"image": "image", "number": "int64"})


def start(project: Project, cache: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a build in a process of its own."""
    folders = [f"--work={project.root / 'work'}", f"--out={project.root / 'out'}", f"--cache={cache}"]
    command = [sys.executable, "-m", "pipeline", "card", str(project.recipe_path), *folders]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_kill_in_the_middle_of_a_file(project: Project) -> None:
    """After `kill -9` the next build goes on where the file was, and fetches nothing that was whole."""
    small = {f"{number}.png": png(number) for number in range(20)}
    slow = faults.slow(2_000_000)
    with BadServer({**small, "large.png": LARGE}, {"large.png": [slow, OK]}) as server:
        write(project, [server.url(name) for name in [*small, "large.png"]])
        cache = project.root / "cache"
        build = start(project, cache)
        partial = cache / "media" / "partial"
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size > 1_500_000 for path in partial.glob("??/*") if path.suffix != ".json"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        build.send_signal(signal.SIGKILL)
        build.communicate()
        asked = len(server.requests)
        project.build()
        rows = project.split("train").to_pylist()
        assert [row["image"]["bytes"] for row in rows] == [*small.values(), LARGE]
        later = server.requests[asked:]
        assert [request.path for request in later] == ["large.png"]
        assert later[0].range is not None
        assert later[0].range.startswith("bytes=1")
        assert not list(partial.glob("??/*"))


def test_two_builds_want_the_same(tmp_path: Path) -> None:
    """Two builds with one cache at the same time fetch each URL once between them."""
    files = {f"{number}.png": png(number) + bytes(20_000) for number in range(30)}
    with BadServer(files, {name: [faults.slow(100_000)] for name in files}) as server:
        projects = [Project(tmp_path / name) for name in ("one", "two")]
        for project in projects:
            write(project, [server.url(name) for name in files])
        builds = [start(project, tmp_path / "cache") for project in projects]
        for build in builds:
            _, errors = build.communicate(timeout=60)
            assert build.returncode == 0, errors.decode()
        for project in projects:
            assert [row["image"]["bytes"] for row in project.split("train").to_pylist()] == list(files.values())
        assert sum(server.tries(name) for name in files) == len(files)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Give a certificate authority of the test's own, and certificates it signed."""
    return make_tls(tmp_path_factory.mktemp("tls"))


def fetch_one(cache: Path, url: str, context: ssl.SSLContext) -> bytes | FetchError:
    """Fetch one URL with a client that trusts what the context trusts."""
    with Fetcher(cache, QUICK, tls=context) as fetcher:
        for results in fetcher.fetch([parse_url(url)]):
            for result in results:
                if isinstance(result, Failed):
                    return result.error
                assert isinstance(result, Arrived)
                data = result.path.read_bytes()
                result.forget()
                return data
    raise AssertionError("nothing came")


def test_tls_that_breaks_off(tmp_path: Path, tls: TlsFiles) -> None:
    """A TLS connection that ends without saying so, before or inside of a file, loses nothing."""
    met = {"a.png": [faults.tls_eof(0), faults.tls_eof(1_300_000), OK], "b.png": [faults.tls_eof(100)]}
    with BadServer({"a.png": LARGE, "b.png": LARGE}, met, tls=tls) as server:
        assert fetch_one(tmp_path, server.url("a.png"), tls.client_context()) == LARGE
        error = fetch_one(tmp_path, server.url("b.png"), tls.client_context())
        assert isinstance(error, FetchError)
        assert error.reason in ("fetch.cut", "fetch.tls")
        assert not error.lasting


def test_certificates_are_checked(tmp_path: Path, tls: TlsFiles) -> None:
    """A certificate that nobody trusts, that has expired or is another host's is refused, once and for good."""
    for files in (tls.showing("other_authority"), tls.showing("expired"), tls.showing("other_name")):
        with BadServer({"a.png": LARGE}, tls=files) as server:
            error = fetch_one(tmp_path, server.url("a.png"), tls.client_context())
            assert isinstance(error, FetchError)
            assert (error.reason, error.lasting) == ("fetch.tls", True)
            assert server.requests == []


def test_a_build_over_tls(project: Project, tls: TlsFiles) -> None:
    """A whole build fetches over TLS, trusting what the system is told to trust."""
    with BadServer({"a.png": LARGE}, {"a.png": [faults.tls_eof(1_200_000), OK]}, tls=tls) as server:
        write(project, [server.url("a.png")])
        build = start(project, project.root / "cache", SSL_CERT_FILE=str(tls.authority))
        _, errors = build.communicate(timeout=60)
        assert build.returncode == 0, errors.decode()
    assert [row["image"]["bytes"] for row in project.split("train").to_pylist()] == [LARGE]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Files of 60 MB go to the disk as they come: fetching four of them takes no more memory than one of 4 MB."""
    body = random.Random(2).randbytes(60_000_000)  # noqa: S311
    script = (
        "import sys, resource, pathlib\n"
        "from pipeline.network.fetcher import Fetcher\n"
        "from pipeline.network.limits import FetchLimits\n"
        "from pipeline.network.urls import parse_url\n"
        "with Fetcher(pathlib.Path(sys.argv[1]), FetchLimits(allow_hosts=frozenset({'127.0.0.1'}))) as fetcher:\n"
        "    for some in fetcher.fetch([parse_url(url) for url in sys.argv[2:]], media=False):\n"
        "        for file in some: print(file.bytes, file=sys.stderr); file.forget()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    most = {}
    for size, count in ((4_000_000, 1), (60_000_000, 4)):
        files = {f"{number}.bin": body[:size] for number in range(count)}
        with BadServer(files) as server:
            command = [sys.executable, "-c", script, str(tmp_path / str(size)), *[server.url(name) for name in files]]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
            assert done.stderr.split() == [str(size)] * count
            most[size] = int(done.stdout)
    shutil.rmtree(tmp_path / "60000000")
    assert most[60_000_000] < most[4_000_000] + 20_000  # kB
