"""URLs that point into a dataset repository of a hub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pipeline.errors import SourceError
from pipeline.sources.hub_huggingface import endpoint as huggingface_endpoint
from pipeline.sources.hub_listing import HubRepo
from pipeline.sources.hub_modelscope import endpoint as modelscope_endpoint
from pipeline.sources.members import RefusedError, member_parts

if TYPE_CHECKING:
    from pipeline.sources.hub_listing import HubName

FILE_ROUTES = frozenset({"resolve", "blob", "raw"})
SLASHED_REVISION = re.compile(r"(refs/(?:convert/[\w.-]+|pr/\d+))/(.+)", re.DOTALL)
"""Revisions of Hugging Face that hold slashes, which URLs give as they stand or percent-encoded."""
PORTS = {"http": 80, "https": 443}
PUBLIC: dict[HubName, tuple[str, ...]] = {
    "huggingface": ("https://huggingface.co", "https://hf.co"),
    "modelscope": ("https://modelscope.cn",),
}
"""Where URLs that people copy lead to; they mean the hub, wherever the endpoint of its client is."""


def parse_hub_url(url: str) -> tuple[HubRepo, str] | None:
    """Return the repository and the path that a URL of a hub points to; None for every other URL.

    A hub is at its public address and at the current endpoint: with HF_ENDPOINT set, a mirror is asked for what the
    annotations name by `https://huggingface.co/…`.
    """
    if "/datasets/" not in url:  # most media; the clients need not be loaded to know
        return None
    try:
        given = urlsplit(url.strip())
        inside = _inside(given, huggingface_endpoint(), *PUBLIC["huggingface"])
        if inside is not None:
            return _from_path("huggingface", inside)
        inside = _inside(given, modelscope_endpoint(), *PUBLIC["modelscope"])
        if inside is not None:
            return _from_path("modelscope", inside) or _from_query(inside, given.query)
    except (ValueError, SourceError, RefusedError):  # a bad port, a percent sign too many, a path that climbs
        pass
    return None


def _inside(given: SplitResult, *endpoints: str) -> str | None:
    """Return the path below the first of the endpoints that a URL is of, or None."""
    found = (_below(given, endpoint) for endpoint in endpoints)
    return next((inside for inside in found if inside is not None), None)


def _below(given: SplitResult, endpoint: str) -> str | None:
    """Return the path below an endpoint, still percent-encoded, or None for another host."""
    base = urlsplit(endpoint)
    if given.username or given.password or not _is_host_of(given, base):
        return None
    prefix = base.path.rstrip("/") + "/"
    return given.path.removeprefix(prefix) if given.path.startswith(prefix) else None


def _is_host_of(given: SplitResult, base: SplitResult) -> bool:
    scheme = given.scheme.lower()
    names = (given.hostname or "", base.hostname or "")
    same_name = len({name.removeprefix("www.") for name in names}) == 1 and all(names)
    same_port = (given.port or PORTS.get(scheme)) == (base.port or PORTS.get(base.scheme))
    return scheme == base.scheme and same_name and same_port


def _from_path(hub: HubName, inside: str) -> tuple[HubRepo, str] | None:
    """Read `datasets/<owner>/<name>/<route>/<revision>/<path>`."""
    parts = inside.split("/", 5)
    if len(parts) < 6 or parts[0] != "datasets" or parts[3] not in FILE_ROUTES:
        return None
    revision, path = _decoded(parts[4]), _decoded(parts[5])
    slashed = SLASHED_REVISION.fullmatch(f"{revision}/{path}") if revision == "refs" else None
    if slashed:
        revision, path = slashed.groups()
    return _checked(hub, f"{_decoded(parts[1])}/{_decoded(parts[2])}", revision, path)


def _from_query(inside: str, query: str) -> tuple[HubRepo, str] | None:
    """Read `api/v1/datasets/<owner>/<name>/repo?Revision=<revision>&FilePath=<path>`."""
    parts = inside.split("/")
    if len(parts) != 6 or parts[:3] != ["api", "v1", "datasets"] or parts[5] != "repo":
        return None
    values = parse_qs(query, keep_blank_values=True, errors="strict")
    paths, revisions = values.get("FilePath", []), values.get("Revision", [""])
    if len(paths) != 1 or len(revisions) != 1:
        return None
    return _checked("modelscope", f"{_decoded(parts[3])}/{_decoded(parts[4])}", revisions[0] or None, paths[0])


def _checked(hub: HubName, name: str, revision: str | None, path: str) -> tuple[HubRepo, str] | None:
    if "/".join(member_parts(path)) != path:
        return None
    return HubRepo(hub=hub, id=name, revision=revision), path


def _decoded(text: str) -> str:
    return unquote(text, errors="strict")
