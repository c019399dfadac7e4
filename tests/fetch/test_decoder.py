"""A body that kills its decoder costs its own row and no other."""

import asyncio
import multiprocessing
from collections.abc import Sequence

import pytest
from PIL import Image

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._decoder import Decoder
from simpleseg_core.fetch._images import DecodedImage
from simpleseg_core.fetch._status import Refused
from tests.fetch.evil import inspect_dangerously
from tests.fetch.images import encode, picture

LIMITS = IngestConfig(decode_timeout_s=0.5)
GOOD = encode(picture(), "JPEG")


def decode(bodies: Sequence[bytes], limits: IngestConfig = LIMITS) -> list[str]:
    async def one(decoder: Decoder, body: bytes) -> str:
        try:
            return "ok" if isinstance(await decoder.inspect(body), DecodedImage) else "?"
        except Refused as refused:
            return refused.status

    async def run() -> list[str]:
        async with Decoder(limits) as decoder:
            return list(await asyncio.gather(*[one(decoder, body) for body in bodies]))

    return asyncio.run(run())


def test_good_and_bad_bodies_are_told_apart() -> None:
    assert decode([GOOD, b"<html>", GOOD]) == ["ok", "not_an_image", "ok"]


def test_the_process_runs_before_anybody_asks() -> None:
    async def run() -> int:
        async with Decoder(LIMITS):
            return len(multiprocessing.active_children())

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize("evil", [b"crash", b"hang"])
def test_a_decoder_that_dies_takes_nobody_with_it(evil: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simpleseg_core.fetch._decoder._work_on", inspect_dangerously)
    assert decode([GOOD, evil, b"<html>"]) == ["ok", "decoder_died", "not_an_image"]


def test_a_decoder_has_a_memory_limit() -> None:
    large = encode(Image.new("RGBA", (7000, 7000)), "PNG")
    assert decode([large, GOOD], IngestConfig(decode_memory_mib=256)) == ["broken_image", "ok"]
