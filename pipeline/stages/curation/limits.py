"""A limit that a step has for what it measures, and what is said of what breaks it."""

from __future__ import annotations


def broken_limit(rule: str, limit: float, value: float) -> str | None:
    """Say how a value breaks a `min_…` or `max_…` rule; None: it keeps to it."""
    bound, _, fact = rule.partition("_")
    if (bound == "min" and value < limit) or (bound == "max" and value > limit):
        return f"{fact} is {value:g}, {rule} is {limit:g}"
    return None
