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
_MAIL = re.compile(
    r"(?<![A-Za-z0-9._%+/-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])"
)
_NO_HOSTS = re.compile(
    r"(?:^|\.)(?:(?:example|sample|test|domain|yourdomain|mydomain|email|company|yourcompany|mycompany|acme|abc|xyz|foo"
    r"|bar|website|host|server|provider|organization|institution|university)\.(?:com|org|net|edu|io)"
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
_WORDS = {
    "password",
    "passwd",
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "test",
    "admin",
    "root",
    "user",
    "guest",
    "login",
}
_COMPILED = tuple((kind.what, re.compile(kind.pattern)) for kind in _KINDS)


def find_secret(text: str) -> tuple[str, str] | None:
    """Return what the first secret of a text is, and how it may be shown: its first characters and its length."""
    for what, pattern in _COMPILED:
        for found in islice(pattern.finditer(text), LOOKED_AT):
            if said := _told(what, found, text):
                return said
    return None


def _told(what: str, found: re.Match[str], text: str) -> tuple[str, str] | None:
    secret = found.group()
    if what == "private_key":
        end = text.find("-----END", found.end(), found.end() + 16_000)
        body = text[found.end() : end if end >= 0 else found.end() + 4_000]
        lines = re.findall(r"[A-Za-z0-9+/]{30,}", body)
        if not any(map(_is_random, lines)):
            return None
        whole = f"{secret}{body}"
        return "a private key", _hidden(whole.strip())
    if what == "web_token":
        return ("a JSON Web Token", _hidden(secret)) if _is_web_token(secret) else None
    if what == "login":
        account, _, host = secret.partition("://")[2].rpartition("@")
        user, _, password = account.partition(":")
        local = "." not in host.strip(".") or host.startswith(("127.", "0.0.0.0", "192.168.", "10."))  # noqa: S104
        if local or _NO_HOSTS.search(host) or _is_no_password(password) or password == user:
            return None
        return "a URL with a password", _hidden(secret)
    if what == "password":
        name, _, password = secret.rpartition("?")[2].rpartition("&")[2].partition("=")
        if _is_no_password(password) or (name not in ("password", "passwd", "pwd") and not _is_random(password)):
            return None
        return "a URL with a password", _hidden(secret)
    return (
        (what, _hidden(secret))
        if _is_random(secret.partition("_" if "_" in secret[:5] else "-")[2] or secret)
        else None
    )


def _hidden(secret: str) -> str:
    return f"{shown(secret[:4])[:-1]}…', {len(secret):,} characters"


def masked(text: str) -> str:
    """Return a text that may stand in a message: of what looks like a secret, only the first four characters."""
    for _, pattern in _COMPILED:
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


def _is_no_password(text: str) -> bool:
    return bool(_EXAMPLES.search(text)) or re.sub(r"\d+$", "", text).lower() in _WORDS or len(set(text)) < 4


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
    for found in islice(_MAIL.finditer(text), LOOKED_AT):
        local = found.group().rpartition("@")[0]
        word = text[max(0, found.start() - 100) : found.start()].rpartition(" ")[2]
        if "://" in word:
            continue  # the password of a URL
        if not _NO_HOSTS.search(found.group(1)) and not _NOBODY.match(local):
            return shown(f"{local[0]}…@{found.group(1)}")
    return ""
