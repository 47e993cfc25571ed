"""The hash of a tensor: the same for the same numbers, wherever they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def tensor_hash(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's type, shape and bytes."""
    own = tensor.detach().cpu().contiguous()
    hashed = hashlib.sha256(f"{own.dtype} {list(own.shape)} ".encode())
    hashed.update(own.reshape(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()
