"""What referring sets give to the dataset: benchmarks, training images, and splits to be held out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path

from simpleseg_core.config import Config, ContourConfig, ReferringConfig
from simpleseg_core.contract import Progress
from simpleseg_core.geometry import decode_rle
from simpleseg_core.instructions.labels import LabelledImage, Labels, Reference, mask_target, outline
from simpleseg_core.sources._protocol import Gold, Images
from simpleseg_core.sources.referring._pack import PackedImage, pack_pictures
from simpleseg_core.sources.referring._sets import ReferringImage, ReferringSet

_TRAIN = "train"


def referring_gold(
    config: Config, sets: Sequence[tuple[ReferringConfig, ReferringSet]], folder: Path, progress: Progress
) -> Gold:
    """All referring sets as one: their images are packed once, however many sets ask about them."""
    everything = [image for _, found in sets for images in found.splits.values() for image in images]
    progress.start(len({image.key for image in everything}), "images")
    packed = pack_pictures(everything, folder, progress.advance)
    benchmarks: dict[str, Images] = {}
    held_out: dict[str, Images] = {}
    for settings, found in sets:
        for split, images in found.splits.items():
            if split != _TRAIN:
                wanted = settings.benchmarks is None or split in settings.benchmarks
                target = benchmarks if wanted else held_out
                target[f"{found.name}/{split}"] = referring_images(images, found.name, packed)
    trained = [found for _, found in sets if config.dataset.source_weights.get(found.name, 1.0) > 0]
    return Gold(
        benchmarks,
        chain.from_iterable(
            referring_images(found.splits.get(_TRAIN, ()), found.name, packed, config.contour) for found in trained
        ),
        _lots(trained, config.seed, packed),
        held_out=held_out,
    )


def _lots(sets: Sequence[ReferringSet], seed: int, packed: Mapping[str, PackedImage]) -> Iterator[LabelledImage]:
    """The training images of all sets in random order."""
    images = [(found.name, image) for found in sets for image in found.splits.get(_TRAIN, ())]
    for name, image in sorted(images, key=lambda each: sha256(f"{seed}:{each[0]}:{each[1].key}".encode()).digest()):
        yield from referring_images([image], name, packed)


def referring_images(
    images: Iterable[ReferringImage],
    source: str,
    packed: Mapping[str, PackedImage],
    contour: ContourConfig | None = None,
) -> Iterator[LabelledImage]:
    """Images of a referring set with their expressions; masks are decoded as each image is reached.

    An expression whose objects all have empty outlines (polygons of two points occur) is left out, and so is one
    without words.

    Args:
        contour: set: outlines are traced once for all questions about an object.

    Raises:
        ValueError: an image has another size than its annotations say.
    """
    for image in images:
        place = packed[image.key]
        if (place.width, place.height) != (image.width, image.height):
            raise ValueError(
                f"{image.picture}: {place.width} x {place.height} pixels, but {source} annotates it in "
                f"{image.width} x {image.height}: the images are not the original ones, set `images` to those"
            )
        labels = _referring(image, contour)
        yield LabelledImage(image.key, place.shard, place.width, place.height, place.phash, source, labels, shared=True)


def _referring(image: ReferringImage, contour: ContourConfig | None) -> Labels:
    said = {each.segments[0]: each.text for each in reversed(image.utterances) if len(each.segments) == 1}
    masks = {index: decode_rle(rle) for index, each in enumerate(image.segments) if (rle := each.rle()) is not None}
    masks = {index: mask for index, mask in masks.items() if mask.any()}
    place = {index: number for number, index in enumerate(masks)}
    references = [
        Reference(each.text, meant, each.kind)
        for each in image.utterances
        if (meant := tuple(place[index] for index in each.segments if index in place)) or not each.segments
        if each.text
    ]
    targets = [mask_target(said.get(index) or image.segments[index].name, mask) for index, mask in masks.items()]
    if contour is not None and contour.order != "shuffled":
        targets = [replace(target, polygons=outline(target.mask, contour)) for target in targets]
    return Labels(targets, references)
