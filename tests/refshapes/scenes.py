"""Hypothesis strategies for scenes, and a reader of expressions that shares no code with the generator."""

import re
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from simpleseg_core.config import RefShapesConfig
from simpleseg_core.refshapes import COLORS, SHAPES, SPLITS, Scene, ShapeObject, scene

CONFIG = RefShapesConfig()


@st.composite
def scenes(draw: st.DrawFn, splits: Sequence[str] = SPLITS, config: RefShapesConfig = CONFIG) -> Scene:
    """Any scene of some splits."""
    return scene(config, draw(st.integers(0, 2**31)), draw(st.sampled_from(splits)), draw(st.integers(0, 2**20)))


def read_expression(text: str, objects: Sequence[ShapeObject]) -> set[int]:
    """The objects a person would take the words to mean, judged from what is visible."""
    if found := re.fullmatch(r"(.+) (left of|right of|above|below) the (.+)", text):
        (anchor,) = _named(found[3], objects)
        named = _named(found[1], objects) - {anchor}
        return {i for i in named if _stands(found[2], _centre(objects[i]), _centre(objects[anchor]))}
    if found := re.fullmatch(r"(.+) at the (top|bottom)", text):
        choose = min if found[2] == "top" else max
        return {choose(_named(found[1], objects), key=lambda i: _centre(objects[i])[1])}
    if found := re.fullmatch(r"(leftmost|rightmost|biggest|smallest) (.+)", text):
        choose = min if found[1] in ("leftmost", "smallest") else max
        by_place = found[1].endswith("most")
        return {
            choose(
                _named(found[2], objects),
                key=lambda i: _centre(objects[i])[0] if by_place else objects[i].mask.sum(),
            )
        }
    return _named(text.removeprefix("all "), objects)


def _named(phrase: str, objects: Sequence[ShapeObject]) -> set[int]:
    words = phrase.split()
    nouns = {name: name for name in SHAPES} | {"crosses": "cross"} | {f"{name}s": name for name in SHAPES}
    colors = [word for word in words if word in COLORS]
    shapes = [nouns[word] for word in words if word in nouns]
    found = {i for i, item in enumerate(objects) if colors in ([], [item.color]) and shapes in ([], [item.shape])}
    if "small" in words:
        return {min(found, key=lambda i: objects[i].radius)}
    if "big" in words:
        return {max(found, key=lambda i: objects[i].radius)}
    return found


def _centre(item: ShapeObject) -> tuple[float, float]:
    rows, columns = np.nonzero(item.mask)
    return float(columns.mean()), float(rows.mean())


def _stands(relation: str, item: tuple[float, float], anchor: tuple[float, float]) -> bool:
    return {
        "left of": item[0] < anchor[0],
        "right of": item[0] > anchor[0],
        "above": item[1] < anchor[1],
        "below": item[1] > anchor[1],
    }[relation]
