"""What a training runs on: the device, the processes that train together, and the precision that follows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from train.example import TrainError
from train.models.methods import ADAPTERS
from train.runs.loader_workers import default_loader_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from train.settings import Settings

T = TypeVar("T")
TRY = "make train DEVICE=cpu MODEL=tiny tries the whole stage with a tiny model in two minutes"


class NoDeviceError(TrainError):
    """There is no device to train on, and nobody asked for the processor."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One of the processes that train together."""

    cpu: bool
    """Is it trained without a GPU?"""
    name: str
    """What is trained on, in words."""
    ranks: int
    rank: int
    on_node: int
    """Which of the processes of its machine it is."""
    per_node: int
    """How many of them there are on its machine."""
    state: Any
    """accelerate's."""

    @property
    def main(self) -> bool:
        """Is it the one that writes the run's records?"""
        return self.rank == 0

    def place(self, settings: Settings) -> str:
        """Return where a model is loaded to; what shards it over devices takes it from the processor's memory."""
        if self.cpu or settings.arguments.get("fsdp") or settings.arguments.get("deepspeed"):
            return "cpu"
        return f"cuda:{self.on_node}"

    def workers(self, settings: Settings) -> int:
        """Return how many processes make batches for this one."""
        return default_loader_workers(self.per_node) if settings.workers is None else settings.workers

    def share_cores(self, settings: Settings) -> None:
        """Leave the processors that the workers have to them, where a model is computed on the others."""
        if self.cpu:
            import torch

            cores = len(os.sched_getaffinity(0)) // max(1, self.per_node)
            # whoever asked torch for fewer gets fewer
            torch.set_num_threads(min(torch.get_num_threads(), max(1, cores - self.workers(settings))))

    def gathered(self, value: Any) -> list[Any]:
        """Return what each process has, in their order; all have to ask."""
        if self.ranks == 1:
            return [value]
        from accelerate.utils import gather_object

        found: Sequence[Any] = gather_object([value])
        return list(found)

    def one_after_another(self, act: Callable[[], T]) -> T:
        """Let the first process of each machine do something that fills its disk, and then the others find it done."""
        if self.on_node:
            self.wait()
            return act()
        found = act()
        self.wait()
        return found

    def part(self) -> None:
        """Go on without the other processes, for good."""
        if self.ranks > 1:
            self.state.destroy_process_group()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.ranks > 1:
            self.state.wait_for_everyone()


def this_machine(asked: str) -> Machine:
    """Return what is trained on: `auto` wants a GPU, `cpu` does without, `cuda` is a GPU.

    Started by torchrun or `accelerate launch`, the processes find each other here.

    Raises:
        NoDeviceError: there is no GPU; says what to do.
    """
    import torch
    from accelerate import PartialState

    if asked != "cpu" and not torch.cuda.is_available():
        what = "torch is built without CUDA" if torch.version.cuda is None else "torch finds no GPU that it can use"
        raise NoDeviceError(
            f"a model is trained on a GPU, and there is none here: {what}",
            allowed="--device cpu, which is slow for a model of any size",
            hint=f"train on a machine with a GPU; {TRY}",
        )
    state = PartialState(cpu=asked == "cpu")
    cpu = asked == "cpu"
    return Machine(
        cpu=cpu,
        name="the processor" if cpu else torch.cuda.get_device_name(state.device),
        ranks=state.num_processes,
        rank=state.process_index,
        on_node=state.local_process_index,
        per_node=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        state=state,
    )


@dataclass(frozen=True, slots=True)
class Precision:
    """In what a model is kept and computed."""

    name: str
    dtype: str
    """Of its weights when they are loaded."""
    bf16: bool
    """Is it computed in bfloat16?"""


def precision_of(settings: Settings, *, cpu: bool) -> Precision:
    """Return the precision that the settings ask for, or that suits the device.

    With adapters the weights beside them stay as they are, so bfloat16 is enough for these; what learns is kept in
    float32, but with `pure_bf16`.
    """
    name = settings.precision
    if name == "auto":
        import torch

        name = "bf16" if not cpu and torch.cuda.is_bf16_supported() else "fp32"
    low = name == "pure_bf16" or (name == "bf16" and settings.method in ADAPTERS)
    return Precision(name=name, dtype="bfloat16" if low else "float32", bf16=name != "fp32")
