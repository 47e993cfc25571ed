"""Where a dataset or a model is published: a repository of a hub at a branch, or a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UsageError
from pipeline.sources.hub_listing import BRANCHES, REPO_ID, shown

Hub = Literal["huggingface", "modelscope", "folder"]
Kind = Literal["dataset", "model"]

_BRANCH = re.compile(r"(?![-./])(?!.*(?:\.\.|//|@\{|\.lock$|[/.]$))[^\s~^:?*\[\\\x00-\x1f\x7f]{1,200}")
"""What git allows as the name of a branch or a tag, and no leading dash."""
_ALLOWED = "huggingface:owner/name, modelscope:owner/name, each with @branch where wanted, or folder:/some/where"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to publish to."""

    hub: Hub
    place: str
    """`owner/name`, or the path of a folder."""
    branch: str = ""
    """The branch that is written; empty for a folder."""

    def __str__(self) -> str:
        usual = BRANCHES.get(self.hub, "")
        at = f"@{self.branch}" if self.branch != usual else ""
        return f"{self.hub}:{self.place}{at}"


def parse_target(text: str) -> Target:
    """Read `huggingface:owner/name[@branch]`, `modelscope:…` or `folder:PATH`.

    Raises:
        UsageError: it is none of these.
    """
    hub, colon, place = text.partition(":")
    if hub == "folder" and place.strip():
        return Target(hub="folder", place=place)
    if hub in ("huggingface", "modelscope") and colon:
        name, at, branch = place.partition("@")
        if not REPO_ID.fullmatch(name) or {".", ".."} & set(name.split("/")):
            raise UsageError(f"{shown(name)} is not the name of a repository", allowed="owner/name")
        if at:
            checked_ref(branch, "branch")
        known: Hub = "huggingface" if hub == "huggingface" else "modelscope"
        return Target(hub=known, place=name, branch=branch or BRANCHES[hub])
    raise UsageError(f"{shown(text)} is no place to publish to", allowed=_ALLOWED)


def checked_ref(name: str, what: str) -> str:
    """Return the name of a branch or a tag, or raise UsageError when git would not take it."""
    if not _BRANCH.fullmatch(name):
        raise UsageError(f"{shown(name)} is not the name of a {what}", allowed=f"a {what} such as v1.2.0")
    return name
