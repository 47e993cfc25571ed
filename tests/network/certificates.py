"""Certificates for `BadServer`, from an authority of the test's own: good, expired, of another name, of a stranger."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import trustme

if TYPE_CHECKING:
    from pathlib import Path

HERE = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files; those of a server hold key and chain."""

    authority: Path
    """The one authority that a client should trust."""
    server: Path
    """What the server shows."""
    expired: Path
    """Of the authority, for this machine, and a year too old."""
    other_name: Path
    """Of the authority, for another machine."""
    other_authority: Path
    """For this machine, of an authority that nobody trusts."""

    def showing(self, which: Literal["expired", "other_name", "other_authority"]) -> TlsFiles:
        """Return the same with a bad certificate as the one that the server shows."""
        return replace(self, server=getattr(self, which))

    def server_context(self) -> ssl.SSLContext:
        """Return what a server needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return what a client needs to trust the authority, and it alone."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_tls(folder: Path) -> TlsFiles:
    """Make an authority and its certificates."""
    authority, stranger = trustme.CA(), trustme.CA()
    now = datetime.now(UTC)
    then, ended = now - timedelta(days=730), now - timedelta(days=365)
    files = TlsFiles(*(folder / f"{name}.pem" for name in TlsFiles.__dataclass_fields__))
    authority.cert_pem.write_to_path(files.authority)
    for path, certificate in (
        (files.server, authority.issue_cert(*HERE)),
        (files.expired, authority.issue_cert(*HERE, not_before=then, not_after=ended)),
        (files.other_name, authority.issue_cert("elsewhere.example")),
        (files.other_authority, stranger.issue_cert(*HERE)),
    ):
        certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return files
