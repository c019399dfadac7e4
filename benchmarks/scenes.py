"""RefShapes scenes in memory for benchmarks: as their JPEGs look, with one query each and its exact mask."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.data.outlines import row_rle
from simpleseg_core.data.shards import encode_jpeg
from simpleseg_core.geometry import Rle
from simpleseg_core.instructions.compose import prompt_rows
from simpleseg_core.instructions.labels import LabelledImage
from simpleseg_core.instructions.scenes import scene_labels
from simpleseg_core.refshapes import scene
from simpleseg_core.rollout import Request

_QUALITY = 95
"""Of the images that the pipeline trains on."""


@dataclass(frozen=True)
class Scenes:
    """One query of each scene."""

    requests: list[Request]
    truths: list[Rle]
    present: NDArray[np.bool_]
    """Whether what is asked for is there."""

    def that_are_there(self) -> "Scenes":
        """Those whose object is there."""
        kept = self.present.nonzero()[0].tolist()
        return Scenes([self.requests[i] for i in kept], [self.truths[i] for i in kept], self.present[kept])


def draw_scenes(config: Config, seed: int, indices: range, processes: int) -> Scenes:
    """Scenes of the train split under a seed."""
    draw = partial(_query, config, seed)
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        found: Sequence[tuple[Request, dict[str, Any]]] = list(pool.map(draw, indices, chunksize=64))
    present = np.array([row["targets"] > 0 for _, row in found])
    return Scenes([request for request, _ in found], [row_rle(row) for _, row in found], present)


def _query(config: Config, seed: int, index: int) -> tuple[Request, dict[str, Any]]:
    drawn = scene(config.data.refshapes, seed, "train", index)
    height, width = drawn.image.shape[:2]
    labels = scene_labels(drawn, np.random.default_rng([seed, index]))
    labelled = LabelledImage(f"{seed}-{index}", "", width, height, "", "refshapes", labels)
    (row,) = prompt_rows([labelled], config, benchmark="objectives", per_image=1)
    image = Image.open(BytesIO(encode_jpeg(drawn.image, _QUALITY))).convert("RGB")
    return Request(image, row["question"]), dict(row)
