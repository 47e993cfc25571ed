"""Datasets that today's `datasets` pushed to a hub on the loopback, made once for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.network.hf_pushes import PushableDouble

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of what lies in the repositories after the pushes, and before the last commit in `*.before`."""
    scratch = tmp_path_factory.mktemp("pushes")
    out = scratch / "out"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with PushableDouble() as hub:
        environment |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_alice", "HF_HOME": str(scratch / "home")}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-m", "tests.checks.peer_pushes", str(scratch)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        for repo in hub.repos.values():
            *_, before, last = repo.commits.values()
            for ending, files in (("", last), (".before", before)):
                for path, blob in files.items():
                    target = out / (repo.id.rpartition("/")[2] + ending) / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(blob.data)
    return out
