"""The HTTP client keeps every limit and names every reason, against a server that really misbehaves."""

import asyncio
import gzip
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._budget import ByteBudget
from simpleseg_core.fetch._fetch import Fetched, Fetcher
from simpleseg_core.fetch._status import Refused
from tests.fetch.server import Exchange, Server, jpeg


def fetch(server: Server, path: str, **limits: object) -> Fetched:
    settings = {"timeout_s": 5.0, "honour_robots": False, "allowed_private_hosts": (server.address,)} | limits

    async def run() -> Fetched:
        async with Fetcher(IngestConfig(**settings)) as fetcher:  # type: ignore[arg-type]
            async with fetcher.fetch(fetcher.check(server.url(path))) as fetched:
                return fetched

    return asyncio.run(run())


async def body_of(fetcher: Fetcher, url: str) -> bytes:
    async with fetcher.fetch(fetcher.check(url)) as fetched:
        return fetched.body


def reason(server: Server, path: str, **limits: object) -> str:
    with pytest.raises(Refused) as caught:
        fetch(server, path, **limits)
    return caught.value.status


def test_returns_the_bytes_as_served(server: Server) -> None:
    server.image("/a.jpg", jpeg(1))
    assert fetch(server, "/a.jpg") == Fetched(jpeg(1), server.url("/a.jpg"))


def test_follows_redirects_and_names_the_last_url(server: Server) -> None:
    server.image("/old.jpg", b"", status=301, headers={"Location": "/b/new.jpg"})
    server.image("/b/new.jpg", jpeg(2))
    assert fetch(server, "/old.jpg") == Fetched(jpeg(2), server.url("/b/new.jpg"))


def test_signed_urls_keep_their_encoding_on_the_wire_and_through_redirects(server: Server) -> None:
    signed = "/b%2Cc%28d%29.jpg?sig=ab%2Bc%2F%3D"
    server.image("/a%3Ab.jpg", b"", status=302, headers={"Location": signed})
    server.image("/b%2Cc%28d%29.jpg", jpeg(2))
    assert fetch(server, "/a%3Ab.jpg?x=%2C#part").final_url == server.url(signed)
    assert server.requests == ["/a%3Ab.jpg?x=%2C", signed]


def test_a_redirect_loop_ends(server: Server) -> None:
    server.image("/loop", b"", status=302, headers={"Location": "/loop"})
    assert reason(server, "/loop", max_redirects=3) == "redirects"
    assert server.requests == ["/loop"] * 4


@pytest.mark.parametrize(
    ("location", "status"),
    [
        ("http://10.0.0.1/x.jpg", "address"),
        ("http://127.0.0.1:1/x.jpg", "port"),
        ("http://169.254.169.254/latest/meta-data/", "address"),
        ("http://[::ffff:127.0.0.1]/x.jpg", "address"),
        ("//0x7f.1/x.jpg", "address"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1/", "scheme"),
        ("http://user@example.org/", "bad_url"),
        ("http://[", "bad_url"),
    ],
)
def test_redirects_are_checked_like_first_urls(server: Server, location: str, status: str) -> None:
    server.image("/go", b"", status=302, headers={"Location": location})
    assert reason(server, "/go") == status


@pytest.mark.parametrize("code", [400, 403, 404, 410, 429, 500, 503, 204, 304])
def test_other_answers_than_200_are_counted_by_code(server: Server, code: int) -> None:
    server.image("/x", b"", status=code)
    assert reason(server, "/x") == f"http_{code}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Mon, 1 Jan 99999999999999999999 00:00:00 GMT", None),
        ("soon", None),
        ("", None),
        ("-5", None),
    ],
)
def test_retry_after_is_read(server: Server, value: str, seconds: float | None) -> None:
    server.image("/busy", b"", status=429, headers={"Retry-After": value})
    with pytest.raises(Refused) as caught:
        fetch(server, "/busy")
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "image/svg+xml", "application/json"])
def test_other_content_is_not_read(server: Server, kind: str) -> None:
    server.image("/x.jpg", b"<html>", kind=kind)
    assert reason(server, "/x.jpg") == "content_type"


@pytest.mark.parametrize("kind", ["image/jpeg", "IMAGE/PNG; q=1", "application/octet-stream", ""])
def test_images_and_unnamed_bytes_are_read(server: Server, kind: str) -> None:
    server.image("/x.jpg", jpeg(), kind=kind)
    assert fetch(server, "/x.jpg").body == jpeg()


def test_a_gzip_bomb_is_never_inflated(server: Server) -> None:
    server.image("/bomb", gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})
    assert reason(server, "/bomb") == "content_encoding"


def test_an_announced_size_over_the_cap_is_not_read(server: Server) -> None:
    async def huge(exchange: Exchange) -> None:
        await exchange.send(b"x", headers={"Content-Length": "99999999999"})

    server.routes["/huge"] = huge
    assert reason(server, "/huge") == "too_large"


