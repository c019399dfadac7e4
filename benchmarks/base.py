"""Train a profile's `pretrain` stage in this process, without Ray, and measure the model on scenes of another seed.

For a machine that has PyTorch and a GPU and nothing else of the pipeline; the stage itself trains on a GPU too.

    python -m benchmarks.base --profile nano_base_gpu --out results
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.config.files import load_profile
from simpleseg_core.grammar import question
from simpleseg_core.metrics import score_sample
from simpleseg_core.refshapes import sample_query, scene
from simpleseg_core.rollout import EngineSettings, Request, Sampling
from simpleseg_core.rollout._transformers import TransformersEngine
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.samples import SceneStream
from simpleseg_core.training.supervised import train

_HELD_OUT = 10_000
"""A seed that neither a benchmark nor a training run has."""


def main() -> None:
    arguments = _arguments()
    config = load_profile(arguments.profile)
    settings = config.pretrain.model_copy(update={"loader_workers": arguments.loader_workers})
    config = config.model_copy(update={"pretrain": settings})
    steps = arguments.steps or settings.steps
    if steps is None:
        raise SystemExit(f"{arguments.profile}: no number of steps; give --steps")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    start = arguments.base or config.model.base
    began = time.perf_counter()
    train(_run(config, start, steps, arguments.out), device)
    print(f"{steps} steps of {settings.batch_size} in {time.perf_counter() - began:.0f} s", flush=True)
    for model in (start, str(arguments.out / "model")):
        if model != "scratch":
            print(_row(model, *measure(model, config, arguments.queries)), flush=True)


def measure(model: str, config: Config, queries: int) -> tuple[float, float, float, float, float]:
    """gIoU, IoU of outlines that are there, share of absent objects answered `[]` and of present ones, seconds."""
    scenes = [scene(config.data.refshapes, _HELD_OUT, "val", index) for index in range(queries)]
    rng = np.random.default_rng(_HELD_OUT)
    asked = [sample_query(each, rng) for each in scenes]
    engine = TransformersEngine(model, EngineSettings(max_num_seqs=400))
    requests = [
        Request(Image.fromarray(each.image), question("text->mask", expression=query.expression))
        for each, query in zip(scenes, asked, strict=True)
    ]
    began = time.perf_counter()
    answers = engine.generate(requests, Sampling(max_tokens=160))
    seconds = time.perf_counter() - began
    scores = [score_sample(found[0].text, query.mask) for found, query in zip(answers, asked, strict=True)]
    iou = np.array([each.iou for each in scores])
    empty, absent = np.array([each.predicted_empty for each in scores]), np.array([each.truth_empty for each in scores])
    return iou.mean(), iou[~absent].mean(), empty[absent].mean(), empty[~absent].mean(), seconds


def _run(config: Config, start: str, steps: int, out: Path) -> SupervisedRun:
    train_config = config.pretrain
    scenes = SceneStream(
        config.data.refshapes,
        train_config.curriculum,
        config.dataset,
        config.contour,
        steps * train_config.batch_size,
        config.seed,
    )
    return SupervisedRun(
        "pretrain",
        config.seed,
        steps,
        train_config,
        config.model,
        start,
        scenes,
        out / "model",
        out / "work",
        "base",
    )


def _row(model: str, giou: float, there: float, refused: float, missed: float, seconds: float) -> str:
    return (
        f"{model}: gIoU {giou:.3f}, objects that are there {there:.3f}, `[]` for absent {refused:.2f}, "
        f"for present {missed:.2f}, {seconds:.0f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="nano_base_gpu")
    parser.add_argument("--base", help="folder of the model to start from; the profile's where it is not given")
    parser.add_argument("--steps", type=int, help="the profile's where it is not given")
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--queries", type=int, default=1200)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
