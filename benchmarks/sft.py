"""Our supervised training against TRL's SFTTrainer: seconds a step and peak memory, on the same model and rows.

    pip install --no-deps --target FOLDER trl==1.16.0 datasets dill multiprocess xxhash
    python -m benchmarks.sft --trl FOLDER

Both fine-tune the nano base in float32 with AdamW, 64 conversations a step in the same order, two threads, images as
JPEGs in memory, the loss on answers only, no checkpoints; each in a process of its own, in turns. Micro-batches of
either are of the sizes given, and the best of each is compared. Mean losses are printed, for both must learn the same.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.usage import measure
from simpleseg_core.config import Config, OptimizerConfig, Phase, TrainConfig
from simpleseg_core.config.files import load_profile
from simpleseg_core.data.shards import encode_jpeg
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.samples import Conversation, SceneStream

BATCH = 64
_WARM = 2
"""Steps that are not timed."""
_OPTIMIZER = OptimizerConfig(name="adamw", lr=1e-4, min_lr=1e-4, warmup_ratio=0, weight_decay=0.05, betas=(0.9, 0.95))


@dataclass(frozen=True)
class Rows:
    """Conversations with their images encoded, by number."""

    jpegs: Sequence[bytes]
    talks: Sequence[tuple[str, str]]

    def __getitem__(self, index: int) -> Conversation:
        question, answer = self.talks[index]
        return Conversation(Image.open(BytesIO(self.jpegs[index])).convert("RGB"), (question,), (answer,))

    def held(self, index: int) -> Conversation:
        return self[index]


@dataclass(frozen=True)
class Trial:
    """One way to train."""

    trainer: str
    micro_batch: int
    packing: int = 0


@dataclass(frozen=True)
class Measured:
    seconds: float
    """Of a step, the median."""
    peak_mib: float
    loss: float
    """Mean over the steps."""


def draw_rows(config: Config, count: int) -> Rows:
    """A question and its answer about each of `count` fresh scenes: of longer talks TRL would learn the last answer."""
    phase = Phase(tasks={"text->mask": 1.0}, max_turns=1)
    scenes = SceneStream(config.data.refshapes, (phase,), config.dataset, config.contour, count, config.seed)
    drawn = [scenes[index] for index in range(count)]
    jpegs = [encode_jpeg(np.asarray(each.image), quality=95) for each in drawn]
    return Rows(jpegs, [(each.questions[0], each.answers[0]) for each in drawn])


def train_ours(config: Config, trial: Trial, rows: Rows, steps: int, work: Path) -> tuple[list[float], float]:
    """Times at which steps begin, and the mean loss."""
    import torch

    from simpleseg_core.training.supervised import train

    settings = TrainConfig(
        batch_size=BATCH,
        micro_batch_size=trial.micro_batch,
        packing=trial.packing,
        optimizer=_OPTIMIZER,
        noise_every=0,
        log_every=1,
        checkpoint_every=10**9,
        loader_workers=0,
    )
    run = SupervisedRun(
        "sft", 0, steps, settings, config.model, config.model.base, rows, work / "model", work, "benchmark"
    )
    begins = list[float]()

    def beat(step: int, doing: str) -> None:
        if doing == "learning":
            begins.append(time.perf_counter())

    train(run, torch.device("cuda" if torch.cuda.is_available() else "cpu"), beat=beat)
    lines = (work / "events.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [line["metrics"]["loss"] for line in map(json.loads, lines) if "loss" in line.get("metrics", {})]
    return begins, sum(losses) / len(losses)


def train_trl(config: Config, trial: Trial, rows: Rows, steps: int, work: Path) -> tuple[list[float], float]:
    """The same by TRL."""
    import datasets
    import torch
    from transformers import AutoModelForImageTextToText, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from simpleseg_core.models.loading import load_processor

    begins = list[float]()

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            begins.append(time.perf_counter())

    talks = [
        {
            "images": [{"bytes": jpeg, "path": None}],
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for jpeg, (question, answer) in zip(rows.jpegs, rows.talks, strict=True)
    ]
    data = datasets.Dataset.from_list(talks).cast_column("images", datasets.List(datasets.Image()))
    settings = SFTConfig(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=trial.micro_batch,
        gradient_accumulation_steps=BATCH // trial.micro_batch,
        optim="adamw_torch",
        learning_rate=_OPTIMIZER.lr,
        lr_scheduler_type="constant",
        weight_decay=_OPTIMIZER.weight_decay,
        adam_beta1=_OPTIMIZER.betas[0],
        adam_beta2=_OPTIMIZER.betas[1],
        max_grad_norm=_OPTIMIZER.grad_clip,
        train_sampling_strategy="sequential",
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
    )
    model = AutoModelForImageTextToText.from_pretrained(config.model.base)
    processor = load_processor(config.model.base, config.model)
    trainer = SFTTrainer(model, settings, train_dataset=data, processing_class=processor, callbacks=[Clock()])
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return begins, sum(losses) / len(losses)


def child(trial: Trial, steps: int, work: Path) -> None:
    """Train one way; write the median seconds and the loss."""
    import torch

    torch.set_num_threads(2)
    config = load_profile("nano")
    rows = draw_rows(config, BATCH * steps)
    begins, loss = (train_ours if trial.trainer == "ours" else train_trl)(config, trial, rows, steps, work)
    seconds = median(np.diff(begins[_WARM:]))
    (work / "measured.json").write_text(json.dumps([seconds, loss]), encoding="utf-8")


def run(trial: Trial, steps: int) -> Measured:
    """One way in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        command = [sys.executable, "-m", "benchmarks.sft", "--child", json.dumps(asdict(trial))]
        used = measure(trial.trainer, [*command, "--steps", str(steps), "--work", name], work / "log")
        seconds, loss = json.loads((work / "measured.json").read_text(encoding="utf-8"))
        return Measured(seconds, used.peak_mib, loss)


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        child(Trial(**json.loads(arguments.child)), arguments.steps, arguments.work)
        return
    sys.path.append(str(arguments.trl))
    os.environ["PYTHONPATH"] = str(arguments.trl)
    trials = [
        *(Trial("TRL", size) for size in arguments.micro_batches),
        *(Trial("ours", size) for size in arguments.micro_batches),
        *(Trial("ours", size, arguments.packing) for size in arguments.micro_batches),
    ]
    found: dict[Trial, list[Measured]] = {trial: [] for trial in trials}
    for number in range(arguments.rounds):
        for trial in trials:
            found[trial].append(run(trial, arguments.steps))
            print(f"round {number + 1}: {trial}: {found[trial][-1]}", file=sys.stderr, flush=True)
    _print_table(found)


def _print_table(found: dict[Trial, list[Measured]]) -> None:
    fastest = min(min(each.seconds for each in rounds) for trial, rounds in found.items() if trial.trainer == "TRL")
    print("| trainer | micro-batch | packing | s a step | x TRL's best | peak memory, MiB | mean loss |")
    print("|---|---|---|---|---|---|---|")
    for trial, rounds in found.items():
        best = min(each.seconds for each in rounds)
        peak, loss = max(each.peak_mib for each in rounds), rounds[0].loss
        names = f"| {trial.trainer} | {trial.micro_batch} | {trial.packing or ''} "
        print(f"{names}| {best:.2f} | {fastest / best:.2f} | {peak:.0f} | {loss:.4f} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", type=Path, help="the folder into which TRL was installed")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2, help="of all trials in turns; the best of each counts")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--packing", type=int, default=512, help="tokens of a packed row")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
