"""torchvision beside a torch that it was not compiled for.

Video processors of transformers need torchvision. The only wheel on the public index is compiled against torch for
CUDA. Beside torch for CPUs its C++ operators cannot be loaded, and its import then fails where it registers fakes for
two of them, which takes `transformers.Trainer` and every processor down with it. What transformers uses of it
(`transforms.v2`) is pure Python, so it is enough that these two operators are known by name.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

MISSING = "operator torchvision::"
"""How torch's error begins that an operator is not known."""
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []
"""Keeps the declaration: torch forgets it with the object."""


def ensure_torchvision() -> None:
    """Import torchvision, if it is installed; to be called before anything is imported from transformers.

    Where it imports as it is, as on every machine with a GPU, nothing else happens. Where it does not know its own
    operators, they are declared and it is imported again; calling one of them still fails, as it should.
    """
    if _imported():
        return
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator)
    _declared.append(library)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    importlib.import_module("torchvision")


def _imported() -> bool:
    """Import torchvision; is all well, or at least not to be helped here?"""
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return True  # whoever needs it says so
    except RuntimeError as error:
        if str(error).startswith(MISSING) and not _declared:
            return False
        raise
    return True
