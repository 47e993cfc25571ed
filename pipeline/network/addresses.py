"""Addresses that URLs of strangers may lead to: those of the public internet, and hosts that the recipe names.

A row may say `http://169.254.169.254/` or a name that resolves to it. Both are refused before a packet leaves: literal
addresses and names of this machine by `check_host`, all other names by `GuardedResolver` after they are resolved.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from typing import TYPE_CHECKING

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver

from pipeline.printable import escaped

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")
"""Endings of names that never mean a host of the public internet (RFC 6761, 6762, 8375; ICANN for `internal`)."""

PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by customers of a provider; metadata of some clouds
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # looks public, and is the platform inside every machine at Azure
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
"""What the IANA registry of special IPv4 addresses calls not globally reachable, and one more."""
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 that is given out as global unicast."""
PRIVATE_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "3ffe::/16",  # the 6bone, given back
        "3fff::/20",  # documentation
    )
)
"""What of it the IANA registry of special IPv6 addresses takes out again."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a network that speaks IPv6 alone sees them; its last 32 bits are the address."""

PART = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+", re.ASCII)
OCTAL = re.compile(r"0[0-7]*")
DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
"""What Python's resolver takes for a dot."""


class ForbiddenAddressError(Exception):
    """A host that is, or leads to, an address that is not of the public internet."""

    def __init__(self, host: str, address: str = "") -> None:
        """Name the host, and the address it leads to; a name that is local by its ending has none."""
        super().__init__(host, address)  # both, so that it can cross a process border
        self.host = host
        self.address = address

    def __str__(self) -> str:
        host, address = escaped(self.host[:300]), escaped(self.address[:100])
        if not address:
            what = f"{host} is a name of this machine or its network"
        elif address == host:
            what = f"{host} is a private address"
        else:
            what = f"{host} leads to {address}, which is a private address"
        return f"{what}; recipes allow a host by name with fetch.allow_hosts"


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether an address is one host of the public internet.

    Addresses that carry an IPv4 address (mapped, NAT64, 6to4) are what that one is. Teredo, IPv4-compatible and local
    NAT64 addresses are never public. The lists are ours, since `is_global` differs between releases of Python.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in PRIVATE_V4)
    if address.scope_id is not None:
        return False
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    return address in PUBLIC_V6 and not any(address in network for network in PRIVATE_V6)


def literal_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is, in any spelling that a resolver takes for one, or None for a name.

    IPv6 comes with or without brackets. `127.1`, `0x7f000001`, `2130706433` and `0177.0.0.1` are what `inet_aton` makes
    of them: up to four parts, each decimal, octal or hexadecimal, and the last fills what is left.
    """
    host = _plain(host)
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError:
            return None
    parts = host.split(".")
    if len(parts) > 4:
        return None
    numbers = []
    for part in parts:
        # More digits than an address can have would cost time, unless they are zeros.
        if not PART.fullmatch(part) or len(part.lower().removeprefix("0x").lstrip("0")) > 11:
            return None
        if part[:2] in {"0x", "0X"}:
            numbers.append(int(part, 16))
        elif part[0] != "0":
            numbers.append(int(part))
        elif OCTAL.fullmatch(part):
            numbers.append(int(part, 8))
        else:
            return None
    *front, last = numbers
    if any(number > 255 for number in front) or last >= 256 ** (5 - len(numbers)):
        return None
    for number, shift in zip(front, (24, 16, 8), strict=False):
        last += number << shift
    return ipaddress.IPv4Address(last)


def check_host(host: str, allowed: frozenset[str]) -> None:
    """Raise `ForbiddenAddressError` for a literal address that is not public, and for names of local networks.

    To be called before every request and for every redirect: aiohttp asks no resolver about literal addresses, so
    `GuardedResolver` never sees them. A host in `allowed`, exact but for case, passes whatever it is.
    """
    if _is_allowed(host, allowed):
        return
    address = literal_address(host)
    if address is not None:
        if not is_public(address):
            raise ForbiddenAddressError(host, str(address))
        return
    name = "." + _plain(host)
    if name.endswith(LOCAL_NAMES):
        raise ForbiddenAddressError(host)


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those that lead anywhere but to public addresses.

    aiohttp connects to the very addresses that its resolver returned and does not ask again, so a name cannot mean a
    public host here and a private one when the connection is made. Literal addresses pass by every resolver, therefore
    `check_host` comes first. A proxy resolves names itself, so a session with this resolver must use none.
    """

    def __init__(self, allowed: frozenset[str] = frozenset(), inner: AbstractResolver | None = None) -> None:
        """Let hosts in `allowed` lead anywhere; `inner` does the work, by default the system's resolver in threads."""
        self._allowed = allowed
        self._inner = inner if inner is not None else ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host, or raise `ForbiddenAddressError` if any of them is not public."""
        found = await self._inner.resolve(host, port, family)
        if not _is_allowed(host, self._allowed):
            for result in found:
                address = literal_address(result["host"])
                if address is None or not is_public(address):
                    raise ForbiddenAddressError(host, result["host"])
        return found

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._inner.close()


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    return bool(allowed) and _plain(host) in {_plain(name) for name in allowed}


def _plain(host: str) -> str:
    """Return a host in small letters, without brackets and its last dot, and as Python's resolver would fold it."""
    if not host.isascii():
        host = unicodedata.normalize("NFKC", host).translate(DOTS)
    return host.casefold().removeprefix("[").removesuffix("]").removesuffix(".")
