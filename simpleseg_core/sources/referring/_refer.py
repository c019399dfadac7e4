"""The RefCOCO family, refCLEF and gRefCOCO: `refs(*).p` or `grefs(*).json` beside COCO's `instances.json`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import FailFast, TypeAdapter

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.foreign import Flag, Id, Name, Number, Text, check_unique, checked, read_json
from simpleseg_core.sources._coco_file import AnnotationEntry, CocoFile, check_outlines, read_coco_file
from simpleseg_core.sources._outlines import may_hold_pixels, outline_rle
from simpleseg_core.sources.coco import image_places
from simpleseg_core.sources.referring._pickles import load_plain
from simpleseg_core.sources.referring._sets import AnnotatedObject, ImageFile, ReferringImage, ReferringSet, Utterance

_HELP = "docs/datasets.md says where to get the files and how to lay them out"
_COCO_PLACES = ("images", "../images/mscoco/images/train2014", "../images/train2014", "../train2014", "train2014")
_CLEF_PLACES = ("images", "../images/saiapr_tc-12", "../saiapr_tc-12", "saiapr_tc-12")
_COCO_PREFIX = "COCO_train2014_"
_COMBINED = 5
"""Length of `testA`: refCLEF writes `testAB` for a reference of two test splits."""


_NOTHING = -1
"""Annotation id by which gRefCOCO says that nothing is meant."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    sent: Text


@dataclass(frozen=True, slots=True)
class _Ref:
    """A reference: expressions of one meaning."""

    ref_id: Id
    image_id: Number
    split: Name
    ann_id: Id | list[Id]
    sentences: list[_Sentence]
    no_target: Flag = False

    @property
    def targets(self) -> list[int | str]:
        """Ids of the annotations that are meant, each once."""
        return list(dict.fromkeys(each for each in self._named if each != _NOTHING))

    @property
    def means_nothing(self) -> bool:
        """Whether it says so."""
        return self.no_target or _NOTHING in self._named

    @property
    def _named(self) -> list[int | str]:
        return self.ann_id if isinstance(self.ann_id, list) else [self.ann_id]


_REFS = TypeAdapter(Annotated[list[_Ref], FailFast()])


def read_refer(config: ReferringConfig) -> ReferringSet:
    """A set in the layout of the REFER toolbox (Yu et al. 2016, arXiv 1608.00272) or of gRefCOCO (arXiv 2306.00968).

    Raises:
        FileNotFoundError: a file is missing; the message says which of the set's files and where to get it.
        ValueError: a file is not what it should be; names file, field and entry.
    """
    refs_file, refs = _read_refs(config)
    instances = _Instances.read(config)
    instances.check(refs, refs_file)
    splits: dict[str, dict[int, list[_Ref]]] = {}
    for ref in refs:
        for split in _splits(ref.split):
            splits.setdefault(split, {}).setdefault(ref.image_id, []).append(ref)
    return ReferringSet(
        config.name,
        {
            split: tuple(
                instances.image(identifier, by_image[identifier])
                for identifier in sorted(by_image)[: config.max_images]
            )
            for split, by_image in splits.items()
        },
    )


def image_folder(config: ReferringConfig) -> Path:
    """Where the images are: as configured, else the first place that exists of those that loaders expect."""
    if config.images is not None:
        return config.images
    places = _CLEF_PLACES if config.dataset == "refclef" else _COCO_PLACES
    folders = [config.root / place for place in places]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def coco_picture(folder: Path, name: str) -> ImageFile:
    """COCO's file under the name of 2014 (`COCO_train2014_000000000009.jpg`) or of 2017 (`000000000009.jpg`)."""
    plain, short = (image_places([folder], each) for each in (name, name.replace(_COCO_PREFIX, "")))
    return ImageFile(next((file for file in (*plain, *short) if file.is_file()), plain[0]))


