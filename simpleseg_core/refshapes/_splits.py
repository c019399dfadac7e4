"""What each split of RefShapes is made of; testA and testB differ from train in kind, not only in seed."""

from dataclasses import dataclass

from simpleseg_core.config.refshapes import ExpressionWeights, RefShapesConfig
from simpleseg_core.refshapes._outlines import CONVEX, INTRICATE, SHAPES

SPLITS: tuple[str, ...] = ("train", "val", "testA", "testB")


@dataclass(frozen=True, slots=True)
class Mixture:
    """The distribution scenes of one split are drawn from."""

    shapes: tuple[str, ...]
    min_objects: int
    max_objects: int
    occlusion: float
    weights: ExpressionWeights


_EASY = ExpressionWeights(attribute=0.55, size=0.15, position=0.3, relation=0, multiple=0, none=0)
_HARD = ExpressionWeights(attribute=0.2, size=0.05, position=0.1, relation=0.3, multiple=0.2, none=0.15)


def mixture(config: RefShapesConfig, split: str) -> Mixture:
    """The distribution of a split; `train/anything` is the mixture of `train` with scenes of its own.

    Raises:
        ValueError: the part before the slash is not one of `SPLITS`.
    """
    match split.partition("/")[0]:
        case "train" | "val":
            return Mixture(SHAPES, 1, config.max_objects, config.occlusion, config.expressions)
        case "testA":
            return Mixture(CONVEX, 1, config.max_objects, 0.0, _EASY)
        case "testB":
            return Mixture(CONVEX + 3 * INTRICATE, min(3, config.max_objects), config.max_objects, 0.6, _HARD)
        case _:
            raise ValueError(f"RefShapes has no split {split!r}: use one of {SPLITS}, or `train/NAME` for more scenes")
