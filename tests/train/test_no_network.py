"""No network during training: every way to it is refused before anything leaves, with the row that was at hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from train.example import TrainError
from train.no_network import NetworkDuringTrainingError, no_network, refused_attempts, working_on

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """Try everything in a process of its own, since a hook stays until its process ends."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {name: value for name, value in environment.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    command = [sys.executable, "-m", "tests.train.network_attempts"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_way_is_refused(said: dict[str, Any]) -> None:
    """Sockets, names, and the libraries that people use: each is refused with the row and the address."""
    assert len(said["refused"]) >= 17, "and the hub's client is told to stay offline"
    assert said["refused"].pop("huggingface_hub").startswith("not refused: OfflineModeIsEnabled")
    for name, words in said["refused"].items():
        assert words.startswith("something asked for "), (name, words)
        assert words.endswith("during training, at data/train-00000-of-00001.parquet row 4 (clip 9)"), (name, words)
        assert any(place in words for place in ("198.51.100.7", "2001:db8::7", "models.invalid")), (name, words)
    assert said["refused"]["requests"].startswith("something asked for the address of 198.51.100.7:80 ")
    assert said["refused"]["connect_ex"].startswith("something asked for 198.51.100.7:443 ")
    assert said["attempts"] >= 17


def test_this_machine_is_refused_unless_it_is_allowed(said: dict[str, Any]) -> None:
    """Loopback is a network too; where it is allowed it works, and nothing else does."""
    assert said["loopback"] == "something asked for the address of 127.0.0.1:PORT during training"
    assert said["loopback when it is allowed"] == "hello"
    assert (
        said["elsewhere all the same"]
        == "something asked for the address of 198.51.100.7:80 during training, at step 7"
    )
    assert said["mapped"] == "not refused"


def test_processes_of_one_training_go_on_talking(said: dict[str, Any]) -> None:
    """Sockets without an address, which queues and managers of processes use, are no network."""
    assert said["between processes"] == "pair [1, 2, 3]"


def test_workers_are_bound_as_well(said: dict[str, Any]) -> None:
    """A forked worker inherits it, one that is started anew is told; both say what they are at."""
    assert said["forked"] == ["something asked for the address of 198.51.100.7:80 during training"]
    assert said["spawned"] == [
        "something asked for the address of 198.51.100.7:80 during training, at a row of the worker"
    ]


def test_afterwards_all_is_as_it_was(said: dict[str, Any]) -> None:
    """When the block is left the network is there again, and the environment what it was."""
    assert said["before"] == said["afterwards"] == "hello"
    assert said["told"] == {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    assert said["told afterwards"] is None


def test_names_are_shown_so_that_they_do_no_harm(said: dict[str, Any]) -> None:
    """What a library asked for is escaped, and the innermost row is named."""
    assert said["escaped"] == "something asked for the address of odd\\x1b[31m.invalid:1 during training, at row 2"


def test_the_error_is_one_of_training() -> None:
    """The error says what is allowed and what to do; blocks may stand inside of each other."""
    with socket.socket() as opened, no_network(), working_on("row 5"):
        with no_network(allow_loopback=True), pytest.raises(TrainError) as raised:
            opened.connect_ex(("192.0.2.1", 80))
        with pytest.raises(NetworkDuringTrainingError):
            opened.connect(("127.0.0.1", 9))
    assert isinstance(raised.value, NetworkDuringTrainingError)
    assert raised.value.what == "something asked for 192.0.2.1:80 during training, at row 5"
    assert "fetched before" in raised.value.allowed
    assert raised.value.what in refused_attempts()
