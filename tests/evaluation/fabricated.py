"""Benchmarks of real RefShapes scenes, and predictions of imaginary models that see them more or less well."""

from pathlib import Path
from typing import Any

import numpy as np

from simpleseg_core.config import RefShapesConfig
from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.records import PREDICTIONS, PROMPTS, write_table
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.evaluation.answers import Answer, score_answer
from simpleseg_core.geometry import encode_rle, mask_box, mask_to_polygons
from simpleseg_core.grammar import format_polygons, question
from simpleseg_core.refshapes import sample_query, scene

BLUR = {"base": 0.2, "sft": 0.04, "rl": 0.015}
"""Standard deviation of the places that each imaginary model writes."""


def write_benchmark(
    data: Path, split: str, count: int, seed: int = 0, config: RefShapesConfig | None = None
) -> list[dict[str, Any]]:
    """PROMPTS in `data/dataset/benchmarks/refshapes-SPLIT.parquet`, images in a shard beside."""
    rng = np.random.default_rng(seed)
    rows, images = [], []
    for index in range(count):
        world = scene(config or RefShapesConfig(), seed, split, index)
        query = sample_query(world, rng)
        box = mask_box(query.mask)
        images.append((f"{index:05d}.jpg", encode_jpeg(world.image)))
        rows.append(
            {
                "sample": f"{split}-{index}",
                "image": f"{index:05d}",
                "shard": f"dataset/images/{split}-00000.tar",
                "width": world.image.shape[1],
                "height": world.image.shape[0],
                "benchmark": f"refshapes/{split}",
                "expression": query.expression,
                "kind": query.kind,
                "question": question("text->mask", expression=query.expression),
                "task": "text->mask",
                "targets": len(query.targets),
                "rle_counts": encode_rle(query.mask)["counts"],
                "box": None if box is None else box.tolist(),
            }
        )
    write_shard(images, data / "dataset" / "images" / f"{split}-00000.tar")
    write_table(rows, PROMPTS, data / "dataset" / "benchmarks" / f"refshapes-{split}.parquet")
    return rows


def write_predictions(data: Path, prompts: list[dict[str, Any]], model: str, seed: int = 0) -> list[dict[str, Any]]:
    """PREDICTIONS of an imaginary model: the truth, moved and jittered; the base sometimes writes nonsense."""
    rng = np.random.default_rng(seed)
    rows = []
    for prompt in prompts:
        mask = row_mask(prompt)
        shift = rng.normal(0, BLUR[model], 2)
        polygons = [
            np.clip(each + shift + rng.normal(0, BLUR[model] / 4, each.shape), 0, 1)
            for each in mask_to_polygons(mask, tolerance=0.01)
        ]
        text = "no idea [[" if model == "base" and rng.random() < 0.1 else format_polygons(polygons)
        rows.append(score_answer(prompt, model, Answer(text, len(text) // 2)))
    name = prompts[0]["benchmark"].replace("/", "-")
    write_table(rows, PREDICTIONS, data / "predictions" / model / f"{name}.parquet")
    return rows
