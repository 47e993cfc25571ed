"""Fixtures for all tests."""

from __future__ import annotations

import os
import re
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

AGAIN = re.compile(
    r"checks/test_peers\.py::test_folders_raise_no_alarm\[(parquet_numbered|parquet_in_folders|csv_by_split|json_lines"
    r"|picture_folder_with_metadata|parquet_one_file|a_part_of_the_shards)\]"
    r"|checks/test_peers\.py::test_pushed_datasets_raise_no_alarm\[(splits_one_by_one|one_split|several_configs)\]"
    r"|checks/test_in_other_houses\.py::test_snippets_tell_in_ci\[block"
    r"|network/test_use_cases\.py::test_latex_ocr_from_modelscope"
    r"|hard/test_generated_annotations\.py::test_line_of_a_gigabyte\[json"
    r"|train/test_feed\.py::test_other_processes_see_the_same\[forkserver\]"
    r"|train/test_frame_cache\.py::test_kept_frames_are_the_frames\[\w+-png\]"
    r"|train/test_resume\.py::test_a_run_goes_on_where_it_was_interrupted\[lora\]"
    r"|train/test_generate\.py::test_a_batch_answers_as_one_by_one\[qwen3_vl\]"
)
"""Further ways that are much like one that is tried each time, or take longest."""

settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what tells little more to `make test-slow`; give every property test the examples of `fuzz`."""
    for item in items:
        if AGAIN.search(item.nodeid):
            item.add_marker(pytest.mark.slow)
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
