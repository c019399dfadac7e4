"""From a mask to the polygons that say it."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._runs import mask_runs
from simpleseg_core.geometry._trace import trace
from simpleseg_core.geometry._types import Mask, Polygon
from simpleseg_core.geometry.order import order_polygons, signed_area

Holes = Literal["bridge", "drop"]


def mask_to_polygons(
    mask: Mask,
    *,
    tolerance: float = 0.005,
    max_points: int | None = None,
    min_area: float = 0.0,
    holes: Holes = "bridge",
    fit: bool = True,
) -> list[Polygon]:
    """Outline a mask (H, W) with polygons (N, 2), normalised to [0, 1] on pixel edges, clockwise on screen.

    An empty mask gives an empty list.
    """
    if not mask.any():
        return []
    height, width = mask.shape
    runs = mask_runs(mask)
    corners, offsets = trace(runs.starts, runs.rows)
    loops = [corners[a:b].astype(np.float64) for a, b in zip(offsets, offsets[1:], strict=False)]
    outer = [_simplify(loop, tolerance) for loop in loops if signed_area(loop) > max(min_area, 0)]
    inner = [_simplify(loop, tolerance) for loop in loops if signed_area(loop) < -max(min_area, 0)]
    if holes == "bridge":
        outer = _bridge_all(outer, inner)
    step = tolerance
    while max_points and sum(map(len, outer)) > max_points:
        step = max(step, 0.002) * 1.3
        outer = [_simplify(loop, step) for loop in outer]
        if step > 0.3:
            outer = sorted(outer, key=lambda p: -abs(signed_area(p)))[: max(1, max_points // 4)]
            break
    scale = np.array([width, height], np.float64)
    return order_polygons([np.round(np.clip(polygon / scale, 0, 1), 3) for polygon in outer])


def _simplify(loop: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    closed = np.roll(loop, -1, axis=0)
    perimeter = float(np.hypot(*(closed - loop).T).sum())
    points = cv2.approxPolyDP(loop.astype(np.float32).reshape(-1, 1, 2), tolerance * perimeter, True)
    simple = np.asarray(points, np.float64).reshape(-1, 2)
    return simple if len(simple) >= 3 else loop


def _bridge_all(outer: list[NDArray[np.float64]], inner: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    for hole in inner:
        inside = [
            i
            for i, ring in enumerate(outer)
            if cv2.pointPolygonTest(ring.astype(np.float32).reshape(-1, 1, 2), hole[0].tolist(), False) >= 0
        ]
        if not inside:
            continue
        i = min(inside, key=lambda i: abs(signed_area(outer[i])))
        ring = outer[i]
        distance = ((ring[:, None] - hole[None]) ** 2).sum(-1)
        a, b = np.unravel_index(int(distance.argmin()), distance.shape)
        outer[i] = np.concatenate([ring[: a + 1], hole[b:], hole[: b + 1], ring[a:]])
    return outer
