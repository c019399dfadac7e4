"""What every architecture must keep, however it is built: processor, trainer and engine see one and the same thing.

A new architecture gets all of it by being a file in the folder of architectures. One vLLM start for each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from simpleseg_core.config import LoraConfig, ModelConfig, OptimizerConfig, RatesConfig, TrainConfig
from simpleseg_core.kinds import ARCHITECTURES
from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.chat import chat_prompt, chat_text
from simpleseg_core.models.loading import checkpoint_state, load_model, load_processor, save_checkpoint
from simpleseg_core.models.nano import build_nano
from simpleseg_core.rollout import (
    EngineSettings,
    Request,
    Rollout,
    Sampling,
    forbidden_ids,
    transformers_engine,
    vllm_engine,
    write_weights,
)
from simpleseg_core.training.collate import IGNORE, Batch, Collator
from simpleseg_core.training.lora import add_adapters, merge_adapters, without_adapters
from simpleseg_core.training.parallel import blocks
from simpleseg_core.training.parts import parameters_by_part
from simpleseg_core.training.policy import AnswerTokens, Policy
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.samples import Conversation
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, curve, losses

TEMPERATURE = 0.8
GREEDY = Sampling(max_tokens=8, logprobs=True)
ANSWERS = [
    AnswerTokens(0, (10, 11, 12)),
    AnswerTokens(1, (13,)),
    AnswerTokens(0, (14, 15, 16, 17, 18)),
    AnswerTokens(2, (19, 20)),
]


def tiny(name: str) -> ModelConfig:
    """The tiny model of an architecture; two layers of vision, so that there are features of inner ones."""
    nano = TINY.nano.model_copy(update={"vision_layers": 2})
    return TINY.model_copy(update={"architecture": name, "base": "scratch", "nano": nano})


@pytest.fixture(scope="module", params=ARCHITECTURES.names())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """Each architecture in turn."""
    return tiny(request.param)


@pytest.fixture(scope="module")
def folder(config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint, with random weights."""
    path = tmp_path_factory.mktemp("conformance") / config.architecture
    save_checkpoint(*build_nano(config, seed=0), path)
    return path


@pytest.fixture(scope="module")
def settings(config: ModelConfig) -> EngineSettings:
    bounds = architecture(config.architecture).image_bounds(config.min_pixels, config.max_pixels)
    return EngineSettings(max_length=256, max_num_seqs=8, kv_cache_mib=64, image_bounds=bounds)


@pytest.fixture(scope="module")
def vllm(folder: Path, settings: EngineSettings) -> Iterator[Rollout]:
    engine = vllm_engine(str(folder), settings)
    yield engine
    engine.close()


@pytest.fixture
def policy(config: ModelConfig, folder: Path) -> Policy:
    return Policy(load_model(folder, config), load_processor(folder, config), forbidden_ids(str(folder)), TEMPERATURE)


@pytest.fixture(scope="module")
def requests_() -> list[Request]:
    """Questions of different lengths about images of different shapes: square, wide, and too large."""
    random = np.random.default_rng(0)
    sizes = [(64, 64), (48, 96), (150, 100)]
    questions = ["where", "outline of the red circle left of the box", "box of it?"]
    return [
        Request(Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)), question)
        for size, question in zip(sizes, questions, strict=True)
    ]


def encoded(processor: Any, request: Request) -> dict[str, Any]:
    return dict(processor(text=[chat_prompt(processor, request.question)], images=[request.image], return_tensors="pt"))


def test_prompts_are_the_same_tokens_in_processor_trainer_and_engine(
    vllm: Any, policy: Policy, config: ModelConfig, folder: Path, requests_: list[Request]
) -> None:
    """Image placeholders that are expanded twice, or not at all, are the commonest fault of all."""
    processor = load_processor(folder, config)
    alone = [encoded(processor, request)["input_ids"][0].tolist() for request in requests_]
    assert [row.tolist() for row in policy.encode(requests_).ids] == alone
    seen: list[list[int]] = []
    parameters = vllm._parameters(Sampling(max_tokens=1))
    for request in requests_:
        prompt = {"prompt": chat_prompt(processor, request.question), "multi_modal_data": {"image": request.image}}
        seen += [output.prompt_token_ids for output in vllm._engine.generate([prompt], parameters, use_tqdm=False)]
    assert seen == alone


def test_answers_alone_are_learned_over_several_turns(config: ModelConfig, folder: Path) -> None:
    processor = load_processor(folder, config)
    answers = ("[[[1,2],[3,4]]]", "red circle", "[]")
    talk = Conversation(Image.new("RGB", (64, 64), "red"), ("outline", "what is here", "the box"), answers)
    family = architecture(config.architecture)
    labels = Collator(processor, 512, family)([talk, talk]).labels
    learned = processor.tokenizer.decode(labels[1][labels[1] != IGNORE])
    assert learned == "".join(f"{answer}{family.chat.answer_end}" for answer in answers)


