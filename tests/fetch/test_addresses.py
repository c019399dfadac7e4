"""Nothing but the public web can be reached, however the address is written down."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._addresses import AddressPolicy, is_public
from simpleseg_core.fetch._fetch import Fetcher
from simpleseg_core.fetch._status import Refused
from tests.fetch.server import Server, jpeg

ATTEMPTS = [
    # plain private, loopback, link-local and reserved addresses
    ("http://127.0.0.1/", "address"),
    ("http://127.255.255.254/", "address"),
    ("http://10.0.0.1/", "address"),
    ("http://172.16.0.1/", "address"),
    ("http://172.31.255.255/", "address"),
    ("http://192.168.1.1/", "address"),
    ("http://169.254.1.1/", "address"),
    ("http://0.0.0.0/", "address"),
    ("http://0.1.2.3/", "address"),
    ("http://100.64.0.1/", "address"),
    ("http://192.0.0.8/", "address"),
    ("http://192.0.2.1/", "address"),
    ("http://192.88.99.0/", "address"),
    ("http://192.88.99.255/", "address"),
    ("http://[::ffff:192.88.99.1]/", "address"),
    ("http://198.18.0.1/", "address"),
    ("http://198.51.100.7/", "address"),
    ("http://203.0.113.7/", "address"),
    ("http://224.0.0.1/", "address"),
    ("http://240.0.0.1/", "address"),
    ("http://255.255.255.255/", "address"),
    # metadata services
    ("http://169.254.169.254/latest/meta-data/", "address"),
    ("http://169.254.170.2/v2/credentials", "address"),
    ("http://100.100.100.200/latest/meta-data/", "address"),
    ("http://168.63.129.16/machine", "address"),
    ("http://192.0.0.192/latest/", "address"),
    ("http://[fd00:ec2::254]/latest/meta-data/", "address"),
    ("http://metadata.google.internal/computeMetadata/v1/", "address"),
    # old number forms
    ("http://2130706433/", "address"),
    ("http://017700000001/", "address"),
    ("http://0x7f000001/", "address"),
    ("http://0x7f.0x0.0x0.0x1/", "address"),
    ("http://0177.0.0.1/", "address"),
    ("http://0177.0.0.01/", "address"),
    ("http://127.1/", "address"),
    ("http://127.0.1/", "address"),
    ("http://0/", "address"),
    ("http://0x7f.1/", "address"),
    ("http://127.0.0.1./", "address"),
    ("http://00000127.0.0.1/", "address"),
    ("http://4294967297/", "address"),
    ("http://3232235777/", "address"),
    ("http://0xA9FEA9FE/", "address"),
    ("http://1.2.3.0x/", "address"),
    ("http://256.256.256.256/", "address"),
    # IPv6 and IPv4 inside it
    ("http://[::1]/", "address"),
    ("http://[::]/", "address"),
    ("http://[0:0:0:0:0:0:0:1]/", "address"),
    ("http://[::ffff:127.0.0.1]/", "address"),
    ("http://[::ffff:7f00:1]/", "address"),
    ("http://[0:0:0:0:0:ffff:10.0.0.1]/", "address"),
    ("http://[::ffff:169.254.169.254]/", "address"),
    ("http://[::ffff:168.63.129.16]/", "address"),
    ("http://[::127.0.0.1]/", "address"),
    ("http://[64:ff9b::127.0.0.1]/", "address"),
    ("http://[64:ff9b::a9fe:a9fe]/", "address"),
    ("http://[64:ff9b:1::7f00:1]/", "address"),
    ("http://[2002:7f00:1::]/", "address"),
    ("http://[2001:0:7f00:1::]/", "address"),
    ("http://[fe80::1]/", "address"),
    ("http://[fe80::1%25eth0]/", "address"),
    ("http://[fec0::1]/", "address"),
    ("http://[fc00::1]/", "address"),
    ("http://[ff02::1]/", "address"),
    ("http://[2001:db8::1]/", "address"),
    # other letters for the same digits and dots
    ("http://①②⑦.⓪.⓪.①/", "address"),
    ("http://１２７.0.0.1/", "address"),
    ("http://127。0。0。1/", "address"),
    ("http://ⓛocalhost/", "address"),
    # local names
    ("http://localhost/", "address"),
    ("http://LOCALHOST./", "address"),
    ("http://app.localhost/", "address"),
    ("http://printer.local/", "address"),
    ("http://db.internal/", "address"),
    ("http://router.home.arpa/", "address"),
    ("http://hidden.onion/", "address"),
    # user names and other tricks of the authority
    ("http://example.org@127.0.0.1/", "bad_url"),
    ("http://127.0.0.1@example.org/", "bad_url"),
    ("http://a:b@example.org/", "bad_url"),
    ("http://example.org\\@127.0.0.1/", "bad_url"),
    ("http://127.0.0.1%2f@example.org/", "bad_url"),
    ("http://%31%32%37.0.0.1/", "address"),
    ("http://example.org%00.evil/", "bad_url"),
    ("http://exa mple.org/", "bad_url"),
    ("http://example.org\t.evil/", "bad_url"),
    ("http://exam\r\nple.org/", "bad_url"),
    ("http:///etc/passwd", "bad_url"),
    ("http:127.0.0.1/", "bad_url"),
    ("http://", "bad_url"),
    ("http://[::1/", "bad_url"),
    ("http://[::1]extra/", "bad_url"),
    ("http://example.org:99999/", "bad_url"),
    ("http://example.org:80:80/", "bad_url"),
    ("http://..../", "bad_url"),
    ("http://" + "a" * 300 + ".org/", "bad_url"),
    ("", "bad_url"),
    # schemes and ports
    ("file:///etc/passwd", "scheme"),
    ("ftp://example.org/a.jpg", "scheme"),
    ("gopher://127.0.0.1:6379/_INFO", "scheme"),
    ("data:image/png;base64,AAAA", "scheme"),
    ("javascript:alert(1)", "scheme"),
    ("//example.org/a.jpg", "scheme"),
    ("example.org/a.jpg", "scheme"),
    ("http://example.org:22/", "port"),
    ("http://example.org:25/", "port"),
    ("http://example.org:6379/", "port"),
    ("http://example.org:11211/", "port"),
    ("http://example.org:0/", "port"),
    ("http://example.org:2375/containers/json", "port"),
    ("http://example.org:2379/v2/keys", "port"),
    ("https://example.org:6443/api", "port"),
    ("http://example.org:8265/api/jobs/", "port"),
    ("http://example.org:8500/v1/kv/", "port"),
    ("https://example.org:10250/pods", "port"),
]


def judge(url: str) -> str:
    try:
        AddressPolicy().check_url(url)
    except Refused as refused:
        return refused.status
    return "ok"


def test_the_table_is_large_enough_and_has_no_repetition() -> None:
    assert len({url for url, _ in ATTEMPTS}) == len(ATTEMPTS) >= 60


@pytest.mark.parametrize(("url", "status"), ATTEMPTS)
def test_attempts_to_leave_the_public_web_are_refused(url: str, status: str) -> None:
    assert judge(url) == status


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.jpg",
        "https://EXAMPLE.org:8443/a.jpg",
        "http://93.184.215.14/a.jpg",
        "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/a.jpg",
        "http://[::ffff:8.8.8.8]/a.jpg",
        "http://bücher.example.org/ü.jpg",
        "http://a_b.example.org/",
        "http://example.org./a.jpg",
        "http://0x7f.example.org/",
        " http://example.org/a b.jpg ",
    ],
)
def test_public_urls_pass(url: str) -> None:
    assert judge(url) == "ok"


@pytest.mark.parametrize(
    ("written", "requested"),
    [
        ("/a%2Cb%28c%29.jpg", "/a%2Cb%28c%29.jpg"),
        ("/http%3A%2F%2Fhost%2Fp.jpg", "/http%3A%2F%2Fhost%2Fp.jpg"),
        ("/x.jpg?sig=ab%2Bc%2F%3D&n=a+b", "/x.jpg?sig=ab%2Bc%2F%3D&n=a+b"),
        ("/x.jpg?u=a%3ac%40d", "/x.jpg?u=a%3ac%40d"),
        ("/100%.jpg?p=%zz", "/100%.jpg?p=%zz"),
        ("//cdn//a.jpg", "//cdn//a.jpg"),
        ("/a b/\u00fc|{1}.jpg?q=\u00e9", "/a%20b/%C3%BC%7C%7B1%7D.jpg?q=%C3%A9"),
        ("/a/../b/./%2E%2e/c.jpg?p=/../", "/c.jpg?p=/../"),
        ("/../../c.jpg", "/c.jpg"),
        ("/...%2e/%2e%2e%2f.jpg", "/...%2e/%2e%2e%2f.jpg"),
        ("/a.jpg#%2C", "/a.jpg"),
        ("", "/"),
        ("?a=%2C", "/?a=%2C"),
    ],
)
def test_urls_are_requested_as_they_are_written(written: str, requested: str) -> None:
    url = AddressPolicy().check_url(f"https://EXAMPLE.org:8443{written}")
    assert (url.raw_host, url.port, url.raw_path_qs) == ("example.org", 8443, requested)


_PIECES = st.lists(st.sampled_from([*"/.:@?#[]%\\ ", "%2e", "%2f", "//", "a", "org", "\u00e9", "\u3002"]), max_size=12)


@settings(deadline=None, max_examples=300)
@given(_PIECES)
@example(["[", "]", "@"])
def test_what_is_checked_is_what_is_requested(pieces: list[str]) -> None:
    """Read again, a URL that passed is the same; so is its host, by the parser that normalises."""
    try:
        url = AddressPolicy().check_url("http://example.org" + "".join(pieces))
    except Refused:
        return
    assert AddressPolicy().check_url(str(url)) == url
    assert str(AddressPolicy().check_url(str(url))) == str(url)
    again = URL(str(url))
    assert (again.scheme, again.raw_host, again.port) == (url.scheme, url.raw_host, url.port)
    assert not {".", ".."} & set(url.raw_path.lower().replace("%2e", ".").split("/"))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_in_every_ipv6_form(number: int) -> None:
    dotted = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    assert is_public(f"::ffff:{dotted}") == is_public(f"64:ff9b::{dotted}") == is_public(dotted)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_reason(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/a.jpg"):
        assert judge(url) in ("ok", "bad_url", "scheme", "port", "address")


def resolve_and_fetch(server: Server, lookup: "FakeLookup", times: int = 1, **limits: object) -> list[str]:
    async def run() -> list[str]:
        outcomes = []
        async with Fetcher(IngestConfig(**limits), lookup) as fetcher:  # type: ignore[arg-type]
            for _ in range(times):
                try:
                    async with fetcher.fetch(fetcher.check(f"http://rebind.example.org:{server.port}/a.jpg")):
                        outcomes.append("ok")
                except Refused as refused:
                    outcomes.append(refused.status)
        return outcomes

    return asyncio.run(run())


class FakeLookup:
    """A resolver that gives one answer after another, as a rebinding attacker's would."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if not answer:
            raise OSError("no such name")
        return answer


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.1.2.3"], ["::1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:169.254.169.254"]]
)
def test_names_of_private_addresses_are_refused(server: Server, addresses: list[str]) -> None:
    assert resolve_and_fetch(server, FakeLookup(addresses)) == ["address"]
    assert not server.requests


def test_a_name_is_looked_up_once_and_connected_to_at_that_address(server: Server) -> None:
    server.image("/a.jpg", jpeg())
    lookup = FakeLookup(["127.0.0.1"], ["10.0.0.1"])
    allowed = (f"rebind.example.org:{server.port}",)
    assert resolve_and_fetch(server, lookup, times=3, allowed_private_hosts=allowed, honour_robots=False) == ["ok"] * 3
    assert lookup.asked == ["rebind.example.org"]


def test_a_name_that_does_not_exist_is_asked_for_once(server: Server) -> None:
    lookup = FakeLookup([])
    assert resolve_and_fetch(server, lookup, times=3) == ["dns"] * 3
    assert len(lookup.asked) == 1


def test_the_socket_is_the_last_guard() -> None:
    policy = AddressPolicy(("127.0.0.1:8080",))
    policy.check_socket("127.0.0.1", 8080)
    for address, port in (("127.0.0.1", 8081), ("10.0.0.1", 80), ("::1", 80)):
        with pytest.raises(Refused):
            policy.check_socket(address, port)


def test_a_malformed_exception_names_the_key() -> None:
    with pytest.raises(ValueError, match=r"ingest\.allowed_private_hosts"):
        AddressPolicy(("localhost",))
