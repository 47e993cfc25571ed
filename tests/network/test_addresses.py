"""Addresses that URLs of strangers may lead to; nothing private is ever connected to, whatever its name."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urljoin

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from pipeline.errors import RowRejected
from pipeline.network.addresses import ForbiddenAddressError, GuardedResolver, check_host, is_public, literal_address
from pipeline.network.urls import parse_url

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_public_addresses(text: str) -> None:
    """What is given out to hosts of the internet is public, up to the edges of what is not."""
    assert is_public(ipaddress.ip_address(text))
    check_host(text, NOBODY)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "64:ff9b:1:808:8:800::",
        "100::1",
        "100:0:0:1::1",
        "1fff:ffff::1",
        "2001::1",
        "2001:0:808:808::f7f7:f7f7",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "3ffe::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_addresses_that_are_not_public(text: str) -> None:
    """Private, local, reserved and embedded private addresses are refused, as they stand and in brackets."""
    assert not is_public(ipaddress.ip_address(text))
    for host in (text, f"[{text}]") if ":" in text else (text, f"{text}."):
        with pytest.raises(
            ForbiddenAddressError, match=r"recipes allow a host by name with fetch\.allow_hosts"
        ) as caught:
            check_host(host, NOBODY)
        assert caught.value.host == host
        assert caught.value.address == str(ipaddress.ip_address(text))
        check_host(host, frozenset({text}))


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address) | st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
@settings(deadline=None)
def test_public_is_never_more_than_the_registries_say(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """No address is public that Python calls private; addresses that carry another one are what that one is."""
    if is_public(address) and (address.version == 4 or not _carried(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved
    if isinstance(address, ipaddress.IPv4Address):
        number = int(address)
        for outer in ((0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)):
            assert is_public(ipaddress.IPv6Address(outer)) == is_public(address)


def _carried(address: ipaddress.IPv6Address) -> bool:
    return address.ipv4_mapped is not None or address.sixtofour is not None or int(address) >> 96 == 0x64FF9B


SPELLINGS = [
    ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.1.", "127.0.0.1"),
    ("127.1", "127.0.0.1"),
    ("127.0.1", "127.0.0.1"),
    ("0x7f000001", "127.0.0.1"),
    ("0X7F.1", "127.0.0.1"),
    ("2130706433", "127.0.0.1"),
    ("017700000001", "127.0.0.1"),
    ("0177.0.0.1", "127.0.0.1"),
    ("0177.0x0.1", "127.0.0.1"),
    ("00000000000000000000177.1", "127.0.0.1"),
    ("0", "0.0.0.0"),  # noqa: S104
    ("0x0a.1.515", "10.1.2.3"),
    ("169.254.43518", "169.254.169.254"),
    ("\uff11\uff12\uff17\u30020\u30020\u30021", "127.0.0.1"),
    ("[::1]", "::1"),
    ("::1", "::1"),
    ("[::FFFF:7f00:1]", "::ffff:7f00:1"),
    ("fe80::1%eth0", "fe80::1%eth0"),
]


@pytest.mark.parametrize(("host", "address"), SPELLINGS)
def test_spellings_of_addresses(host: str, address: str) -> None:
    """Every spelling that a resolver takes for an address is known as that address, and refused."""
    assert literal_address(host) == ipaddress.ip_address(address)
    with pytest.raises(ForbiddenAddressError):
        check_host(host, NOBODY)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a",
        "example.org",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.256.1",
        "1.2.3.256",
        "4294967296",
        "0x100000000",
        "08.1.1.1",
        "0x",
        "1..2",
        "127.0.0.1..",
        "-1",
        "1e3",
        "0b1",
        "9" * 5000,
        "1.2.3.4a",
        "::g",
        "[::1",
    ],
)
def test_what_is_no_address(host: str) -> None:
    """Names and numbers that no resolver takes for an address are none."""
    expected = ipaddress.ip_address("::1") if host == "[::1" else None
    assert literal_address(host) == expected


@given(
    st.lists(
        st.integers(0, 300).map(str)
        | st.integers(0, 2**33).map(hex)
        | st.integers(0, 2**33).map("0{:o}".format)
        | st.integers(0, 2**33).map(str)
        | st.text("0178xXaf", max_size=4),
        min_size=1,
        max_size=5,
    ).map(".".join)
)
@settings(max_examples=2000, deadline=None)
def test_numbers_are_read_as_the_system_reads_them(host: str) -> None:
    """A number is an address exactly when `inet_aton` makes one of it, and the same one."""
    try:
        expected = ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        # A last dot is taken away here, as browsers do.
        assert host.endswith(".") or literal_address(host) is None
    else:
        assert literal_address(host) == expected


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "printer.local", "metadata.google.internal", "internal", "x.home.arpa"],
)
def test_names_of_this_machine_and_its_network(host: str) -> None:
    """Names that never leave a network are refused without asking for them, unless the recipe names them."""
    with pytest.raises(ForbiddenAddressError, match="a name of this machine or its network") as caught:
        check_host(host, frozenset({"other.local", "localhost.example"}))
    assert caught.value.address == ""
    check_host(host, frozenset({host.lower().rstrip(".")}))
    check_host(host, frozenset({host.upper()}))
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  our own bytes
    assert (again.host, again.address, str(again)) == (host, "", str(caught.value))


@pytest.mark.parametrize(
    "host", ["example.org", "localhost.example", "mylocalhost", "internal.example", "local.example", "a.arpa"]
)
def test_other_names_pass(host: str) -> None:
    """Other names are judged when they are resolved."""
    check_host(host, NOBODY)


class Answers(AbstractResolver):
    """A resolver with a list of answers for each name; each call gives the next one, the last one again and again."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        """Take for each name its answers, each a list of addresses."""
        self.answers = answers
        self.calls: dict[str, int] = {}
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next answer for a name."""
        del family
        call = self.calls.get(host, 0)
        self.calls[host] = call + 1
        listed = self.answers[host]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in listed[min(call, len(listed) - 1)]
        ]

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def test_a_resolver_with_one_private_answer_is_refused() -> None:
    """One private address among public ones is enough to refuse a name; an allowed name leads anywhere."""

    async def scenario() -> None:
        inner = Answers({"a.example": [["8.8.8.8"]], "b.example": [["8.8.8.8", "::1"]], "c.example": [["no address"]]})
        guarded = GuardedResolver(NOBODY, inner)
        assert [result["host"] for result in await guarded.resolve("a.example", 80)] == ["8.8.8.8"]
        with pytest.raises(ForbiddenAddressError, match=r"b\.example leads to ::1, which is a private address"):
            await guarded.resolve("b.example", 80)
        with pytest.raises(ForbiddenAddressError, match="no address"):
            await guarded.resolve("c.example", 80)
        allowing = GuardedResolver(frozenset({"B.example"}), inner)
        assert len(await allowing.resolve("b.EXAMPLE.".lower().rstrip("."), 80)) == 2
        with pytest.raises(ForbiddenAddressError):
            await allowing.resolve("c.example", 80)
        await guarded.close()
        assert inner.closed
        await GuardedResolver().close()

    asyncio.run(scenario())


