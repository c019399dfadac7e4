"""Makes one RefShapes scene from a seed: places shapes, draws them, measures what is visible, asks about it."""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.config.refshapes import RefShapesConfig
from simpleseg_core.refshapes._backgrounds import background
from simpleseg_core.refshapes._draw import PlacedShape, Stencil, paint, stencil
from simpleseg_core.refshapes._objects import Mask, Query, Scene, ShapeObject
from simpleseg_core.refshapes._outlines import COLORS, OUTLINES, PALETTE
from simpleseg_core.refshapes._queries import draw_queries
from simpleseg_core.refshapes._splits import Mixture, mixture

_GAP = 0.02
"""Free space between objects that must not touch, over the image side."""
_MARGIN = 0.01
_ATTEMPTS = 24
_MIN_SHARE = 0.6
"""An object that is partly hidden still shows this share of itself."""
_MIN_PART = 12
"""Pixels of the smallest part of a partly hidden object at 96 pixels; slivers tell nothing."""
_JITTER = 10.0
_SHARED_SHAPE = 0.35
_SHARED_COLOR = 0.3


@dataclass(slots=True, eq=False)
class _Layer:
    """A placed shape: its stencil, and the mask of its window that is still visible."""

    placement: PlacedShape
    stencil: Stencil
    visible: Mask
    full: int


def scene(config: RefShapesConfig, seed: int, split: str, index: int) -> Scene:
    """The scene with this number: the same for the same arguments, whatever was drawn before.

    Raises:
        ValueError: no such split.
    """
    rules = mixture(config, split)
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    layers = _arrange(config, rules, rng)
    placements = [layer.placement for layer in layers]
    image = background(config, [color for item in placements for color in (item.rgb, PALETTE[item.color])], rng)
    for layer in layers:
        paint(image, layer.stencil, layer.placement.rgb)
    objects = _measure(layers, config.image_size)
    queries = draw_queries(objects, rules.weights, rng)
    return Scene(np.clip(np.rint(image), 0, 255).astype(np.uint8), objects, queries)


def sample_query(scene: Scene, rng: np.random.Generator) -> Query:
    """One of the scene's queries; over many scenes the kinds follow the weights of the split."""
    return scene.queries[int(rng.integers(len(scene.queries)))]


def _arrange(config: RefShapesConfig, rules: Mixture, rng: np.random.Generator) -> list[_Layer]:
    """Layers from back to front; at least one, as many more as were drawn and fit."""
    overlap = rng.random() < rules.occlusion
    layers: list[_Layer] = []
    for _ in range(int(rng.integers(rules.min_objects, rules.max_objects + 1))):
        placement = _place(config, rules, [layer.placement for layer in layers], overlap, rng)
        if placement is not None:
            _add(layers, placement, config)
    return layers


def _place(
    config: RefShapesConfig, rules: Mixture, placed: list[PlacedShape], overlap: bool, rng: np.random.Generator
) -> PlacedShape | None:
    """A free place for one more shape, smaller if need be, or None."""
    shape, color = _attributes(rules, placed, rng)
    rgb = np.clip(np.array(PALETTE[color]) + rng.uniform(-_JITTER, _JITTER, 3), 0, 255)
    turn = OUTLINES[shape].turn
    for radius in (_radius(config, rng), config.min_radius):
        spots = rng.uniform(radius + _MARGIN, 1 - radius - _MARGIN, (_ATTEMPTS, 2))
        free = np.flatnonzero(_is_free(spots, radius, color, placed, overlap))
        if len(free):
            x, y = spots[free[0]]
            red, green, blue = rgb.tolist()
            return PlacedShape(
                shape, color, (red, green, blue), float(x), float(y), radius, float(rng.uniform(-turn, turn))
            )
    return None


def _attributes(rules: Mixture, placed: list[PlacedShape], rng: np.random.Generator) -> tuple[str, str]:
    """Shape and colour, often one that is there already: that is what makes expressions necessary."""
    shapes = [shape for shape in rules.shapes if not any(_confusable(shape, other.shape) for other in placed)]
    shape = shapes[int(rng.integers(len(shapes)))]
    color = COLORS[int(rng.integers(len(COLORS)))]
    if placed:
        same_shape, same_color = rng.random(2)
        model = placed[int(rng.integers(len(placed)))]
        shape = model.shape if same_shape < _SHARED_SHAPE and model.shape != "dots" else shape
        color = model.color if same_color < _SHARED_COLOR else color
    return shape, color


def _confusable(shape: str, other: str) -> bool:
    """Dots beside a circle or beside other dots would read as circles."""
    return (shape == "dots" and other in ("dots", "circle")) or (shape == "circle" and other == "dots")


