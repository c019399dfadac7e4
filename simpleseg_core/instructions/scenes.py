"""What can be asked about a RefShapes scene."""

from collections.abc import Mapping

import numpy as np

from simpleseg_core.config import ContourConfig, DatasetConfig, Task
from simpleseg_core.instructions.labels import Labels, Reference, Target
from simpleseg_core.instructions.pairs import Turn, draw_turns
from simpleseg_core.refshapes import COLORS, SHAPES, Phrase, Scene


def scene_labels(scene: Scene, rng: np.random.Generator) -> Labels:
    """What can be asked about a RefShapes scene: its queries, its objects, and counts of what it has and has not."""
    targets = [Target(f"{item.color} {item.shape}", item.mask, item.box, item.point) for item in scene.objects]
    references = [Reference(query.expression, query.targets, query.kind) for query in scene.queries]
    return Labels(targets, references, _scene_counts(scene, rng))


def scene_turns(
    scene: Scene,
    tasks: Mapping[Task, float],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator,
    max_turns: int,
) -> list[Turn]:
    """Up to `max_turns` different turns about a RefShapes scene, tasks drawn by weight."""
    return draw_turns(scene_labels(scene, rng), tasks, dataset, contour, rng, max_turns)


def _scene_counts(scene: Scene, rng: np.random.Generator) -> dict[str, int]:
    """Counts of phrases of the scene, and of one random phrase, which the scene mostly lacks."""
    there = [
        Phrase(),
        *(Phrase(item.color) for item in scene.objects),
        *(Phrase(None, item.shape) for item in scene.objects),
    ]
    color, shape = COLORS[int(rng.integers(len(COLORS)))], SHAPES[int(rng.integers(len(SHAPES)))]
    other = Phrase(color) if rng.random() < 0.5 else Phrase(None, shape)
    return {phrase.text(plural=True): sum(phrase.admits(item) for item in scene.objects) for phrase in (*there, other)}
