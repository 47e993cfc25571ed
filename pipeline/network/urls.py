"""URLs that strangers wrote into annotations: what is asked for, what is remembered, and what may be shown.

A URL is one text for three readers. A server gets it with its signature, the ledger knows it without, and a log or card
shows it with every secret as `…`. What `WebUrl.request` says is what an HTTP library must ask for byte for byte (in
yarl: `URL(request, encoded=True)`), since some signatures cover the text and not its meaning.

Which query parameters sign a URL, or say how long it lives, is taken from the documents of the vendors:

- Amazon S3: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, and for the older form
  docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
- Amazon CloudFront, which serves Hugging Face too:
  docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html
- Google Cloud Storage: cloud.google.com/storage/docs/authentication/signatures, and for the older form
  cloud.google.com/storage/docs/access-control/signed-urls-v2
- Azure Storage: learn.microsoft.com/rest/api/storageservices/create-service-sas, create-account-sas and
  create-user-delegation-sas beside it
- Alibaba Cloud OSS: www.alibabacloud.com/help/en/oss/developer-reference/ddd-signatures-to-urls; its CDN, which serves
  ModelScope, signs with `auth_key`
- Tencent Cloud COS: www.tencentcloud.com/document/product/436/7778
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn
from urllib.parse import unquote, unquote_plus

from pipeline.errors import RowRejected

MAX_URL_BYTES = 8192
"""Longer ones are refused by most servers."""
MAX_HOST = 253
"""Characters of a DNS name without its last dot."""
MAX_LABEL = 63
"""Characters between two dots of a DNS name."""
MAX_NAME_BYTES = 255
"""NAME_MAX of Linux and macOS."""
MAX_ENDING_BYTES = 16
"""A longer ending of a file name is no ending."""
MAX_SHOWN = 200
"""Characters of a URL in a message."""

HIDDEN = "…"
"""What stands where a secret was."""
DEFAULT_PORTS = {"http": 80, "https": 443}

# The names below are in small letters and without marks: `accesstoken` is `access_token` and `accessToken`.
PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-obs-", "x-tos-", "x-xet-", "q-sign-")
"""How the names of signing parameters begin; one that ends in `-process` asks for other bytes and is none."""
SIGNING = re.compile(
    r"""awsaccesskeyid | googleaccessid | ossaccesskeyid | accesskeyid | expires? | expiry | expiration | xexpires
    | policy | keypairid | xcossecuritytoken | qak | qkeytime | qheaderlist | qurlparamlist | qsignature
    | hdnts | hdnea | gda | rlkey""",
    re.VERBOSE,
)
"""Signing parameters and times of expiry; `hd…` and `gda` are Akamai's, `rlkey` is Dropbox's."""
GENERIC = re.compile(
    r"""auth | authorization | bearer | sig | sign | session | tempauth | .*(?:token | secret | password | passwd
    | passphrase | pwd | signature | credentials? | jwt | sessionid | phpsessid
    | (?:api | access | auth | secret | private | signing | account | subscription)key)""",
    re.VERBOSE,
)
"""Names that are secrets anywhere."""
AMBIGUOUS = {"key", "token", "session", "auth", "sign"}
"""Secrets, and names of ordinary parameters as well: what they are set to is hidden, but tells media apart."""
AZURE = re.compile(r"sv|ss|srt|st|se|sr|sp|si|sip|spr|sdd|skoid|sktid|skt|ske|sks|skv|saoid|suoid|scid")
"""Names of Azure, which mean anything where no `sig` is."""
COMPANIONS = {"t": "sign", "ex": "hm", "is": "hm", "hm": "ex"}
"""Short names that sign only beside another one: those of Tencent's CDN, and of Discord's."""

URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
# Without ASCII, IGNORECASE would take the long s (U+017F) for an s.
WEB = re.compile(r"https?://", re.IGNORECASE | re.ASCII)
BLANK = re.compile(r"[\x00-\x1f\x7f-\x9f]|\s")
SURROGATE = re.compile(r"[\ud800-\udfff]")
PORT = re.compile(r"0*([0-9]{1,5})")
DOMAIN = re.compile(r"(?!-)[a-z0-9_-]+(?<!-)(?:\.(?!-)[a-z0-9_-]+(?<!-))*")
NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")

NOT_IN_PATH = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]+")
NOT_IN_QUERY = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]+")
ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

# A URL inside a URL has its marks escaped, as often as it is nested.
DELIMITER = re.compile(r"([&?#;]|%(?:25)*(?:26|3F|23|3B))", re.IGNORECASE)
ASSIGNMENT = re.compile(r"=|%(?:25)*3D", re.IGNORECASE)
NAME_TAIL = re.compile(r"[\w.\[\]~ +-]*\Z")
NO_LETTER = re.compile(r"[\W_]+")
FILE_NAME = re.compile(
    r".+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif|jxl|mp4|m4v|webm|mov|mkv|avi|mpe?g|mp3|wav|flac|ogg|pdf|zip|tar)",
    re.IGNORECASE,
)

USER = re.compile(r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}:[\\/]{2,})([^/?#\\]*)@", re.IGNORECASE)
# A colon before the path with no port behind it: what follows is a password with a slash or a question mark in it.
BROKEN_USER = re.compile(
    r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}:[\\/]*)[^/?#\\@:\[\]]*:(?![0-9]*(?:[/?#\\]|\Z)).*@",
    re.IGNORECASE | re.DOTALL,
)
PLAIN_USER = re.compile(r"(?<![^\s/?#@:&='\"(,])[^\s/?#@:&='\"(,]+:[^\s/?#@]+@(?=[\w\[])")
CHUNK = re.compile(r"[^\s\"<>]+")
QUOTED = re.compile(r"(\b[\w.-]{1,60}[\"']?\s{0,5}[:=]\s{0,5}b?)(?:\"([^\"]*)\"|'([^']*)')")
HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]{0,40}(?:key|token))([\"']?\s{0,5}:\s{0,5}(?:b?[\"'])?)[^\"'\r\n]+",
    re.IGNORECASE,
)
BEARER = re.compile(r"\b(bearer\s+)[^\s\"'<>]+|\b(basic\s+)(?=[^\s\"'<>]*[0-9=+/])[A-Za-z0-9+/=]{6,}", re.IGNORECASE)
TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|ms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{20,}|gh[a-z]_[A-Za-z0-9]{30,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{20,}|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{35}|sk-[\w-]{20,}|xox[a-z]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{4,}\.[\w-]*)"
)


@dataclass(frozen=True, slots=True)
class WebUrl:
    """One URL of a stranger, as it is asked for, as it is known, and as it may be shown."""

    request: str
    """The text to ask for, in ASCII and without the fragment; may hold secrets, so it is never written down."""
    key: str
    """What the ledger knows it by: a hash of everything but signatures, times of expiry, and ways of writing."""
    shown: str
    """The text for ledgers, logs, rejects and cards: every secret value is `…`."""
    scheme: str
    """`http` or `https`."""
    host: str
    """The host in ASCII and small letters; an IPv6 address without its brackets."""
    port: int
    """The port, also where the URL names none."""
    name: str
    """The last part of the path as a safe file name; empty where the path ends in a slash."""

    def __repr__(self) -> str:
        """Show no secret where an object is printed by accident."""
        return f"WebUrl({self.shown!r})"


def looks_like_url(value: str) -> bool:
    """Say whether a value of a row asks for something on the web, and is not a path."""
    return WEB.match(value) is not None


@lru_cache(maxsize=16_384)  # the rows of a batch and more: one value is looked at again and again
def parse_url(value: str) -> WebUrl:
    """Take a URL apart, or raise `RowRejected` with the code `media.url`.

    Two URLs that differ in signatures, times of expiry, fragment, case of scheme and host, default port, dot segments
    or escapes of plain letters have one key. Everything else counts, order of parameters included.
    """
    _check_text(value)
    match = URL.fullmatch(value)
    assert match is not None
    scheme, authority, raw_path, raw_query = match[1].lower(), match[2], match[3], match[4] or ""
    host, port = _host_and_port(authority, scheme, value)
    path = _without_dots(_escaped(raw_path, NOT_IN_PATH) or "/")
    query = _escaped(raw_query, NOT_IN_QUERY)
    literal = f"[{host}]" if ":" in host else host
    base = f"{scheme}://{literal}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{literal}:{port}"
    plain_path = _canonical(path)
    shown = known = base + plain_path
    shown_path = _hide_in_path(plain_path)
    if shown_path != plain_path:
        shown = base + shown_path
    if query:
        hidden = TOKEN.sub(HIDDEN, _hide_pairs(_canonical(query)))
        counted = _counted(hidden)
        shown = f"{shown}?{hidden}"
        known = "?".join(filter(None, [known, counted, *_ambiguous(_canonical(query))]))
    return WebUrl(
        request=f"{base}{path}?{query}" if query else base + path,
        key=hashlib.sha256(known.encode()).hexdigest(),
        shown=shown,
        scheme=scheme,
        host=host,
        port=port,
        name=_file_name(path),
    )


def hide_secrets(text: str) -> str:
    """Hide the secrets in a text that may quote URLs, headers or tokens, such as the message of an HTTP library.

    Rather hides too much than too little: what stands behind `token=` is hidden up to the next space or `&`.
    """
    text = HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = QUOTED.sub(_hide_quoted, text)
    text = BEARER.sub(lambda match: f"{match[1] or match[2]}{HIDDEN}", text)
    text = CHUNK.sub(_hide_in_chunk, text)
    return TOKEN.sub(HIDDEN, text)


def _check_text(value: str) -> None:
    """Refuse what is no text of a URL at all."""
    if not value.isascii() and SURROGATE.search(value):
        _refuse(value, "is not valid Unicode")
    if not looks_like_url(value):
        _refuse(value, "does not begin with http:// or https://, and nothing else is fetched")
    if len(value) > MAX_URL_BYTES or (not value.isascii() and len(value.encode()) > MAX_URL_BYTES):
        _refuse(value, f"is longer than {MAX_URL_BYTES} bytes")
    if BLANK.search(value):
        _refuse(value, "holds white space or a control character; write a space as %20")
    if "\\" in value:
        _refuse(value, "holds a backslash, which programs read in different ways")


def _host_and_port(authority: str, scheme: str, value: str) -> tuple[str, int]:
    if "@" in authority:
        _refuse(value, "holds a user name or password; secrets do not belong into URLs")
    if authority.startswith("["):
        address, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            _refuse(value, "has an IPv6 address without end")
        host, port = _ipv6(address, value), rest[1:]
    else:
        name, _, port = authority.partition(":")
        host = _domain(name, value)
    if not port:
        return host, DEFAULT_PORTS[scheme]
    number = PORT.fullmatch(port)
    if number is None or not 1 <= int(number[1]) <= 65535:
        _refuse(value, "has a port that is no number from 1 to 65535")
    return host, int(number[1])


def _ipv6(text: str, value: str) -> str:
    if "%" in text:
        _refuse(value, "has an address with a scope, which means another host on each machine")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        _refuse(value, "has a host in brackets that is no IPv6 address")
    if address.ipv4_mapped is None:
        return address.compressed
    # Releases of Python write these in two ways, and the key must not depend on the release.
    number = int(address.ipv4_mapped)
    return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"


def _domain(name: str, value: str) -> str:
    """Return a host name in ASCII, small letters and without its last dot."""
    host = name
    if not host.isascii():
        host = _idna(host, value)
    host = host.lower().removesuffix(".")
    if not host:
        _refuse(value, "has no host")
    if len(host) > MAX_HOST:
        _refuse(value, f"has a host of more than {MAX_HOST} characters")
    if NUMERIC_END.fullmatch(host):
        if not QUAD.fullmatch(host):
            _refuse(value, "has a number for a host, which programs read as different addresses")
        return host
    if not DOMAIN.fullmatch(host):
        _refuse(value, "has a host that is no DNS name")
    if max(map(len, host.split("."))) > MAX_LABEL:
        _refuse(value, f"has a host with a part of more than {MAX_LABEL} characters")
    return host


def _idna(host: str, value: str) -> str:
    """Return a name of other letters as DNS knows it, by the rules that browsers use (UTS 46, non-transitional)."""
    import idna

    # Longer ones cost time and can be no names; what cannot be seen would vanish from the name.
    if len(host) > MAX_HOST + 1 or not host.isprintable():
        _refuse(value, "has a host that is no DNS name")
    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:  # idna's own error is one
        _refuse(value, "has a host that is no international DNS name")


def _escaped(text: str, unwanted: re.Pattern[str]) -> str:
    """Escape what a part of a URL must not hold; what is escaped already stays as it is."""
    if unwanted.search(text) is None:
        return text
    return unwanted.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)


def _without_dots(path: str) -> str:
    """Resolve `.` and `..` as every browser does, escaped ones included."""
    if DOTS.search(path) is None:
        return path
    kept: list[str] = []
    plain = ""
    for part in path.split("/")[1:]:
        plain = part.replace("%2e", ".").replace("%2E", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(part)
    if plain in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _canonical(text: str) -> str:
    """Write escapes in one way: plain letters as themselves, the rest with large digits (RFC 3986, 6.2.2)."""
    return ESCAPE.sub(_one_escape, text) if "%" in text else text


def _one_escape(match: re.Match[str]) -> str:
    character = chr(int(match[0][1:], 16))
    return character if character in UNRESERVED else match[0].upper()


def _counted(query: str) -> str:
    """Return what of a query, its secrets hidden already, tells one medium from another."""
    parts = query.split("&")
    present = _names_in(query)
    return "&".join(part for part in parts if part and not _is_secret_part(part, present))


def _ambiguous(query: str) -> list[str]:
    """Return the pairs whose names mean a secret here and a number there (`?key=17`): they tell media apart.

    Nothing but a hash of them is written down. Where something else signs the URL they are secrets.
    """
    parts = []
    for part in query.split("&"):
        match = ASSIGNMENT.search(part)
        name = _name_before(part[: match.start()]) if match else ""
        letters = NO_LETTER.sub("", name)
        if name.startswith(PREFIXES) or SIGNING.fullmatch(letters):
            return []
        if letters in AMBIGUOUS:
            parts.append(part)
    return parts


def _is_secret_part(part: str, present: frozenset[str]) -> bool:
    match = ASSIGNMENT.search(part)
    return match is not None and _is_secret(_name_before(part[: match.start()]), part[match.end() :], present)


def _names_in(text: str) -> frozenset[str]:
    """Return the names of all pairs in a text, in small letters and without marks."""
    pieces = DELIMITER.split(text)[::2]
    return frozenset(
        NO_LETTER.sub("", _name_before(piece[: match.start()]))
        for piece in pieces
        for match in ASSIGNMENT.finditer(piece)
    )


def _name_before(text: str) -> str:
    """Return the name that ends where a text ends, its escapes resolved, in small letters."""
    return _name(text[-200:])


@lru_cache(maxsize=10_000)
def _name(text: str) -> str:
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote_plus(text)
    match = NAME_TAIL.search(text)
    return match[0].strip().lower() if match else ""


def _is_secret(name: str, value: str, present: frozenset[str]) -> bool:
    kind = _kind(name)
    if kind == "key":
        # The one name that means an object as often as a secret: `?key=train/1.jpg`.
        return not FILE_NAME.fullmatch(unquote(value))
    return kind == "secret" or (bool(kind) and kind in present)


@lru_cache(maxsize=10_000)
def _kind(name: str) -> str:
    """Say what a name is: `secret`, `key`, nothing, or the name beside which it is a secret."""
    if name.startswith(PREFIXES):
        return "" if name.endswith("-process") else "secret"
    letters = NO_LETTER.sub("", name)
    if letters == "key":
        return "key"
    if SIGNING.fullmatch(letters) or GENERIC.fullmatch(letters):
        return "secret"
    if AZURE.fullmatch(letters):
        return "sig"
    return COMPANIONS.get(letters, "")


def _hide_pairs(text: str) -> str:
    """Hide the values of secrets in `name=value` pairs, also of a URL that stands escaped inside a value.

    A value ends at the next `&` that is not escaped more often than its own `=`, or at a `;` before the next pair.
    """
    if ASSIGNMENT.search(text) is None:
        return text
    present = _names_in(text)
    pieces = DELIMITER.split(text)
    out: list[str] = []
    depth = -1
    for index in range(0, len(pieces), 2):
        piece = pieces[index]
        mark = pieces[index - 1] if index else ""
        if depth >= 0:
            ends = mark[-2:].upper() in {"&", "26"} or (mark[-2:].upper() in {";", "3B"} and _begins_pair(piece))
            if not ends or len(mark) // 2 > depth:
                continue
            depth = -1
        out.append(mark)
        start = 0
        for match in ASSIGNMENT.finditer(piece):
            if _is_secret(_name_before(piece[start : match.start()]), piece[match.end() :], present):
                out.append(piece[: match.end()] + HIDDEN)
                depth = len(match[0]) // 2
                break
            start = match.end()
        else:
            out.append(piece)
    return "".join(out)


def _begins_pair(piece: str) -> bool:
    match = ASSIGNMENT.search(piece)
    return match is not None and match.start() > 0 and bool(_name_before(piece[: match.start()]))


def _hide_in_path(path: str) -> str:
    """Hide the secrets of a path: tokens, and pairs that some servers put into it, up to the next slash."""
    if ASSIGNMENT.search(path) is not None:
        path = "/".join(map(_hide_pairs, path.split("/")))
    return TOKEN.sub(HIDDEN, path)


def _hide_in_one(text: str) -> str:
    """Hide user info and the values of secrets in a text that is one URL, or was meant to be one."""
    if "@" in text:
        text = BROKEN_USER.sub(rf"\1{HIDDEN}@", text)
        text = USER.sub(rf"\1{HIDDEN}@", text)
        text = PLAIN_USER.sub(f"{HIDDEN}@", text)
    return _hide_pairs(text)


def _hide_in_chunk(match: re.Match[str]) -> str:
    text = match[0].rstrip("'),.:;]}")
    return _hide_in_one(text) + match[0][len(text) :]


def _hide_quoted(match: re.Match[str]) -> str:
    """Hide a quoted value behind the name of a secret, as in `token='…'` or a dict of headers."""
    name = re.split(r"[\"'\s:=]", match[1], maxsplit=1)[0].lower()
    value = match[2] if match[2] is not None else match[3]
    if not _is_secret(name, value, frozenset()):
        return match[0]
    quote = match[0][-1]
    return f"{match[1]}{quote}{HIDDEN}{quote}"


def _file_name(path: str) -> str:
    """Return the last part of a path as a file name that any disk and any dataset can hold."""
    text = unquote(path.rpartition("/")[2], errors="replace")
    if not text.isprintable() or "/" in text or "\\" in text:
        text = "".join("_" if character in "/\\" or not character.isprintable() else character for character in text)
    text = text.strip()
    if text in {".", ".."}:
        return ""
    if len(text) * 4 <= MAX_NAME_BYTES or len(text.encode()) <= MAX_NAME_BYTES:
        return text
    stem, dot, ending = text.rpartition(".")
    ending = dot + ending
    if not stem or len(ending.encode()) > MAX_ENDING_BYTES:
        stem, ending = text, ""
    room = MAX_NAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip() + ending


def _refuse(value: str, why: str) -> NoReturn:
    raise RowRejected("media.url", f"the URL {_shown(value)} {why}")


def _shown(value: str) -> str:
    """Quote a refused value for a message: secrets hidden, control characters escaped, and not longer than a line."""
    head = value[:MAX_URL_BYTES]
    if "@" in value[MAX_URL_BYTES:]:
        # What ends there may be a password.
        return repr(f"{head.partition(':')[0][:20]}:{HIDDEN}")
    hidden = hide_secrets(_hide_in_one(head))
    return repr(hidden if len(hidden) <= MAX_SHOWN else f"{hidden[:MAX_SHOWN]}...")
