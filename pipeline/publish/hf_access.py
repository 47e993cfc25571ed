"""Whether a token may write a repository of Hugging Face, from what `whoami-v2` says of it, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.push_words import PushWords

WRITES = frozenset({"repo.write", "repo.content.write"})
PROPOSES = "discussion.write"
"""Allows a pull request, and no more."""
_JUDGED = frozenset({"user", "org", "dataset", "model", "space"})
"""Kinds of what a permission is for whose names we know; any other may hold the repository."""


def check_access(who: Any, words: PushWords, *, exists: bool) -> None:
    """Raise PublishError where the token can be known not to do; what is not said is found out by the push."""
    who = who if isinstance(who, dict) else {}
    owner = words.repo.id.partition("/")[0]
    token = _inside(who, "auth", "accessToken")
    role = token.get("role")
    if role == "read":
        raise words.read_only(role)
    fine = token.get("fineGrained")
    if role == "fineGrained" and isinstance(fine, dict):
        granted = set(_granted(fine, owner, words.repo.id))
        if not granted & (WRITES | {PROPOSES} if exists else WRITES):
            raise words.lacks(["repo.write"], owner)
    elif not exists and who.get("type") == "user" and owner.lower() not in set(_namespaces(who)):
        raise words.no_member(owner, str(who.get("name")))


def _granted(fine: dict[str, Any], owner: str, repo_id: str) -> Iterator[str]:
    """Yield the permissions that reach, or may reach, a repository."""
    yield from (one for one in _listed(fine.get("global")) if isinstance(one, str))
    for scope in map(_inside, _listed(fine.get("scoped"))):
        entity = _inside(scope, "entity")
        name = str(entity.get("name") or "").lower()
        if not name or entity.get("type") not in _JUDGED or name in (owner.lower(), repo_id.lower()):
            yield from (one for one in _listed(scope.get("permissions")) if isinstance(one, str))


def _namespaces(who: dict[str, Any]) -> Iterator[str]:
    """Yield, in lower case, in whose names repositories can be made."""
    yield str(who.get("name")).lower()
    for org in _listed(who.get("orgs")):
        if isinstance(org, dict) and org.get("roleInOrg") != "read":
            yield str(org.get("name")).lower()


def _inside(value: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