def test_packed_conversations_have_the_loss_of_each_by_itself(
    config: ModelConfig, folder: Path, requests_: list[Request]
) -> None:
    model, processor = load_model(folder, config).train(), load_processor(folder, config)
    talks = [Conversation(each.image, (each.question, "and now"), ("[[[1,2]]]", "red")) for each in requests_]
    alone, packed = (Collator(processor, 512, architecture(config.architecture), packing) for packing in (0, 512))
    batch = packed(talks)
    assert len(batch.labels) == 1
    assert loss_of(model, batch) == pytest.approx(sum(loss_of(model, alone([talk])) for talk in talks), rel=1e-5)


@torch.no_grad()
def loss_of(model: PreTrainedModel, batch: Batch) -> float:
    logits = model(**batch.inputs, use_cache=False).logits[:, :-1].flatten(0, 1)
    return float(cross_entropy(logits, batch.labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"))


def plain_logps(
    policy: Policy, processor: Any, request: Request, answer: AnswerTokens, forbidden: list[int]
) -> torch.Tensor:
    """One answer through the model's own forward pass, image and all."""
    inputs = encoded(processor, request)
    prompt, tokens = inputs["input_ids"], torch.tensor([answer.token_ids])
    inputs["input_ids"] = torch.cat([prompt, tokens], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tokens)], 1)
    logits = policy.model(**inputs).logits[0, prompt.shape[1] - 1 : -1].clone()
    logits[:, forbidden] = float("-inf")
    return (logits / TEMPERATURE).log_softmax(-1).gather(-1, tokens.T)[:, 0]


def test_images_encoded_once_give_the_logps_and_gradients_of_the_plain_pass(
    policy: Policy, config: ModelConfig, folder: Path, requests_: list[Request]
) -> None:
    processor, forbidden = load_processor(folder, config), list(forbidden_ids(str(folder)))
    weights = torch.randn(len(ANSWERS), generator=torch.Generator().manual_seed(0))

    prompts = policy.encode(requests_)
    features = policy.image_features(prompts)
    logps, mask = policy.logps(prompts, features.values, ANSWERS)
    (logps.sum(-1) @ weights).backward()
    features.backward()
    shared = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    plain = [plain_logps(policy, processor, requests_[answer.prompt], answer, forbidden) for answer in ANSWERS]
    torch.stack([row.sum() for row in plain]).dot(weights).backward()

    torch.testing.assert_close(logps[mask], torch.cat(plain), atol=1e-5, rtol=1e-4)
    for name, parameter in policy.model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(shared[name], parameter.grad, atol=2e-5, rtol=1e-3, msg=name)
    vision = architecture(config.architecture).blocks[0].removesuffix(".blocks").removesuffix(".layers")
    towers = [gradient for name, gradient in shared.items() if name.startswith(vision)]
    assert towers and all(gradient.abs().max() > 0 for gradient in towers), "some of the vision tower learns nothing"


def test_features_of_an_image_do_not_depend_on_its_company(policy: Policy, requests_: list[Request]) -> None:
    with torch.no_grad():
        together = policy.image_features(policy.encode(requests_)).values
        alone = torch.cat([policy.image_features(policy.encode([request])).values for request in requests_])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_adapters_lie_on_the_parts_that_learn_and_are_merged(
    config: ModelConfig, folder: Path, requests_: list[Request]
) -> None:
    processor, plain = load_processor(folder, config), load_model(folder, config)
    for rates, parts in (
        (RatesConfig(), {"vision", "projector", "language"}),
        (RatesConfig(vision=0), {"projector", "language"}),
    ):
        model: Any = load_model(folder, config)
        add_adapters(model, LoraConfig(rank=2), rates)
        adapters = [(part, value) for part, _, value in parameters_by_part(model) if value.requires_grad]
        assert {part for part, _ in adapters} == parts
        for _, value in adapters:
            value.data = 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
        inputs = encoded(processor, requests_[1])
        with torch.no_grad():
            laid = model.eval()(**inputs).logits
            merge_adapters(model)
            torch.testing.assert_close(model(**inputs).logits, laid, atol=1e-4, rtol=1e-3)
            assert not torch.allclose(plain.eval()(**inputs).logits, laid, atol=1e-2)
        assert without_adapters(model.state_dict()).keys() == plain.state_dict().keys()


