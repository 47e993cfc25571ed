"""The arguments of a model, brought to its device."""

from __future__ import annotations

from typing import Any


def moved(value: Any, device: Any) -> Any:
    """Return tensors on a device, those in dicts too, as features come; what is no tensor stays as it is."""
    if isinstance(value, dict):
        return {name: moved(own, device) for name, own in value.items()}
    return value.to(device) if hasattr(value, "to") else value
