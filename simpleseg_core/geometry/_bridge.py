"""Joining a hole to the ring around it by a bridge: two coincident edges that fill nothing."""

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled
from simpleseg_core.geometry._simple import Points, segments_meet


@compiled
def _is_visible(walls: NDArray[np.int64], ax: int, ay: int, bx: int, by: int) -> bool:
    """Whether the segment a-b meets no wall but those that end at a or b."""
    for i in range(len(walls)):
        cx, cy, dx, dy = walls[i]
        at_a = (cx == ax and cy == ay) or (dx == ax and dy == ay)
        at_b = (cx == bx and cy == by) or (dx == bx and dy == by)
        if not at_a and not at_b and segments_meet(ax, ay, bx, by, cx, cy, dx, dy):
            return False
    return True


@compiled
def _nearest_pair(ring: Points, hole: Points, walls: NDArray[np.int64]) -> tuple[int, int]:
    """Indices of the closest vertices of ring and hole that see each other; (-1, -1) when none do."""
    best = np.iinfo(np.int64).max
    found = (-1, -1)
    for i in range(len(ring)):
        for j in range(len(hole)):
            dx, dy = ring[i, 0] - hole[j, 0], ring[i, 1] - hole[j, 1]
            distance = dx * dx + dy * dy
            if distance < best and _is_visible(walls, ring[i, 0], ring[i, 1], hole[j, 0], hole[j, 1]):
                best = distance
                found = (i, j)
    return found


def _edges(points: Points) -> NDArray[np.int64]:
    return np.hstack([points, np.concatenate([points[1:], points[:1]])])


_MANY = 3000
_MANY_HOLES = 64
_MANY_LOOKS = 200_000


def bridge(ring: Points, holes: list[Points]) -> Points:
    """One ring (K, 2) out of a clockwise ring and the counter-clockwise holes in it, each bridged where it is nearest.

    Past a few thousand vertices bridges may cross each other: that fills nothing either, and looking costs too much. In
    noise each hole is bridged to the one before it.
    """
    walls = np.concatenate([_edges(part) for part in (ring, *holes)])
    holes = sorted(holes, key=lambda hole: (int(hole[:, 0].min()), int(hole[:, 1].min())))
    if len(holes) > _MANY_HOLES and len(holes) * len(walls) > _MANY_LOOKS:
        return _chained(ring, holes)
    if len(walls) > _MANY:
        walls = walls[:0]
    for hole in holes:
        i, j = _nearest_pair(ring, hole, walls)
        if i < 0:
            i, j = _nearest_pair(ring, hole, walls[:0])
        if len(walls):
            walls = np.concatenate([walls, np.hstack([ring[i], hole[j]])[None]])
        joined = np.concatenate([ring[: i + 1], hole[j:], hole[: j + 1], ring[i:]])
        ring = joined[(joined != np.concatenate([joined[-1:], joined[:-1]])).any(axis=1)]
    return ring


def _chained(ring: Points, holes: list[Points]) -> Points:
    """One ring through the first vertex of every hole in turn, and back the same way."""
    there = [part for hole in holes for part in (hole, hole[:1])]
    back = [hole[:1] for hole in holes[-2::-1]]
    return np.concatenate([ring, ring[:1], *there, *back])
