"""Adapters of peft: put beside a model's layers, and read back from a folder."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def with_adapters(model: Any, config: Any) -> Any:
    """Return the model wrapped by peft, with new adapters that learn.

    Raises:
        TrainError: the adapters fit no layer of the model.
    """
    from peft import get_peft_model

    with _old_names():
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise TrainError(f"the adapters do not fit the model: {escaped(str(error))}") from None


def read_adapters(model: Any, folder: Path, *, learn: bool = False) -> Any:
    """Return the model wrapped by peft, with the adapters of a folder.

    Raises:
        TrainError: the folder holds none, or none of this model.
    """
    from peft import PeftModel

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise TrainError(
                f"{folder} holds no adapters: {name} is not there",
                hint="name the folder that a training with adapters saved",
            )
    with _old_names():
        try:
            return PeftModel.from_pretrained(model, str(folder), is_trainable=learn, local_files_only=True)
        except (ValueError, RuntimeError, KeyError) as error:
            what = f"the adapters in {folder} do not fit the model: {escaped(str(error), keep=chr(10))[:500]}"
            raise TrainError(what, hint="name the model that they were trained on") from None


@contextmanager
def _old_names() -> Iterator[None]:
    """Let peft (0.21) ask a model by a name that transformers (5.23) warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield
