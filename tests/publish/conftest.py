"""Which of the pushes over bad networks are tried each time, and which by `make test-slow` as well."""

from __future__ import annotations

import re

import pytest

AGAIN = re.compile(
    r"test_a_connection_that_breaks_for_good\[\((True, False|False, True)\)"
    r"|test_a_connection_that_breaks_once\[\((True, True|False, False)\)"
    r"|test_a_server_that_cannot_once\[(500|503-xet|429-lfs)"
    r"|test_a_network_that_goes_away\[(dataset-first|model-second)"
    r"|test_a_server_that_cannot_now\[(?!dataset-first-before-429|model-second-after-503)"
    r"|test_a_server_that_never_can\[model"
    r"|test_many_small_files_take_few_requests\[model"
    r"|test_it_loads_as_it_does_here\[xet"
    r"|test_killed_while_it_sends\[model"
    r"|test_killed_at_any_moment\[huggingface with Xet"
    r"|test_two_releases\[modelscope"
    r"|test_a_pushed_dataset_loads_as_the_local_one"
)
"""The second of two ways that are much alike: Git LFS and Xet, datasets and models, the first push and the next."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the second ways as slow."""
    for item in items:
        if AGAIN.match(item.name):
            item.add_marker(pytest.mark.slow)