PUBLIC = "93.184.215.14"
TRAPS = ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", PUBLIC)
PORT = 8642
METADATA = f"http://169.254.169.254:{PORT}/"

BARE = [*(f"http://{f'[{trap}]' if ':' in trap else trap}:{PORT}/" for trap in TRAPS if trap != PUBLIC)]
NAMED = [f"http://{name}.example:{PORT}/" for name in ("evil", "metadata", "six", "mapped", "mixed", "mixed2")]
ODD = [
    f"http://{host}:{PORT}/"
    for host in (
        "localhost",
        "a.localhost",
        "0x0a010203",
        "167838211",
        "10.66051",
        "012.1.2.3",
        "127.1",
        "0",
        "[::ffff:10.1.2.3]",
        "[::ffff:a9fe:a9fe]",
        "\uff11\uff10.1.2.3",
    )
]
REDIRECTED = [f"http://good.example:{PORT}/to?{quote(url, safe='')}" for url in (*BARE, *NAMED, *ODD)]


def test_traps_stay_empty() -> None:
    """In a network of its own, no private address gets a connection: literal, named, redirected to or rebound."""
    unshare, ip = shutil.which("unshare"), shutil.which("ip")
    if unshare is None or ip is None:
        pytest.skip("needs the commands unshare and ip")
    probe = subprocess.run([unshare, "-rn", "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no network namespaces here: {probe.stderr.strip()}")
    done = subprocess.run(
        [unshare, "-rn", sys.executable, __file__],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # The traps work: without a guard, each of them is met.
    assert set(found["unguarded"]) == set(found["traps"]) >= {"127.0.0.1", "10.1.2.3", "169.254.169.254", PUBLIC}
    assert found["caught"] == []
    assert {url: end for url, end in found["ends"].items() if end not in {"forbidden", "refused"}} == {}
    assert found["ends"][f"http://evil.example:{PORT}/"] == "forbidden"
    assert found["ends"][f"http://0x0a010203:{PORT}/"] == "refused"
    assert found["unparsed"] == dict.fromkeys(ODD, "forbidden")
    assert found["rebound"] == ["got", "forbidden", "forbidden"]
    assert found["asked"] == 3
    assert found["allowed"] == {"evil": "got", "metadata": "forbidden", "onward": "forbidden"}
    assert found["allowed_caught"] == ["10.1.2.3", "10.1.2.3"]


class Traps:
    """Servers on addresses of this network namespace that log every connection."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self.log: list[str] = []
        self.open: list[str] = []

    async def start(self) -> None:
        """Listen on every address that there is."""
        for address in TRAPS:
            try:
                await asyncio.start_server(self._serve, address, PORT)
            except OSError:
                if address != "::1":  # a machine may do without IPv6
                    raise
            else:
                self.open.append(address)

    def caught(self) -> list[str]:
        """Return where connections came in since the last call, but for the public address."""
        log, self.log = self.log, []
        return [address for address in log if address != PUBLIC]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.log.append(writer.get_extra_info("sockname")[0])
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].split(b" ")[1].decode()
        path, _, target = line.partition("?")
        head = "200 OK"
        if path == "/to":
            head = f"302 Found\r\nLocation: {URL(f'/?x={target}', encoded=True).query['x'].encode().decode('latin-1')}"
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode("latin-1"))
        await writer.drain()
        writer.close()


async def fetch(session: aiohttp.ClientSession, value: str, allowed: frozenset[str], *, parse: bool = True) -> str:
    """Ask for a URL and follow its redirects as the fetcher does, and say how it ended."""
    try:
        for _ in range(5):
            request = parse_url(value).request if parse else value
            host = parse_url(value).host if parse else URL(value, encoded=True).raw_host or ""
            check_host(host, allowed)
            async with session.get(URL(request, encoded=True), allow_redirects=False) as response:
                await response.read()
            if response.status == 200:
                return "got"
            value = urljoin(request, response.headers["Location"])
    except ForbiddenAddressError:
        return "forbidden"
    except RowRejected:
        return "refused"
    except aiohttp.ClientError as error:
        return repr(error)
    return "lost"


def answers() -> Answers:
    """Return what the names of the test lead to."""
    return Answers(
        {
            "good.example": [[PUBLIC]],
            "evil.example": [["10.1.2.3"]],
            "metadata.example": [["169.254.169.254"]],
            "six.example": [["::1"]],
            "mapped.example": [["::ffff:10.1.2.3"]],
            "mixed.example": [[PUBLIC, "10.1.2.3"]],
            "mixed2.example": [["10.1.2.3", PUBLIC]],
            "rebound.example": [[PUBLIC], ["10.1.2.3"]],
        }
    )


def session_with(resolver: AbstractResolver) -> aiohttp.ClientSession:
    """Return a session that asks its resolver again for each connection."""
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20))


async def inside() -> dict[str, object]:
    """Try everything inside the network namespace, and return what happened."""
    traps = Traps()
    await traps.start()
    found: dict[str, object] = {"traps": traps.open}
    async with session_with(answers()) as session:
        for trap in traps.open:
            await (await session.get(f"http://{f'[{trap}]' if ':' in trap else trap}:{PORT}/")).read()
    found["unguarded"], traps.log = traps.log, []
    inner = answers()
    async with session_with(GuardedResolver(NOBODY, inner)) as session:
        found["ends"] = {url: await fetch(session, url, NOBODY) for url in (*BARE, *NAMED, *ODD, *REDIRECTED)}
        found["unparsed"] = {url: await fetch(session, url, NOBODY, parse=False) for url in ODD}
        rebound = f"http://rebound.example:{PORT}/"
        found["rebound"] = [await fetch(session, rebound, NOBODY) for _ in range(3)]
        found["asked"] = inner.calls["rebound.example"]
    found["caught"] = traps.caught()
    allowed = frozenset({"evil.example"})
    async with session_with(GuardedResolver(allowed, answers())) as session:
        onward = f"http://evil.example:{PORT}/to?{quote(METADATA, safe='')}"
        urls = {"evil": NAMED[0], "metadata": NAMED[1], "onward": onward}
        found["allowed"] = {name: await fetch(session, url, allowed) for name, url in urls.items()}
    found["allowed_caught"] = traps.caught()
    return found


def main() -> None:
    """Give the network namespace its addresses, all on its loopback, and print what happened inside."""
    commands = [["ip", "link", "set", "lo", "up"]]
    commands += [
        ["ip", "address", "add", f"{trap}/32", "dev", "lo"] for trap in TRAPS if trap[0] in "19" and trap != TRAPS[0]
    ]
    for command in commands:
        subprocess.run(command, check=True)
    # Nothing else is there: no packet can leave, whatever this test does wrong.
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    sys.stdout.write(json.dumps(asyncio.run(inside())))


if __name__ == "__main__":
    main()
