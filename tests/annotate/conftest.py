"""The image that the tests of the engines use."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """40 x 60 pixels of noise."""
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
