"""A file of a repository of Hugging Face as readers get it: piece by piece, and on from where a connection broke."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from pipeline.publish.hf_client import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.hf_client import HfClient

PIECE = 8_000_000
"""Bytes that are asked for at a time."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def read_pieces(client: HfClient, path: str, revision: str) -> Iterator[bytes]:
    """Yield the content of a file at a branch, tag, commit or pull request.

    Raises:
        PublishError: it cannot be read.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(client.id, path, repo_type=client.kind, revision=revision, endpoint=client.api.endpoint)
    place, is_over = 0, False
    while not is_over:
        with quiet():
            piece, is_over = client.tried(partial(_piece, client, url, place))
        place += len(piece)
        if piece:
            yield piece


def _piece(client: HfClient, url: str, at: int, _: int) -> tuple[bytes, bool]:
    """Return a piece of a file from a place on, and whether it is the last."""
    from huggingface_hub.utils import get_session, hf_raise_for_status  # type: ignore[attr-defined]

    asked = {"Range": f"bytes={at}-{at + PIECE - 1}", "Accept-Encoding": "identity"}
    # another host, to which it may be sent on, is not given the token by the client
    with get_session().stream("GET", url, headers={**client.headers, **asked}) as response:
        if response.status_code == 416:
            return b"", True
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if match is None or int(match[1]) != at:
                raise ValueError("another part of a file came than was asked for")
            piece = response.read()
            return piece, at + len(piece) >= int(match[3])
        # a server that gives no parts sends all of it; what was read before is left out
        data, passed = bytearray(), 0
        for chunk in response.iter_bytes():
            data += chunk[max(0, at - passed) :]
            passed += len(chunk)
            if len(data) >= PIECE:
                return bytes(data), False
        return bytes(data), True