def _read_refs(config: ReferringConfig) -> tuple[Path, Sequence[_Ref]]:
    if config.dataset == "grefcoco":
        names = [f"grefs({config.division}).json", f"grefs({config.division}).p"]
    else:
        names = [f"refs({config.division}).p"]
    found = next((file for name in names if (file := config.root / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{config.root / names[0]}: no such file; data.referring: `root` of {config.name} must name the folder "
            f"that holds it ({_HELP})"
        )
    content = load_plain(found) if found.suffix == ".p" else read_json(found, f"get the file anew ({_HELP})")
    if not isinstance(content, list):
        raise ValueError(f"{found}: expected a list of references, found a {type(content).__name__}")
    _check_extent(content, found)
    refs = checked(_REFS, content, found, "refs")
    check_unique((ref.ref_id for ref in refs), found, "refs", "ref_id")
    for ref in refs:
        if ref.means_nothing == bool(ref.targets):
            says = "nothing is meant" if ref.means_nothing else "something is meant"
            raise ValueError(f"{found}: ref {ref.ref_id} says that {says}, but its `ann_id` is {ref.ann_id}")
    return found, refs


def _check_extent(refs: Sequence[Any], file: Path) -> None:
    """A pickle may name one list a million times: more expressions than bytes are no data."""
    expressions = sum(
        len(ref["sentences"]) for ref in refs if isinstance(ref, dict) and isinstance(ref.get("sentences"), list)
    )
    if len(refs) + expressions > file.stat().st_size:
        raise ValueError(f"{file}: {expressions} expressions in {file.stat().st_size} bytes: the file is not genuine")


def _splits(name: str) -> list[str]:
    """`testAB` stands for `testA` and `testB`."""
    if name.startswith("test") and len(name) > _COMBINED:
        return [f"test{letter}" for letter in name[len("test") :]]
    return [name]


@dataclass(frozen=True, slots=True)
class _Instances:
    """The annotation file, indexed."""

    file: CocoFile
    folder: Path
    prefix: str
    annotations: Mapping[int | str, AnnotationEntry]

    @classmethod
    def read(cls, config: ReferringConfig) -> "_Instances":
        cure = f"data.referring: `root` of {config.name} must name the folder that holds it ({_HELP})"
        file = read_coco_file(config.root / "instances.json", cure)
        check_outlines([may_hold_pixels(each.segmentation) for each in file.annotations], file.path)
        annotations = {each.id: each for each in file.annotations if each.id is not None}
        return cls(file, image_folder(config), "saiapr-" if config.dataset == "refclef" else "", annotations)

    def check(self, refs: Iterable[_Ref], refs_file: Path) -> None:
        """ValueError where a reference names an image or an annotation that is not there, or is another image's."""
        for ref in refs:
            if ref.image_id not in self.file.images:
                raise ValueError(
                    f"{refs_file}: `image_id` {ref.image_id} is not among the `images` of {self.file.path}"
                )
            for target in ref.targets:
                if target not in self.annotations:
                    raise ValueError(
                        f"{refs_file}: `ann_id` {target!r} is not among the `annotations` of {self.file.path}"
                    )
                if (image := self.annotations[target].image_id) != ref.image_id:
                    raise ValueError(
                        f"{refs_file}: ref {ref.ref_id} is about image {ref.image_id}, but its `ann_id` {target} is of "
                        f"image {image} in {self.file.path}: the two files do not belong together"
                    )

    def image(self, identifier: int, refs: Sequence[_Ref]) -> ReferringImage:
        """One image with its references of one split."""
        item = self.file.images[identifier]
        place: dict[int | str, int] = defaultdict(lambda: len(place))
        utterances = tuple(each for ref in refs for each in _utterances(ref, place))
        segments = tuple(self._segment(target, item.width, item.height) for target in place)
        picture = coco_picture(self.folder, item.file_name)
        key = f"{self.prefix}{identifier:012d}"
        return ReferringImage(key, picture, item.width, item.height, segments, utterances)

    def _segment(self, identifier: int | str, width: int, height: int) -> AnnotatedObject:
        item, path = self.annotations[identifier], self.file.path
        name = "object" if item.category_id is None else self.file.categories[item.category_id]
        rle = partial(outline_rle, item.segmentation, width, height, path, identifier)
        return AnnotatedObject(name, None if item.bbox is None else _xyxy(*item.bbox), rle)


def _utterances(ref: _Ref, place: Mapping[int | str, int]) -> Iterator[Utterance]:
    """The expressions of a reference; `place` numbers annotation ids in the order in which they are named."""
    segments = tuple(place[target] for target in ref.targets)
    kind = ("none", "referring")[len(segments)] if len(segments) < 2 else "multiple"
    for sentence in ref.sentences:
        yield Utterance(str(ref.ref_id), sentence.sent.strip(), segments, kind)


def _xyxy(left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    return left, top, left + width, top + height