def test_a_saved_model_is_the_model(config: ModelConfig, folder: Path) -> None:
    built, loaded = build_nano(config, seed=0)[0], load_model(folder, config)
    assert built.state_dict().keys() == loaded.state_dict().keys()
    for name, value in built.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_several_turns_are_as_likely_in_the_engine_as_in_the_trainer(
    vllm: Any, config: ModelConfig, folder: Path, requests_: list[Request]
) -> None:
    """Every token of whole conversations, the image's neighbours and the template's included."""
    model, processor = load_model(folder, config), load_processor(folder, config)
    asked = vllm._parameters(Sampling(max_tokens=1))
    asked.prompt_logprobs = 0
    for request in requests_:
        text = chat_text(processor, (request.question, "and now"), ("[[[1,2],[30,4]]]", "red"))
        prompt = {"prompt": text, "multi_modal_data": {"image": request.image}}
        [output] = vllm._engine.generate([prompt], asked, use_tqdm=False)
        inputs = processor(text=[text], images=[request.image], return_tensors="pt")
        with torch.no_grad():
            logps = model(**inputs).logits[0, :-1].log_softmax(-1)
        tokens = inputs["input_ids"][0, 1:].tolist()
        assert output.prompt_token_ids[1:] == tokens
        engine = [given[token].logprob for given, token in zip(output.prompt_logprobs[1:], tokens, strict=True)]
        assert engine == pytest.approx(logps[range(len(tokens)), tokens].tolist(), abs=1e-3)


def test_the_engine_draws_from_the_distribution_that_the_trainer_computes(
    vllm: Rollout, settings: EngineSettings, config: ModelConfig, folder: Path, requests_: list[Request], tmp_path: Path
) -> None:
    """As shipped, and again after new weights of every part have gone over: greedy token for token, and in nats."""
    reference = transformers_engine(str(folder), settings)
    for _ in range(2):
        for one, other in zip(vllm.generate(requests_, GREEDY), reference.generate(requests_, GREEDY), strict=True):
            assert one[0].token_ids == other[0].token_ids
            assert one[0].logprob == pytest.approx(other[0].logprob, abs=1e-3)
        changed = load_model(folder, config)
        with torch.no_grad():
            for parameter in changed.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        write_weights(checkpoint_state(changed, changed.state_dict()), tmp_path / "new.safetensors")
        for engine in (vllm, reference):
            engine.load_weights(tmp_path / "new.safetensors")
    drawn = vllm.generate(requests_, Sampling(max_tokens=8, temperature=TEMPERATURE, n=2, seed=0, logprobs=True))
    policy = Policy(changed, load_processor(folder, config), forbidden_ids(str(folder)), TEMPERATURE)
    answers = [AnswerTokens(index, each.token_ids) for index, group in enumerate(drawn) for each in group]
    with torch.no_grad():
        prompts = policy.encode(requests_)
        logps, _ = policy.logps(prompts, policy.image_features(prompts).values, answers)
    engine_logps = [each.logprob for group in drawn for each in group]
    assert logps.sum(-1).tolist() == pytest.approx(engine_logps, abs=1e-3)


def _run(name: str, folder: Path, work: Path, workers: int) -> SupervisedRun:
    settings = TrainConfig(
        batch_size=8,
        micro_batch_size=4,
        log_every=1,
        threads=1,
        strategy="fsdp2",
        workers=workers,
        gradient_checkpointing=workers > 1,
        optimizer=OptimizerConfig(name="muon", lr=1e-3, warmup_ratio=0),
    )
    return SupervisedRun(
        "sft", 0, 2, settings, tiny(name), str(folder / name), FourColours(), work / "model", work / "work", "same"
    )


def _worker(rank: int, folder: Path, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        for name in ARCHITECTURES.names():
            train(_run(name, folder, folder / f"{name}-two", 2), torch.device("cpu"), rank, 2)
    finally:
        dist.destroy_process_group()


def test_two_workers_that_share_a_model_take_the_steps_of_one(tmp_path: Path) -> None:
    """Sharded, with activations computed again: the same losses, gradients and weights."""
    for name in ARCHITECTURES.names():
        model, processor = build_nano(tiny(name), seed=0)
        assert len(blocks(model)) == TINY.nano.layers + 2
        save_checkpoint(model, processor, tmp_path / name)
    mp.spawn(_worker, args=(tmp_path, str(tmp_path / "store")), nprocs=2)
    for name in ARCHITECTURES.names():
        alone, two = (
            _run(name, tmp_path, tmp_path / f"{name}-one", 1),
            _run(name, tmp_path, tmp_path / f"{name}-two", 2),
        )
        train(alone, torch.device("cpu"))
        assert losses(two) == pytest.approx(losses(alone), rel=1e-3), name
        assert curve(two, "grad_norm") == pytest.approx(curve(alone, "grad_norm"), rel=1e-2), name
