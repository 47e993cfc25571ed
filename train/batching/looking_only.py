"""A model that is only looked at: it neither learns nor drops anything out, and goes on as it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def looking_only(model: Any) -> Iterator[None]:
    """Have a model compute without gradients and without dropout."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
