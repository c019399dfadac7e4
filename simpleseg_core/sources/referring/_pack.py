"""The images of referring sets on their way into shards: each once, however many sets ask about it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from simpleseg_core.data.perceptual_hash import draft, phash
from simpleseg_core.data.pixels import open_image, upright_rgb, upright_size
from simpleseg_core.data.shards import write_shard
from simpleseg_core.sources.referring._sets import ReferringImage, StoredImage

_SHARD_SIZE = 500


@dataclass(frozen=True, slots=True)
class PackedImage:
    """An image of a referring set, in a shard."""

    shard: str
    width: int
    height: int
    phash: str


def pack_pictures(
    images: Iterable[ReferringImage], folder: Path, advance: Callable[[], None] = lambda: None
) -> dict[str, PackedImage]:
    """Write each image once to shards `folder/images/referring-00000.tar`, bytes as they are; key -> where it lies.

    Raises:
        FileNotFoundError: files are missing; said before anything is written.
        ValueError: a file is no image.
    """
    pictures: dict[str, StoredImage] = {}
    for image in images:
        pictures.setdefault(image.key, image.picture)
    missing = [str(picture) for picture in pictures.values() if not picture.exists()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: no such image; {len(missing)} of {len(pictures)} images of data.referring are missing: "
            "set `images` of the set to their folder (docs/datasets.md), then `simpleseg data check`"
        )
    packed: dict[str, PackedImage] = {}
    for number, start in enumerate(range(0, len(pictures), _SHARD_SIZE)):
        part = dict(islice(pictures.items(), start, start + _SHARD_SIZE))
        tar = folder / "images" / f"referring-{number:05d}.tar"
        write_shard(_members(part, f"{folder.name}/images/{tar.name}", packed, advance), tar)
    return packed


def _members(
    pictures: Mapping[str, StoredImage], shard: str, packed: dict[str, PackedImage], advance: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    for key, picture in pictures.items():
        body = picture.read()
        try:
            with open_image(body) as image:
                width, height = upright_size(image)
                draft(image)
                packed[key] = PackedImage(shard, width, height, phash(upright_rgb(image)))
                suffix = {"JPEG": "jpg"}.get(str(image.format), str(image.format).lower())
        except Exception as error:  # Pillow's plugins raise whatever damage leads them to
            raise ValueError(f"{picture}: not a readable image ({error}); get the file anew") from error
        advance()
        yield f"{key}.{suffix}", body
