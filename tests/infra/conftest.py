"""The folder `infra/` of the checkout."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def infra(repository: Path) -> Path:
    return repository / "infra"
