"""How fast a training goes between two lines of its metrics, and how long it waits for data."""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.runs.planned_batches import Batch


class Pace:
    """What one process measures."""

    def __init__(self, device: torch.device, summed: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Begin to measure; `summed` adds a tensor up over all processes."""
        self._device, self._summed = device, summed
        self.tokens = 0
        """Of all processes, up to the last line."""
        self._begin()

    def _begin(self) -> None:
        self._started = time.perf_counter()
        self._waited = 0.0
        self._counted = [0, 0]

    def begin(self, tokens: int) -> None:
        """Begin anew, behind so many tokens."""
        self.tokens = tokens
        self._begin()

    def waited(self, began: float) -> None:
        """Say that a batch was waited for since `began`, a time of `time.perf_counter`."""
        self._waited += time.perf_counter() - began

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self._counted[0] += len(batch.rows)
        self._counted[1] += batch.tokens

    def leave_out(self, began: float) -> None:
        """Say that since `began` no step was taken, but the model was evaluated or saved."""
        self._started += time.perf_counter() - began

    def tokens_so_far(self) -> int:
        """Return the tokens of all processes up to now; all have to ask."""
        return self.tokens + self._sums()[1]

    def take(self) -> dict[str, float]:
        """Return what was measured since the last line, of all processes, and begin the next; all have to ask."""
        seconds = time.perf_counter() - self._started
        samples, tokens = self._sums()
        self.tokens += tokens
        found = {
            "tokens": self.tokens,
            "samples_per_second": samples / seconds,
            "tokens_per_second": tokens / seconds,
            "wait_share": self._waited / seconds,
            "peak_memory": peak_memory(self._device),
        }
        self._begin()
        return found

    def _sums(self) -> list[int]:
        counted = torch.tensor(self._counted, dtype=torch.int64, device=self._device)
        return [int(number) for number in self._summed(counted).tolist()]


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
