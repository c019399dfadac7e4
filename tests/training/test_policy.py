"""Log-probabilities with images encoded once are those of the plain forward pass, and so are their gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from simpleseg_core.models.chat import chat_prompt
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.rollout import Request
from simpleseg_core.training.policy import AnswerTokens, Policy
from tests.tiny import TINY

FORBIDDEN = (5, 6)
TEMPERATURE = 0.8
ANSWERS = [
    AnswerTokens(0, (10, 11, 12)),
    AnswerTokens(1, (13,)),
    AnswerTokens(0, (14, 15, 16, 17, 18)),
    AnswerTokens(1, (19, 20)),
]


@pytest.fixture(scope="module")
def requests_() -> list[Request]:
    """Two questions of different lengths about images of different shapes."""
    random = np.random.default_rng(0)
    sizes = [(64, 64), (48, 96)]
    images = [Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]
    return [Request(images[0], "where"), Request(images[1], "outline of the red circle left of the box")]


@pytest.fixture
def policy(tiny_checkpoint: Path, request: pytest.FixtureRequest) -> Policy:
    model, processor = load_model(tiny_checkpoint, TINY), load_processor(tiny_checkpoint, TINY)
    return Policy(model, processor, FORBIDDEN, TEMPERATURE, images_at_once=getattr(request, "param", 32))


def plain_logps(policy: Policy, processor: Any, request: Request, answer: AnswerTokens) -> torch.Tensor:
    """One answer through the model's own forward pass, image and all."""
    inputs = dict(
        processor(text=[chat_prompt(processor, request.question)], images=[request.image], return_tensors="pt")
    )
    prompt, tokens = inputs["input_ids"], torch.tensor([answer.token_ids])
    inputs["input_ids"] = torch.cat([prompt, tokens], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tokens)], 1)
    logits = policy.model(**inputs).logits[0, prompt.shape[1] - 1 : -1].clone()
    logits[:, list(FORBIDDEN)] = float("-inf")
    return (logits / TEMPERATURE).log_softmax(-1).gather(-1, tokens.T)[:, 0]


@pytest.mark.parametrize("policy", [32, 1], ids=["together", "one at a time"], indirect=True)
def test_logps_and_gradients_equal_the_plain_forward_pass(
    policy: Policy, requests_: list[Request], tiny_checkpoint: Path
) -> None:
    processor = load_processor(tiny_checkpoint, TINY)
    weights = torch.randn(len(ANSWERS), generator=torch.Generator().manual_seed(0))

    prompts = policy.encode(requests_)
    features = policy.image_features(prompts)
    logps, mask = policy.logps(prompts, features.values, ANSWERS)
    (logps.sum(-1) @ weights).backward()
    features.backward()
    shared = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    policy.model.zero_grad()

    plain = [plain_logps(policy, processor, requests_[answer.prompt], answer) for answer in ANSWERS]
    torch.stack([row.sum() for row in plain]).dot(weights).backward()

    assert mask.sum(-1).tolist() == [len(answer.token_ids) for answer in ANSWERS]
    torch.testing.assert_close(logps[mask], torch.cat(plain), atol=1e-5, rtol=1e-4)
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(shared[name], parameter.grad, atol=1e-5, rtol=1e-3, msg=name)
    assert any(gradient.abs().max() > 0 for name, gradient in shared.items() if "visual" in name)


def test_company_in_a_batch_changes_nothing(policy: Policy, requests_: list[Request]) -> None:
    prompts = policy.encode(requests_)
    with torch.no_grad():
        features = policy.image_features(prompts).values
        together, mask = policy.logps(prompts, features, ANSWERS)
        for row, keep, answer in zip(together, mask, ANSWERS, strict=True):
            alone, _ = policy.logps(prompts, features, [answer])
            torch.testing.assert_close(row[keep], alone[0], atol=1e-5, rtol=1e-4)
            assert row[~keep].abs().sum() == 0
