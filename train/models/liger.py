"""Liger's kernels: the same model with less memory and in less time, on a GPU."""

from __future__ import annotations

from typing import Any

from train.example import TrainError

CLOSE = 2e-2
"""How far the loss may lie from that without the kernels, as a share of it: they round otherwise in half precision."""


def apply_liger(model: Any, batch: dict[str, Any]) -> float:
    """Put Liger's kernels into a model, in place, and prove that it still computes the same.

    To be called before adapters are put beside it.

    Args:
        model: On a GPU.
        batch: Of real rows with labels, on the model's device.

    Returns:
        How far the loss of the batch moved.

    Raises:
        TrainError: they are not installed, there is no GPU, they do not know the model, or the loss is another one.
    """
    import torch

    if model.device.type != "cuda":
        raise TrainError(
            f"Liger's kernels run on a GPU, and the model is on the device {model.device.type!r}",
            hint="train without them",
        )
    try:
        from liger_kernel import transformers as kernels
    except ImportError:
        raise TrainError("Liger's kernels are not installed", hint="pip install liger-kernel") from None
    kind = model.config.model_type
    apply = getattr(kernels, f"apply_liger_kernel_to_{kind}", None)
    if apply is None:
        raise TrainError(f"Liger has no kernels for models of type {kind!r}", hint="train without them")
    with torch.no_grad():
        before = float(model(**batch).loss)
        apply(model=model)
        after = float(model(**batch).loss)
    if not abs(after - before) <= CLOSE * abs(before):
        raise TrainError(
            f"with Liger's kernels the model computes something else: a loss of {after:.5g} instead of {before:.5g}",
            hint="train without them, or install a version of liger-kernel for this version of transformers",
        )
    return after - before
