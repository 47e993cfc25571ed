"""Showing text of strangers: names, values and messages that must not write on a terminal or break a line."""

from __future__ import annotations


def escaped(text: str, *, keep: str = "") -> str:
    """Write every character that cannot be seen as its escape: controls, marks of direction, halves of characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def on_one_line(text: str) -> str:
    """Write a text so that any of its characters can be stored as UTF-8 and shown on one line, and none is lost."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r").replace("\n", "\\n")
