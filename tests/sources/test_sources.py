"""Every value of `data.source` is a file of this room."""

from typing import get_args

from simpleseg_core.config.data import Source as SourceName
from simpleseg_core.sources import Source, source


def test_every_source_is_found_by_its_name() -> None:
    found = {name: source(name) for name in get_args(SourceName)}
    assert all(isinstance(each, Source) for each in found.values())
    assert {name for name, each in found.items() if each.gold is None} == {"web"}
