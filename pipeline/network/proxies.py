"""Proxies of the environment, as everybody's HTTP clients read them."""

from __future__ import annotations

import urllib.request
from functools import lru_cache
from urllib.parse import urlsplit


@lru_cache(maxsize=10_000)
def proxy_for(scheme: str, host: str) -> str | None:
    """Return the proxy that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say for a host; None: none."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy and not urllib.request.proxy_bypass(host) else None


def proxy_hosts() -> set[str]:
    """Return the hosts of all proxies: the user's choice and not a stranger's, they may be on private ground."""
    hosts = (urlsplit(proxy).hostname for proxy in urllib.request.getproxies().values())
    return {host for host in hosts if host}
