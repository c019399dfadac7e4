"""RefShapes: a procedural referring-segmentation world with exact masks, unlimited and seeded.

| split | shapes | hidden | objects | expressions |
|---|---|---|---|---|
| train, val | all ten | in a share of scenes (`occlusion`) | 1 to `max_objects` | the configured mixture |
| testA | convex: circle, square, triangle, diamond, oval | never | 1 to `max_objects` | attribute, size, position |
| testB | mostly concave, with holes or in two parts | in most scenes | 3 to `max_objects` | all kinds, mostly hard |

A name like `train/rl` has the mixture of `train` and scenes of its own.
"""

from simpleseg_core.refshapes._backgrounds import MIN_CONTRAST
from simpleseg_core.refshapes._captions import describe, phrase
from simpleseg_core.refshapes._expressions import KINDS, VOCABULARY, Expression, Kind, Phrase, resolve
from simpleseg_core.refshapes._objects import Query, Scene, ShapeObject
from simpleseg_core.refshapes._outlines import COLORS, OUTLINES, PALETTE, SHAPES
from simpleseg_core.refshapes._scene import sample_query, scene
from simpleseg_core.refshapes._splits import SPLITS

__all__ = [
    "COLORS",
    "KINDS",
    "MIN_CONTRAST",
    "OUTLINES",
    "PALETTE",
    "SHAPES",
    "SPLITS",
    "VOCABULARY",
    "Expression",
    "Kind",
    "Phrase",
    "Query",
    "Scene",
    "ShapeObject",
    "describe",
    "phrase",
    "resolve",
    "sample_query",
    "scene",
]
