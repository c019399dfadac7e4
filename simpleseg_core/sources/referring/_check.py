"""Is a data set whole and sound: its counts against the published ones, its image files, its outlines and boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from pycocotools import mask as coco_mask

from simpleseg_core.config import ReferringConfig
from simpleseg_core.config.data import SPLITS_BY, ReferringDataset, SplitBy
from simpleseg_core.sources.referring._published import Sizes, published_sizes
from simpleseg_core.sources.referring._read import read_referring
from simpleseg_core.sources.referring._sets import AnnotatedObject, ReferringImage

_PART = 0.5
"""A set with less than this share of the published expressions or images is a part, taken on purpose."""
_SLACK = 1.0
"""Pixels by which a box may pass the border of its image."""
_DATASETS: tuple[ReferringDataset, ...] = get_args(ReferringDataset)


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Counts of one split, or of the whole set (`all`), and what is published."""

    split: str
    found: Sizes
    published: Sizes | None

    @property
    def differences(self) -> list[str]:
        """`refs: 42403, published 42404`, for each number that differs."""
        if self.published is None:
            return []
        pairs = {name: (getattr(self.found, name), getattr(self.published, name)) for name in Sizes.__slots__}
        return [
            f"{name}: {found}, published {known}"
            for name, (found, known) in pairs.items()
            if known not in (None, found)
        ]


@dataclass(frozen=True, slots=True)
class SetReport:
    """What a check found; the lists name files and annotations."""

    name: str
    splits: Sequence[SplitReport]
    partial: bool
    """Whether this is a part of the published set, whose counts are not compared."""
    missing: list[str] = field(default_factory=list)
    """Image files that are not there."""
    broken: list[str] = field(default_factory=list)
    """Images that cannot be opened or have another size than annotated, and outlines that cannot be read."""
    empty: list[str] = field(default_factory=list)
    """Outlines that hold no pixel; what they mean is left out of training and benchmarks."""
    wordless: list[str] = field(default_factory=list)
    """Expressions without words, which are left out too."""
    outside: list[str] = field(default_factory=list)
    """Boxes that pass the border of their image."""

    @property
    def differs(self) -> bool:
        """Whether a whole set has other counts than the published one."""
        return not self.partial and any(split.differences for split in self.splits)

    @property
    def ok(self) -> bool:
        """Whether the set can be used as it is: what is left out, and boxes outside, are only worth knowing."""
        return not (self.differs or self.missing or self.broken)


def check_referring(config: ReferringConfig) -> SetReport:
    """Read a set, decode every outline, look for every image file and at its header.

    Raises:
        FileNotFoundError, ValueError: as `read_referring`.
    """
    splits = read_referring(config).splits
    every = [image for images in splits.values() for image in images]
    known = published_sizes(config)
    reports = [
        SplitReport(split, _sizes(images), known.splits.get(split) if known else None)
        for split, images in splits.items()
    ]
    reports.append(SplitReport("all", _sizes(every), known.total if known else None))
    report = SetReport(config.name, reports, _is_part(config, reports[-1]))
    for image in {image.key: image for image in every}.values():
        _check_picture(image, report)
    report.missing.sort()
    for image in every:
        report.wordless.extend(f"image {image.key}, ref {each.ref}" for each in image.utterances if not each.text)
        for index, segment in enumerate(image.segments):
            _check_segment(f"image {image.key}, object {index}", image, segment, report)
    return report


def find_sets(path: Path, dataset: ReferringDataset | None = None, images: Path | None = None) -> list[ReferringConfig]:
    """The sets in a folder, or in its folders (`refcoco`, `refcoco+`, ...), in every division whose file is there.

    Raises:
        FileNotFoundError: no such folder, or no set in it.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder")
    if found := list(_sets_of(path, dataset or _guess(path), images)):
        return found
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name in _DATASETS]
    inner = [config for folder in folders for config in _sets_of(folder, _guess(folder), images)]
    if not inner:
        raise FileNotFoundError(
            f"{path}: no referring data set here: name its folder as one of {', '.join(_DATASETS)}, or give --dataset "
            "(docs/datasets.md shows the files of each)"
        )
    return inner


def _guess(path: Path) -> ReferringDataset | None:
    """By the name of the folder, else by files that only one set has."""
    for name in _DATASETS:
        if path.resolve().name == name:
            return name
    marks: dict[ReferringDataset, tuple[str, ...]] = {
        "grefcoco": ("grefs(unc).json", "grefs(unc).p"),
        "refcocog": ("refs[(]umd[)].p",),
        "refclef": ("refs[(]berkeley[)].p",),
        "refcocom": ("validation-*.parquet", "data/validation-*.parquet"),
        "reasonseg": ("val/*.json", "train/*.json"),
    }
    return next((name for name, patterns in marks.items() if any(any(path.glob(each)) for each in patterns)), None)


def _sets_of(path: Path, dataset: ReferringDataset | None, images: Path | None) -> Iterator[ReferringConfig]:
    if dataset is None:
        return
    divisions: tuple[SplitBy | None, ...] = SPLITS_BY.get(dataset, (None,))
    there = [each for each in divisions if each is None or any(path.glob(f"*refs[(]{each}[)].*"))]
    for division in there or divisions[:1]:
        yield ReferringConfig(dataset=dataset, root=path, split_by=division, images=images)


def _sizes(images: Sequence[ReferringImage]) -> Sizes:
    asked = [(image.key, each.ref) for image in images for each in image.utterances]
    return Sizes(len({image.key for image in images}), len(set(asked)), len(asked))


def _is_part(config: ReferringConfig, total: SplitReport) -> bool:
    if config.max_images is not None:
        return True
    found, known = total.found, total.published or Sizes()
    if known.expressions is not None:
        return (found.expressions or 0) < _PART * known.expressions
    return (found.images or 0) < _PART * (known.images or 0)


def _check_picture(image: ReferringImage, report: SetReport) -> None:
    if not image.picture.exists():
        report.missing.append(str(image.picture))
        return
    try:
        width, height = image.picture.size()
    except ValueError as error:
        report.broken.append(str(error))
        return
    if (width, height) != (image.width, image.height):
        report.broken.append(
            f"{image.picture}: {width} x {height} pixels, but annotated in {image.width} x {image.height}: "
            "give the images that were annotated"
        )


def _check_segment(where: str, image: ReferringImage, segment: AnnotatedObject, report: SetReport) -> None:
    if not image.width or not image.height:
        return  # the file that tells the size is missing, and said to be
    try:
        rle = segment.rle()
    except ValueError as error:
        report.broken.append(str(error))
        return
    if rle is None or not coco_mask.area(rle):
        report.empty.append(f"{where} ({segment.name})")
    if segment.box is not None:
        left, top, right, bottom = segment.box
        if min(left, top) < -_SLACK or right > image.width + _SLACK or bottom > image.height + _SLACK:
            report.outside.append(f"{where} ({segment.name}): {', '.join(f'{side:g}' for side in segment.box)}")
