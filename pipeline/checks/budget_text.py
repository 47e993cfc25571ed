"""The budget of tokens as people read it."""

from __future__ import annotations

from typing import Any

BAR = 40
"""Characters of the longest bar of the histogram."""


def budget_lines(budget: dict[str, Any]) -> list[str]:
    """Return what `budget_of` found, as lines: a row, the histogram, and an epoch of each split."""
    about = f", about {budget['characters_per_text_token']} characters to a token of text"
    lines = [f"tokens for {budget['family']}{about}:"]
    if budget["mean"] is not None:
        largest = budget["largest"]
        most = f"{largest['tokens']:,} at the most ({largest['file']} row {largest['row']})" if largest else ""
        lines.append(f"  a row: {budget['mean']:,.0f} on average, {most}")
    if budget["allowed"] is not None:
        lines.append(f"  {budget['over']:,} of {budget['rows']:,} rows cost more than {budget['allowed']:,}")
    for key, what in (("refused", "hold media that its processor refuses"), ("unmeasured", "could not be measured")):
        if budget[key]:
            lines.append(f"  {budget[key]:,} rows {what}")
    longest = max((bucket["rows"] for bucket in budget["histogram"]), default=1)
    for bucket in budget["histogram"]:
        bar = "#" * max(1, round(BAR * bucket["rows"] / longest))
        lines.append(f"  {bucket['from']:>11,} to {bucket['to']:>11,} tokens: {bucket['rows']:>9,} rows {bar}")
    for place, split in budget["splits"].items():
        about = "about " if split["estimated"] else ""
        parts = f"{split['vision_tokens']:,} of vision, {split['text_tokens']:,} of text"
        lines.append(f"  {place}: {about}{split['tokens']:,} tokens an epoch of {split['rows']:,} rows ({parts})")
    return lines
