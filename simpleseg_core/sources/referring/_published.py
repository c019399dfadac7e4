"""How large the published sets are, to compare what was downloaded with.

Images and references of each split: the table of TensorFlow Datasets, `ref_coco`, made from the same files; expressions
of each split: as papers on refCOCO report them (of refCOCOg: Nagaraja et al., arXiv 1608.00525). Totals: Yu et al.,
arXiv 1608.00272 (refCOCO 142,209: the files hold one more). gRefCOCO: Liu et al., arXiv 2306.00968, prints 278,232
expressions, of which the published file holds 259,859 (issue 6 of its repository). RefCOCO-M: its data card. ReasonSeg:
Lai et al., arXiv 2308.00692. For refCLEF as the toolbox ships it nobody has published numbers.
"""

from dataclasses import dataclass, field

from simpleseg_core.config import ReferringConfig


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of a split or of a whole set; None: not published."""

    images: int | None = None
    refs: int | None = None
    expressions: int | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The sizes of a set in one division."""

    total: Sizes
    splits: dict[str, Sizes] = field(default_factory=dict)


_PUBLISHED: dict[tuple[str, str | None], Published] = {
    ("refcoco", "unc"): Published(
        Sizes(19994, 50000, 142210),
        {
            "train": Sizes(16994, 42404, 120624),
            "val": Sizes(1500, 3811, 10834),
            "testA": Sizes(750, 1975, 5657),
            "testB": Sizes(750, 1810, 5095),
        },
    ),
    ("refcoco", "google"): Published(
        Sizes(19994, 50000, 142210),
        {"train": Sizes(19213, 40000), "val": Sizes(4559, 5000), "test": Sizes(4527, 5000)},
    ),
    ("refcoco+", "unc"): Published(
        Sizes(19992, 49856, 141564),
        {
            "train": Sizes(16992, 42278, 120191),
            "val": Sizes(1500, 3805, 10758),
            "testA": Sizes(750, 1975, 5726),
            "testB": Sizes(750, 1798, 4889),
        },
    ),
    ("refcocog", "umd"): Published(
        Sizes(25799, 49822, 95010),
        {"train": Sizes(21899, 42226, 80512), "val": Sizes(1300, 2573, 4896), "test": Sizes(2600, 5023, 9602)},
    ),
    ("refcocog", "google"): Published(
        Sizes(None, 49822, 95010), {"train": Sizes(24698, 44822, 85474), "val": Sizes(4650, 5000, 9536)}
    ),
    ("grefcoco", "unc"): Published(Sizes(None, None, 259859)),
    ("refcocom", None): Published(Sizes(1190, 2080, 5598), {"val": Sizes(1190, 2080, 5598)}),
    ("reasonseg", None): Published(Sizes(1218), {"train": Sizes(239), "val": Sizes(200), "test": Sizes(779)}),
}


def published_sizes(config: ReferringConfig) -> Published | None:
    """The published sizes of a set; None where there are none."""
    return _PUBLISHED.get((config.dataset, config.division))
