"""Where images and expressions come from: one file a source, found by its name."""

from importlib import import_module
from typing import cast

from simpleseg_core.config.data import Source as SourceName
from simpleseg_core.sources._protocol import Gold, Images, Opened, Source

__all__ = ["Gold", "Images", "Opened", "Source", "source"]


def source(name: SourceName) -> Source:
    """The source of a name: `SOURCE` of the file that is called so."""
    return cast(Source, import_module(f"simpleseg_core.sources.{name}").SOURCE)
