"""Write `trl_values.json`: losses and gradients by TRL's own trainers, on random answers. TRL is not installed with us.

    pip install --no-deps --target FOLDER trl==1.16.0 datasets dill multiprocess xxhash
    python tests/training/objectives/write_trl_values.py FOLDER

TRL's `_compute_loss` runs as it is, in float64, on a trainer that has nothing but what this method reads: its policy
gives back log-probabilities that are the inputs. Its advantages are not compared: TRL divides by the deviation of a
sample (n - 1) plus 1e-4, ours by that of the group (n).
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

MAX_TOKENS = 12
CASES: dict[str, dict[str, Any]] = {
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
    "luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
    "grpo": {"loss_type": "grpo", "epsilon_low": 0.2, "epsilon_high": 0.2},
    "dr_grpo": {"loss_type": "dr_grpo", "epsilon_low": 0.2, "epsilon_high": 0.2},
    "sapo": {"loss_type": "sapo"},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    "gmpo": {"epsilon_low": 0.4, "epsilon_high": 0.4},
    "kl": {"loss_type": "grpo", "epsilon_low": 3e-4, "epsilon_high": 4e-4, "beta": 0.5},
}
"""Settings of TRL's trainer under the names of our objectives; `kl` is GSPO with the KL term."""


class _Alone:
    """An accelerator of one process, for the metrics that the method logs."""

    num_processes = 1
    sync_gradients = True

    def gather(self, value: Any) -> Any:
        return value

    def reduce(self, value: Any, reduction: str) -> Any:
        return value


def trainer(logps: torch.Tensor, case: dict[str, Any]) -> Any:
    """What `_compute_loss` reads of a trainer."""
    settings = {"loss_type": "grpo", "importance_sampling_level": "token", "beta": 0.0, "epsilon_low": 0.2,
                "epsilon_high": 0.2, **case}  # fmt: skip
    if "beta" in case:
        settings["importance_sampling_level"] = "sequence"
    taus = torch.tensor([1.0, 1.05], dtype=torch.float64)  # plain numbers would be float32 between the two
    arguments = SimpleNamespace(
        delta=None, use_bias_correction_kl=False, sapo_temperature_pos=taus[0], sapo_temperature_neg=taus[1],
        steps_per_generation=1,
    )  # fmt: skip
    return SimpleNamespace(
        **settings, args=arguments, model=SimpleNamespace(training=True), accelerator=_Alone(),
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
        _metrics={"train": defaultdict(list)}, aux_loss_enabled=False, top_entropy_quantile=1.0,
        off_policy_mask_threshold=None, use_vllm=False, vllm_importance_sampling_correction=False,
        current_gradient_accumulation_steps=1, max_completion_length=MAX_TOKENS, _entropy_bonus_enabled=False,
    )  # fmt: skip


def drawn(seed: int, shift: float, size: int = 6, longest: int = 6) -> dict[str, Any]:
    """Answers of 1 to 6 tokens, off-policy by about `shift` a token."""
    random = np.random.default_rng(seed)
    old = -4 * random.random((size, longest))
    lengths = random.integers(1, longest + 1, size)
    return {
        "old_logps": old, "logps": old + shift * random.standard_normal((size, longest)),
        "reference": old + 0.1 * random.standard_normal((size, longest)),
        "mask": np.arange(longest) < lengths[:, None], "advantages": random.standard_normal(size),
    }  # fmt: skip


def by_trl(name: str, batch: dict[str, Any]) -> dict[str, Any]:
    """TRL's loss of a batch, and its gradient with respect to the log-probabilities."""
    from trl import GRPOTrainer
    from trl.experimental.gmpo import GMPOTrainer

    kind = GMPOTrainer if name == "gmpo" else GRPOTrainer
    logps = torch.tensor(batch["logps"], requires_grad=True)
    mask = torch.tensor(batch["mask"], dtype=torch.float64)
    tokens = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": tokens, "prompt_mask": tokens, "completion_ids": tokens, "completion_mask": mask,
        "advantages": torch.tensor(batch["advantages"]), "old_per_token_logps": torch.tensor(batch["old_logps"]),
        "ref_per_token_logps": torch.tensor(batch["reference"]), "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    loss = kind._compute_loss(trainer(logps, CASES[name]), None, inputs)
    loss.backward()
    assert logps.grad is not None
    return {"loss": loss.item(), "gradient": logps.grad.tolist()}


def main(folder: str) -> None:
    sys.path.append(folder)  # behind our own packages, torch and transformers among them
    import trl

    batches = {"near": drawn(0, 3e-4), "far": drawn(1, 0.5)}
    written = {
        "trl": trl.__version__,
        "max_tokens": MAX_TOKENS,
        "batches": {name: {key: value.tolist() for key, value in batch.items()} for name, batch in batches.items()},
        "values": {case: {name: by_trl(case, batch) for name, batch in batches.items()} for case in CASES},
    }
    Path(__file__).with_name("trl_values.json").write_text(json.dumps(written) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
