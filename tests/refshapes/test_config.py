from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from simpleseg_core.config import RefShapesConfig

_NO_KIND = dict.fromkeys(("attribute", "size", "position", "relation", "multiple", "none"), 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_radius": 0.3, "max_radius": 0.2}, "min_radius 0.3 is above max_radius 0.2: swap"),
        ({"min_radius": 0.05}, r"below min_visible 0.012: raise min_radius to 0\.104"),
        ({"photo_dir": Path("photos"), "backgrounds": "plain"}, "photographs need `backgrounds: mixed`"),
        ({"expressions": _NO_KIND}, "every weight is 0"),
        ({"expressions": {"none": -1}}, "greater than or equal to 0"),
        ({"occlusion": 1.5}, "less than or equal to 1"),
        ({"image_size": 16}, "greater than or equal to 48"),
        ({"imagesize": 96}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_cure(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RefShapesConfig(**values)


def test_smaller_shapes_are_allowed_where_less_need_be_visible() -> None:
    assert RefShapesConfig(min_radius=0.05, min_visible=0.002).min_radius == 0.05