def _radius(config: RefShapesConfig, rng: np.random.Generator) -> float:
    """Mostly from either end of the range, so that small and big are words worth saying."""
    low, high = config.min_radius, config.max_radius
    draw, end = rng.random(2)
    if end < 0.7:
        draw = draw * 0.3 if end < 0.35 else 1 - draw * 0.3
    return float(low + (high - low) * draw)


def _is_free(
    spots: NDArray[np.float64], radius: float, color: str, placed: list[PlacedShape], overlap: bool
) -> NDArray[np.bool_]:
    """Which spots (N, 2) will do; with `overlap`, objects of another colour may come close, and should if they can."""
    free = np.ones(len(spots), bool)
    near = np.zeros(len(spots), bool)
    for other in placed:
        distance = np.hypot(spots[:, 0] - other.x, spots[:, 1] - other.y)
        reach = radius + other.radius
        close = overlap and color != other.color
        free &= distance >= (0.6 * reach if close else reach + _GAP)
        near |= distance < 0.9 * reach
    return free & near if overlap and (free & near).any() else free


def _add(layers: list[_Layer], placement: PlacedShape, config: RefShapesConfig) -> None:
    """Put a shape in front of the others, unless it would hide too much of one of them."""
    side = config.image_size
    drawn = stencil(placement, side)
    solid = drawn.coverage > 0.5
    canvas = np.zeros((side, side), bool)
    canvas[drawn.window] = solid
    remaining = [layer.visible & ~canvas[layer.stencil.window] for layer in layers]
    least = config.min_visible * side**2
    if all(_is_recognisable(layer, visible, least, side) for layer, visible in zip(layers, remaining, strict=True)):
        for layer, visible in zip(layers, remaining, strict=True):
            layer.visible = visible
        layers.append(_Layer(placement, drawn, solid, int(solid.sum())))


def _is_recognisable(layer: _Layer, visible: Mask, least: float, side: int) -> bool:
    area = int(visible.sum())
    if area == int(layer.visible.sum()):
        return True
    if area < max(least, _MIN_SHARE * layer.full):
        return False
    _, _, stats, _ = cv2.connectedComponentsWithStats(visible.astype(np.uint8), connectivity=8)
    return int(stats[1:, cv2.CC_STAT_AREA].min()) >= _MIN_PART * (side / 96) ** 2


def _measure(layers: list[_Layer], side: int) -> tuple[ShapeObject, ...]:
    sizes = _size_words([layer.placement.radius for layer in layers])
    return tuple(_object(layer, size, side) for layer, size in zip(layers, sizes, strict=True))


def _size_words(radii: list[float]) -> list[str | None]:
    """ "small" near the smallest and "big" near the biggest, where these differ plainly; None between and elsewhere."""
    low, high = min(radii), max(radii)
    if high < 1.5 * low:
        return [None] * len(radii)
    return ["small" if r <= 1.1 * low else "big" if r >= high / 1.1 else None for r in radii]


def _object(layer: _Layer, size: str | None, side: int) -> ShapeObject:
    visible = layer.visible
    corner = x, y = layer.stencil.left, layer.stencil.top
    mask = np.zeros((side, side), bool)
    mask[layer.stencil.window] = visible
    area = int(visible.sum())
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    left, top, right, bottom = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    outline = OUTLINES[layer.placement.shape]
    hidden = area < layer.full
    parts, holes = _topology(visible) if hidden else (outline.parts, outline.holes)
    return ShapeObject(
        color=layer.placement.color,
        shape=layer.placement.shape,
        size=size,
        mask=mask,
        box=((left + x) / side, (top + y) / side, (right + x) / side, (bottom + y) / side),
        point=_inner_point(visible, corner, side),
        center=_centroid(visible, corner, side),
        radius=layer.placement.radius,
        area=area / side**2,
        occluded=hidden,
        parts=parts,
        holes=holes,
    )


def _inner_point(visible: Mask, corner: tuple[int, int], side: int) -> tuple[float, float]:
    """Centre of the pixel farthest from the background."""
    padded = np.pad(visible.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
    row, column = divmod(int(depth.argmax()), padded.shape[1])
    return (column - 0.5 + corner[0]) / side, (row - 0.5 + corner[1]) / side


def _centroid(visible: Mask, corner: tuple[int, int], side: int) -> tuple[float, float]:
    moments = cv2.moments(visible.view(np.uint8), binaryImage=True)
    x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    return (x + 0.5 + corner[0]) / side, (y + 0.5 + corner[1]) / side


def _topology(visible: Mask) -> tuple[int, int]:
    """Parts and holes of a mask: parts hang together by 8 neighbours, so holes do by 4."""
    parts = cv2.connectedComponents(visible.astype(np.uint8), connectivity=8)[0] - 1
    outside = cv2.connectedComponents(np.pad(~visible, 1, constant_values=True).astype(np.uint8), connectivity=4)[0] - 1
    return parts, outside - 1
