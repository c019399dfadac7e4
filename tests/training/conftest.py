"""What tests of reinforcement learning share: prompts, and a model that half knows the answers."""

from pathlib import Path

import pytest
import torch

from simpleseg_core.data.records import PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore, write_shard
from simpleseg_core.models.loading import load_model, load_processor, save_checkpoint
from simpleseg_core.rollout import Request
from simpleseg_core.training.policy import AnswerTokens, Policy
from tests.tiny import TINY
from tests.training.reinforcement import PROMPT_COUNT, answer_tokens, prompt_row


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with RL prompts and one benchmark."""
    root = tmp_path_factory.mktemp("data")
    rows, pictures = zip(*(prompt_row(index) for index in range(PROMPT_COUNT)), strict=True)
    write_shard([(f"p{index}.jpg", picture) for index, picture in enumerate(pictures)], root / "images" / "rl.tar")
    write_table(rows, PROMPTS, root / "dataset" / "rl.parquet")
    write_table(rows[:2], PROMPTS, root / "dataset" / "benchmarks" / "refshapes-val.parquet")
    return root


@pytest.fixture(scope="session")
def taught(tiny_checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that half knows the answers, so that its samples differ in reward."""
    model, processor = load_model(tiny_checkpoint, TINY), load_processor(tiny_checkpoint, TINY)
    policy = Policy(model, processor, (), 1.0)
    store, rows = ImageStore(data), read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    prompts = policy.encode([Request(store.read(row["shard"], row["image"]), row["question"]) for row in rows])
    answers = [AnswerTokens(i, answer_tokens(row, processor)) for i, row in enumerate(rows)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        logps, mask = policy.logps(prompts, policy.image_features(prompts).values, answers)
        (-logps.sum() / mask.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("models") / "taught"
    save_checkpoint(model, processor, folder)
    return folder