def test_an_endless_body_is_cut_at_the_cap(server: Server) -> None:
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await exchange.raw(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000

    server.routes["/endless"] = endless
    assert reason(server, "/endless", max_bytes=100_000) == "too_large"
    assert sent < 20_000_000


def test_a_slow_drip_ends_with_the_time_cap(server: Server) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await exchange.raw(b"x")
            await asyncio.sleep(0.02)

    server.routes["/drip"] = drip
    assert reason(server, "/drip", timeout_s=0.3) == "timeout"


def test_silence_ends_with_the_time_cap(server: Server) -> None:
    async def silent(exchange: Exchange) -> None:
        await asyncio.sleep(60)

    server.routes["/silent"] = silent
    assert reason(server, "/silent", timeout_s=0.3) == "timeout"


def test_a_body_shorter_than_announced_is_a_lost_connection(server: Server) -> None:
    async def short(exchange: Exchange) -> None:
        await exchange.send(jpeg(), headers={"Content-Length": "50000"})
        exchange.keep = False

    server.routes["/short"] = short
    assert reason(server, "/short") == "connection_lost"


def test_a_body_longer_than_announced_does_not_answer_the_next_request(server: Server) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n\r\nevil"

    async def long(exchange: Exchange) -> None:
        await exchange.send(jpeg(1) + smuggled, headers={"Content-Length": str(len(jpeg(1)))})

    server.routes["/long.jpg"] = long
    server.image("/next.jpg", jpeg(2))

    async def run() -> list[bytes]:
        async with Fetcher(IngestConfig(honour_robots=False, allowed_private_hosts=(server.address,))) as fetcher:
            return [await body_of(fetcher, server.url(path)) for path in ("/long.jpg", "/next.jpg")]

    assert asyncio.run(run()) == [jpeg(1), jpeg(2)]


def test_a_reset_is_a_lost_connection(server: Server) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\nabc")
        exchange.reset()

    server.routes["/reset"] = reset
    assert reason(server, "/reset") == "connection_lost"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 500) for i in range(2000)) + b"\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
)
def test_nonsense_is_a_protocol_error(server: Server, answer: bytes) -> None:
    async def nonsense(exchange: Exchange) -> None:
        await exchange.raw(answer)
        exchange.keep = False

    server.routes["/x"] = nonsense
    assert reason(server, "/x") in ("protocol", "connection_lost")


def test_an_empty_body_is_named(server: Server) -> None:
    server.image("/empty", b"")
    assert reason(server, "/empty") == "empty"


def test_nobody_listening_is_a_failed_connection() -> None:
    with Server() as gone:
        pass
    assert reason(gone, "/x.jpg") == "connect"


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        ("noai", True),
        ("noimageai", True),
        ("noindex, NoAI", True),
        ("simpleseg-ingest: noai", True),
        ("otherbot: noai", False),
        ("noindex", False),
        ("max-image-preview: none", False),
    ],
)
def test_owners_can_reserve_their_images(server: Server, header: str, refused: bool) -> None:
    server.image("/art.jpg", jpeg(), headers={"X-Robots-Tag": header})
    if refused:
        assert reason(server, "/art.jpg") == "noai"
    assert fetch(server, "/art.jpg", honour_noai=not refused).body == jpeg()


def test_text_and_data_mining_can_be_reserved(server: Server) -> None:
    server.image("/art.jpg", jpeg(), headers={"TDM-Reservation": "1"})
    assert reason(server, "/art.jpg") == "noai"


def test_urls_are_encoded_as_browsers_do(server: Server) -> None:
    server.image("/a%20b/%C3%BC.jpg", jpeg())
    assert fetch(server, "/a b/ü.jpg").final_url == server.url("/a%20b/%C3%BC.jpg")


def test_huge_urls_are_refused_without_a_request(server: Server) -> None:
    assert reason(server, "/" + "a" * 100_000) == "bad_url"
    assert not server.requests


def test_connections_are_kept_alive(server: Server) -> None:
    ports: set[int] = set()

    async def answer(exchange: Exchange) -> None:
        ports.add(exchange.writer.get_extra_info("peername")[1])
        await exchange.send(jpeg())

    server.routes["/a.jpg"] = answer

    async def run() -> None:
        limits = IngestConfig(allowed_private_hosts=(server.address,))
        async with Fetcher(limits) as fetcher:
            for _ in range(5):
                await body_of(fetcher, server.url("/a.jpg"))

    asyncio.run(run())
    assert len(ports) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_wait_for_room_and_that_takes_no_time_off_them(
    server: Server, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    monkeypatch.setattr("simpleseg_core.fetch._fetch._BODY_BYTES", 1000)
    body = bytes(800)

    async def answer(exchange: Exchange) -> None:
        length = f"Content-Length: {len(body)}\r\n" if announced else ""
        await exchange.raw(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n".encode() + body)
        exchange.keep = False

    server.routes["/a.jpg"] = answer
    limits = IngestConfig(
        allowed_private_hosts=(server.address,), honour_robots=False, timeout_s=0.3, max_bytes=1000, retries=0
    )

    async def run() -> None:
        async with Fetcher(limits) as fetcher:
            async with fetcher.fetch(fetcher.check(server.url("/a.jpg"))):
                others = [asyncio.create_task(body_of(fetcher, server.url("/a.jpg"))) for _ in range(3)]
                await asyncio.sleep(0.6)
                assert not any(task.done() for task in others)
            assert await asyncio.gather(*others) == [body] * 3

    asyncio.run(run())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=30))
def test_no_more_bytes_are_held_than_there_are(sizes: list[tuple[int, bool]]) -> None:
    budget, held = ByteBudget(10), 0

    async def hold(size: int, impatient: bool) -> None:
        nonlocal held
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if impatient else None):
                taken = await budget.take(size)
            held += taken
            assert held <= 10
            await asyncio.sleep(0)
            held -= taken
            budget.give_back(taken)

    async def run() -> None:
        await asyncio.gather(*[hold(*each) for each in sizes])
        assert await budget.take(10) == 10

    asyncio.run(run())
