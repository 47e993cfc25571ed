"""Processes that decode and encode beside a training, and what they must not do to it."""

from __future__ import annotations

import os
import signal

import torch

from train.no_network import forbid_network


def be_a_worker(_: int) -> None:
    """Prepare a forked process for work: one thread of torch, no network, and no ear for Ctrl-C.

    A terminal sends Ctrl-C to a whole group of processes, and some schedulers send SIGTERM likewise. The training then
    finishes its step, for which it needs its batches, and ends its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    forbid_network(allow_loopback=False)


def default_loader_workers(processes: int = 1) -> int:
    """Return how many workers one of so many trainings on this machine has, so that they do not fight for its cores."""
    return max(0, len(os.sched_getaffinity(0)) // max(1, processes) - 1)
