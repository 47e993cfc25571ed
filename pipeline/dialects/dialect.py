"""What a dialect is: a way in which somebody else's annotations write one training example as one record.

A dialect turns such a record into the canonical one, which has

    messages    list of {role, content}: role is system, user or assistant; in content, `<image>` and `<video>` stand
                for the media, in the order in which these are listed
    images      list of what the record says of each image: a path, a URL, bytes, or {bytes, path}
    videos      likewise

and every other column of the record as it is, under its own name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
"""Part of what converted rows are known by: raised when a dialect reads anything else than before."""
IMAGE, VIDEO = "<image>", "<video>"
"""Placeholders in the content of canonical messages."""
ROLES = ("system", "user", "assistant")
CANONICAL = ("messages", "images", "videos")
"""The columns that every dialect gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """How well some records fit a dialect."""

    score: float
    """0: they are none; 1: every record fits, and has what only this dialect has."""
    doubts: tuple[str, ...] = ()
    """What does not fit or could mean something else, one sentence each, for people."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A way to write training examples."""

    name: str
    """As recipes and the command line say it, e.g. `llava`."""
    title: str
    """As people say it, e.g. `LLaVA JSON`."""
    source: str
    """Where the format is described: a project and its document."""
    read: Callable[[dict[str, Any]], dict[str, Any]]
    """A record to a canonical record; raises RowRejected with `dialect.*` codes."""
    likeness: Callable[[list[dict[str, Any]]], Likeness]
    """How well the first records of a file fit."""
    takes: tuple[str, ...] = field(default=())
    """The columns of a record that `read` takes for itself; all others stay."""
