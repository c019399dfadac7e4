"""Images that other stages keep, named by their content."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from simpleseg_core.data.shards import ImageStore
from simpleseg_core.instructions.labels import LabelledImage


def pinned(images: Iterable[LabelledImage], store: ImageStore) -> Iterator[LabelledImage]:
    """The images with the sha256 of their bytes in the store: tables of them change when their pixels do."""
    for image in images:
        yield replace(image, pixels=store.digest(image.shard, image.image))
