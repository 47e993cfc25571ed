"""Secrets and addresses in texts: what they look like, which of them are only examples, and how they may be shown."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from itertools import islice, pairwise

from pipeline.single_value import shown

LOOKED_AT = 20
"""Examples of secrets that are passed over in one text, in search of a real one."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of secret."""

    what: str
    pattern: str
    """For Arrow's regular expressions and for Python's. Every repetition is bounded."""


_KINDS = (
    _Kind("private_key", r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    _Kind("a Hugging Face token", r"\bhf_[A-Za-z0-9]{34,64}\b"),
    _Kind("an API key", r"\bsk-[A-Za-z0-9_-]{32,200}"),
    _Kind("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255})\b"),
    _Kind("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,64}"),
    _Kind("an access key of AWS", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    _Kind("an API key of Google", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    _Kind("a Slack token", r"\bxox[abeprs]-[A-Za-z0-9-]{10,250}"),
    _Kind("web_token", r"\beyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10,1000}\.[A-Za-z0-9_-]{20,1000}"),
    _Kind("login", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>]{1,64}:[^\s/@'\"<>]{3,128}@[A-Za-z0-9.-]{3,255}"),
    _Kind(
        "password",
        r"\bhttps?://[^\s'\"<>?]{3,500}\?(?:[^\s'\"<>?]{0,500}&)?"
        r"(?:password|passwd|pwd|api_?key|access_token|auth_token|client_secret)=[^&\s'\"<>#]{8,256}",
    ),
)
SECRET_SIEVE = "|".join(
    [
        "-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
        *(rf"\b{start}" for start in ("hf_[A-Za-z0-9]{30}", "sk-[A-Za-z0-9_-]{30}", "gh[pousr]_[A-Za-z0-9]{30}")),
        *(rf"\b{start}" for start in ("github_pat_", "glpat-", "A[KS]IA[A-Z0-9]{16}", "AIza[A-Za-z0-9_-]{30}")),
        *(rf"\b{start}" for start in ("xox[abeprs]-[A-Za-z0-9]", r"eyJ[A-Za-z0-9_-]+\.eyJ")),
        r"://[^\s/:@]+:[^\s/@]+@",
        r"https?://[^\s?]+\?[^\s?]*(?:password|passwd|pwd|api_?key|_token|_secret)=",
    ]
)
"""What every text with a secret holds, for Arrow."""
MAIL_SIEVE = r"[A-Za-z0-9._%+-]@[A-Za-z0-9]"
"""What every text with an e-mail address holds, for Arrow."""
_LOCAL = re.compile(r"(?:^|[^A-Za-z0-9._%+/-])([A-Za-z0-9][A-Za-z0-9._%+-]{0,63})\Z")
_HOST = re.compile(r"((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])")
_NO_HOSTS = re.compile(
    r"(?:^|\.)(?:(?:my|your|some)?(?:server|host|site|website|domain|app|company|email|db|database)\.(?:com|org|net|io)"
    r"|(?:example|sample|test|acme|abc|xyz|foo|bar|provider|organization|institution|university)\.(?:com|org|net|edu|io)"
    r"|example|test|invalid|localhost|local|lan|internal"
    r"|png|jpe?g|gif|webp|svg|bmp|tiff?|mp4|webm|pdf|py|pyc|js|ts|tsx|css|html?|json|ya?ml|xml|txt|md|so|dll|exe)$",
    re.IGNORECASE,
)
"""Hosts of examples, and endings of files: `photo@2x.png`."""
_NOBODY = re.compile(
    r"(?:git|user|username|your|you|your[._-]?(?:name|email)|no-?reply|someone|somebody|name)$", re.IGNORECASE
)
_EXAMPLES = re.compile(
    r"example|placeholder|dummy|your|change|redacted|x{5}|\*{3}|\.{3}|…|0{6}|12345|[<>{}$\[\]]|%[A-Za-z_]+%",
    re.IGNORECASE,
)
_NO_PASSWORDS = re.compile(r"(?:my|your|some)?(?:secret|token|key|test|admin|root|user|guest|login)\d*$", re.IGNORECASE)
_ANY_PASSWORD = re.compile("pass(?:w|_|$)|pwd", re.IGNORECASE)
_COMPILED = tuple((kind.what, re.compile(kind.pattern)) for kind in _KINDS)


def find_secret(text: str) -> tuple[str, str] | None:
    """Return what the first secret of a text is, and how it may be shown: its first characters and its length."""
    for what, pattern in _COMPILED:
        for found in islice(pattern.finditer(text), LOOKED_AT):
            if said := _told(what, found, text):
                return said
    return None


def _told(what: str, found: re.Match[str], text: str) -> tuple[str, str] | None:
    """Return what a match is and how it may be shown, or None for an example."""
    secret = found.group()
    match what:
        case "private_key":
            end = text.find("-----END", found.end(), found.end() + 16_000)
            body = text[found.end() : end if end >= 0 else found.end() + 4_000]
            real, what = any(map(_is_random, re.findall(r"[A-Za-z0-9+/]{30,}", body))), "a private key"
            secret = f"{secret}{body}".strip()
        case "web_token":
            real, what = _is_web_token(secret), "a JSON Web Token"
        case "login":
            account, _, host = secret.partition("://")[2].rpartition("@")
            user, _, password = account.partition(":")
            real, what = _is_password(password) and password != user and _is_host(host), "a URL with a password"
        case "password":
            host = secret.partition("://")[2].partition("/")[0]
            name, _, password = secret.rpartition("?")[2].rpartition("&")[2].partition("=")
            real = _is_host(host) and _is_password(password) and (name.startswith("p") or _is_random(password))
            what = "a URL with a password"
        case _:
            real = _is_random(secret.partition("_" if "_" in secret[:5] else "-")[2] or secret)
    return (what, _hidden(secret)) if real else None


def _hidden(secret: str) -> str:
    return f"{shown(secret[:4])[:-1]}…', {len(secret):,} characters"


def masked(text: str) -> str:
    """Return a text that may stand in a message: of what looks like a secret, only the first four characters."""
    for what, pattern in _COMPILED:
        if what == "private_key" and (found := pattern.search(text)):
            text = f"{text[: found.start() + 4]}…"  # since what comes behind is the key itself
        text = pattern.sub(lambda found: f"{found.group()[:4]}…", text)
    return text


def _is_random(text: str) -> bool:
    """Tell whether characters were drawn at random, and not written by somebody as an example."""
    if _EXAMPLES.search(text):
        return False
    kinds = ["digit" if c.isdigit() else "upper" if c.isupper() else "lower" if c.islower() else "" for c in text]
    turns = sum(one != other for one, other in pairwise(kinds) if one and other)
    steps = sum(abs(ord(one) - ord(other)) <= 1 for one, other in pairwise(text.lower()))
    mixed = turns >= (1 if text.isupper() else len(text) // 8 + 1)  # capitals and digits alone are seldom mixed
    return mixed and 2 * steps <= len(text) and len(set(text)) >= min(8, len(text) // 2)


def _is_password(text: str) -> bool:
    examples = _EXAMPLES.search(text) or _NO_PASSWORDS.match(text) or _ANY_PASSWORD.search(text)
    return not examples and len(set(text)) >= 4


def _is_host(name: str) -> bool:
    """Tell whether a host is somebody's, and none of this machine, of its network or of a manual."""
    name = name.strip(".").partition(":")[0]
    return "." in name and not name.startswith(("127.", "0.", "10.", "192.168.")) and not _NO_HOSTS.search(name)


def _is_web_token(text: str) -> bool:
    try:
        head, body, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.split("."))
        header, claims = json.loads(head), json.loads(body)
    except (ValueError, binascii.Error, RecursionError):
        return False
    # the token of jwt.io, which every tutorial has
    return (
        isinstance(header, dict)
        and "alg" in header
        and isinstance(claims, dict)
        and claims.get("sub") != "1234567890"
        and len(signature) > 8
    )


def find_mail(text: str) -> str:
    """Return the first e-mail address of a text that could be somebody's, shortened; or nothing."""
    place = text.find("@")
    for _ in range(LOOKED_AT):
        if place < 0:
            break
        before = text[max(0, place - 200) : place]
        local, host = _LOCAL.search(before[-65:]), _HOST.match(text, place + 1)
        if local and host and not _NO_HOSTS.search(host.group(1)) and not _NOBODY.match(local.group(1)):
            word = before.rpartition(" ")[2]
            if "://" not in word:  # or it is the password of a URL
                return shown(f"{local.group(1)[0]}…@{host.group(1)}")
        place = text.find("@", place + 1)
    return ""
