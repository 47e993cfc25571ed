"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
"""`fuzz`, as `make fuzz` has it: every property test with many more examples than it asks for itself. `ci` draws the
same examples every time, so that a run tells about the change and not about the draw."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5000"))
"""Examples of one property test in the profile `fuzz`."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as in a shell's background job: every process that is begun here would inherit it, and be deaf to Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the number of examples of the profile `fuzz` to tests that name a number of their own, too."""
    if PROFILE != "fuzz":
        return
    for item in items:
        test = getattr(item, "obj", None)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is not None:
            # Where Hypothesis keeps what `@settings` says; a profile alone does not go before that.
            vars(test)["_hypothesis_internal_use_settings"] = settings(own, max_examples=EXAMPLES, derandomize=False)


@pytest.fixture(autouse=True)
def nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that asks for the address of another machine."""
    asked: list[object] = []
    resolve = socket.getaddrinfo

    def only_here(host: object, *rest: object, **more: object) -> object:
        if host not in (None, "", "localhost", b"localhost") and not str(host).startswith(("127.", "::1")):
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "tests stay on this machine")
        return resolve(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    yield
    assert asked == []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Give an empty project folder."""
    return Project(tmp_path)
