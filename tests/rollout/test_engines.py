"""Both engines answer alike, keep their promises about sampling, and take new weights."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.rollout import (
    Generator,
    Request,
    Rollout,
    Sampling,
    forbidden_ids,
    open_engine,
    transformers_engine,
    vllm_engine,
)
from simpleseg_core.rollout._vocabulary import stop_ids
from tests.rollout.conftest import SETTINGS, SHIPPED
from tests.tiny import TINY

GREEDY = Sampling(max_tokens=12, logprobs=True)
DRAWN = Sampling(max_tokens=12, temperature=1.0, n=8, seed=3, logprobs=True)


@pytest.fixture(params=["vllm", "reference"])
def engine(request: pytest.FixtureRequest) -> Rollout:
    """Each engine in turn."""
    chosen: Rollout = request.getfixturevalue(request.param)
    return chosen


def assert_same_answers(first: Rollout, second: Rollout, requests: list[Request]) -> None:
    for one, other in zip(first.generate(requests, GREEDY), second.generate(requests, GREEDY), strict=True):
        assert one[0].token_ids == other[0].token_ids
        assert one[0].logprob == pytest.approx(other[0].logprob, abs=1e-3)


def test_greedy_answers_and_their_logprobs_equal_the_reference(
    vllm: Rollout, reference: Rollout, requests_: list[Request]
) -> None:
    assert_same_answers(vllm, reference, requests_)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_sampling_defaults_of_a_checkpoint_change_no_answer(
    reference: Rollout, requests_: list[Request], tiny_checkpoint: Path, sampling: Sampling
) -> None:
    without = transformers_engine(str(tiny_checkpoint), SETTINGS)
    assert reference.generate(requests_, sampling) == without.generate(requests_, sampling)


def test_a_model_in_memory_answers_as_the_engines_do_and_keeps_its_defaults(
    reference: Rollout, requests_: list[Request], checkpoint: Path
) -> None:
    """What a probe shows during training is what evaluation will find."""
    model, processor = load_model(checkpoint, TINY), load_processor(checkpoint, TINY)
    assert Generator(model.eval(), processor).generate(requests_, GREEDY) == reference.generate(requests_, GREEDY)
    assert model.generation_config.repetition_penalty == SHIPPED["repetition_penalty"], "saved with the model"


def test_new_weights_take_effect_everywhere(
    vllm: Rollout, reference: Rollout, requests_: list[Request], tiny_checkpoint: Path
) -> None:
    """Vision, language and the tied head: a part that stayed old would show in the log-probabilities."""
    before = vllm.generate(requests_, GREEDY)
    torch.manual_seed(1)
    state = load_model(tiny_checkpoint, TINY).state_dict()
    changed = {
        name: value + 0.05 * torch.randn_like(value) if value.ndim > 1 else value for name, value in state.items()
    }
    changed["lm_head.weight"] = changed["model.language_model.embed_tokens.weight"]
    for engine in (vllm, reference):
        engine.load_weights(changed)
    assert_same_answers(vllm, reference, requests_)
    assert vllm.generate(requests_, GREEDY) != before
    for engine in (vllm, reference):
        engine.load_weights(tiny_checkpoint)
    assert vllm.generate(requests_, GREEDY) == before
    assert_same_answers(vllm, reference, requests_)


def test_same_seed_same_answers(engine: Rollout, requests_: list[Request]) -> None:
    first, again = engine.generate(requests_, DRAWN), engine.generate(requests_, DRAWN)
    other = engine.generate(requests_, Sampling(max_tokens=12, temperature=1.0, n=8, seed=4))
    assert first == again
    assert [a.token_ids for a in first[0]] != [a.token_ids for a in other[0]]


def test_every_request_gets_its_answers(engine: Rollout, requests_: list[Request]) -> None:
    answers = engine.generate(requests_, DRAWN)
    assert [len(group) for group in answers] == [8] * len(requests_)
    assert len({completion.token_ids for completion in answers[0]}) > 1
    assert engine.generate([], DRAWN) == []


def test_forbidden_tokens_are_never_sampled(engine: Rollout, requests_: list[Request], tiny_checkpoint: Path) -> None:
    """An untrained model would choose one in twenty tokens among them."""
    sampled = {token for group in engine.generate(requests_, DRAWN) for answer in group for token in answer.token_ids}
    assert not sampled & set(forbidden_ids(str(tiny_checkpoint)))


def test_constrained_answers_match_and_end_with_the_stop_token(
    engine: Rollout, requests_: list[Request], tiny_checkpoint: Path
) -> None:
    pattern = r"\[\[\[[0-9]{1,3},[0-9]{1,3}\]\]\]"
    for group in engine.generate(requests_, Sampling(max_tokens=40, temperature=1.0, n=2, seed=0, regex=pattern)):
        for answer in group:
            assert answer.finished
            assert answer.token_ids[-1] in stop_ids(str(tiny_checkpoint))
            assert re.fullmatch(pattern, answer.text)


def test_an_answer_cut_at_the_limit_is_not_finished(engine: Rollout, requests_: list[Request]) -> None:
    answer = engine.generate(requests_, Sampling(max_tokens=3))[0][0]
    assert (answer.finished, len(answer.token_ids), answer.logprob) == (False, 3, None)


def test_equal_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="raise the temperature"):
        Sampling(max_tokens=5, n=2)


def test_a_model_is_split_over_no_more_gpus_than_there_are(tiny_checkpoint: Path) -> None:
    with pytest.raises(
        ValueError, match=r"tensor_parallel is 9999, each part takes a GPU, and there are \d+: lower it"
    ):
        vllm_engine(str(tiny_checkpoint), replace(SETTINGS, tensor_parallel=9999))


def test_unknown_engine_is_named(tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="'onnx' is not one of vllm, transformers"):
        open_engine("onnx", str(tiny_checkpoint))
