"""Engines share the requests of a call in parts that do not depend on how many engines there are."""

from dataclasses import replace
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from simpleseg_core.rollout import Request, Sampling
from simpleseg_core.training.rl_engines import share_out

IMAGE = Image.new("RGB", (4, 4))
DRAWN = Sampling(max_tokens=4, temperature=1.0, n=2, seed=7)


@given(count=st.integers(0, 40), at_once=st.integers(1, 9))
def test_every_request_is_asked_once_in_order(count: int, at_once: int) -> None:
    requests = [Request(IMAGE, str(number)) for number in range(count)]
    parts = share_out(requests, DRAWN, at_once)
    assert list(chain.from_iterable(part.requests for part in parts)) == requests
    assert [requests[part.first] for part in parts] == [part.requests[0] for part in parts]
    assert all(len(part.requests) <= at_once for part in parts)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 40), at_once=st.integers(1, 9))
def test_every_part_has_a_seed_of_its_own_and_the_same_in_every_run(seed: int, count: int, at_once: int) -> None:
    """With one seed for all, the same prompt in two parts would give the same group twice."""
    requests, sampling = [Request(IMAGE, "where")] * count, replace(DRAWN, seed=seed)
    settings = [part.sampling for part in share_out(requests, sampling, at_once)]
    assert settings[0].seed == seed
    assert len({each.seed for each in settings}) == len(settings)
    assert settings == [part.sampling for part in share_out(requests, sampling, at_once)]
    assert {replace(each, seed=seed) for each in settings} == {sampling}


def test_without_a_seed_no_part_has_one() -> None:
    parts = share_out([Request(IMAGE, "where")] * 3, replace(DRAWN, seed=None), 1)
    assert [part.sampling.seed for part in parts] == [None] * 3
