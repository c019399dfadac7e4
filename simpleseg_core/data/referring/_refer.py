"""The RefCOCO family, refCLEF and gRefCOCO: `refs(*).p` or `grefs(*).json` beside COCO's `instances.json`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.coco import field, image_places, load_instances, number, outline_rle
from simpleseg_core.data.referring._pickles import load_plain
from simpleseg_core.data.referring._sets import FilePicture, ReferringImage, ReferringSet, Segment, Utterance

Entry = Mapping[str, Any]

_HELP = "docs/datasets.md says where to get the files and how to lay them out"
_COCO_PLACES = ("images", "../images/mscoco/images/train2014", "../images/train2014", "../train2014", "train2014")
_CLEF_PLACES = ("images", "../images/saiapr_tc-12", "../saiapr_tc-12", "saiapr_tc-12")
_COCO_PREFIX = "COCO_train2014_"
_COMBINED = 5
"""Length of `testA`: refCLEF writes `testAB` for a reference of two test splits."""


def read_refer(config: ReferringConfig) -> ReferringSet:
    """A set in the layout of the REFER toolbox (Yu et al. 2016, arXiv 1608.00272) or of gRefCOCO (arXiv 2306.00968).

    Raises:
        FileNotFoundError: a file is missing; the message says which of the set's files and where to get it.
        ValueError: a file is not what it should be; names file, field and entry.
    """
    refs_file, refs = _read_refs(config)
    instances = _Instances.read(config)
    splits: dict[str, dict[int, list[Entry]]] = {}
    for ref in refs:
        image = number(ref, "image_id", refs_file, "refs")
        for split in _splits(field(ref, "split", refs_file, "refs")):
            splits.setdefault(split, {}).setdefault(image, []).append(ref)
    return ReferringSet(
        config.name,
        {
            split: tuple(
                instances.image(identifier, by_image[identifier], refs_file)
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


def coco_picture(folder: Path, name: str) -> FilePicture:
    """COCO's file under the name of 2014 (`COCO_train2014_000000000009.jpg`) or of 2017 (`000000000009.jpg`)."""
    plain, short = (image_places([folder], each) for each in (name, name.replace(_COCO_PREFIX, "")))
    return FilePicture(next((file for file in (*plain, *short) if file.is_file()), plain[0]))


def _read_refs(config: ReferringConfig) -> tuple[Path, Sequence[Entry]]:
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
    content = load_plain(found) if found.suffix == ".p" else _load_json(found)
    if not isinstance(content, list):
        raise ValueError(f"{found}: expected a list of references, found a {type(content).__name__}")
    _check_extent(content, found)
    return found, content


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error}); get the file anew ({_HELP})") from error


def _check_extent(refs: Sequence[Any], file: Path) -> None:
    """A pickle may name one list a million times: more expressions than bytes are no data."""
    expressions = sum(
        len(ref["sentences"]) for ref in refs if isinstance(ref, dict) and isinstance(ref.get("sentences"), list)
    )
    if len(refs) + expressions > file.stat().st_size:
        raise ValueError(f"{file}: {expressions} expressions in {file.stat().st_size} bytes: the file is not genuine")


def _splits(split: Any) -> list[str]:
    """`testAB` stands for `testA` and `testB`."""
    name = str(split)
    if name.startswith("test") and len(name) > _COMBINED:
        return [f"test{letter}" for letter in name[len("test") :]]
    return [name]


@dataclass(frozen=True, slots=True)
class _Instances:
    """The annotation file, indexed."""

    path: Path
    folder: Path
    prefix: str
    images: Mapping[int, Entry]
    annotations: Mapping[Any, Entry]
    categories: Mapping[Any, str]

    @classmethod
    def read(cls, config: ReferringConfig) -> "_Instances":
        path = config.root / "instances.json"
        cure = f"data.referring: `root` of {config.name} must name the folder that holds it ({_HELP})"
        content = load_instances(path, cure)
        return cls(
            path,
            image_folder(config),
            "saiapr-" if config.dataset == "refclef" else "",
            {number(item, "id", path, "images"): item for item in content["images"]},
            {field(item, "id", path, "annotations"): item for item in content["annotations"]},
            {field(item, "id", path, "categories"): str(item.get("name", "")) for item in content["categories"]},
        )

    def image(self, identifier: int, refs: Sequence[Entry], refs_file: Path) -> ReferringImage:
        """One image with its references of one split."""
        if identifier not in self.images:
            raise ValueError(f"{refs_file}: `image_id` {identifier} is not among the `images` of {self.path}")
        item = self.images[identifier]
        width, height = (number(item, side, self.path, "images") for side in ("width", "height"))
        place: dict[Any, int] = {}
        utterances = [each for ref in refs for each in _utterances(ref, place, refs_file)]
        segments = tuple(self._segment(annotation, width, height, refs_file) for annotation in place)
        picture = coco_picture(self.folder, str(field(item, "file_name", self.path, "images")))
        key = f"{self.prefix}{identifier:012d}"
        return ReferringImage(key, picture, width, height, segments, tuple(utterances))

    def _segment(self, identifier: Any, width: int, height: int, refs_file: Path) -> Segment:
        if identifier not in self.annotations:
            raise ValueError(f"{refs_file}: `ann_id` {identifier} is not among the `annotations` of {self.path}")
        item = self.annotations[identifier]
        outline = field(item, "segmentation", self.path, "annotations")
        name = self.categories.get(item.get("category_id"), "object").lower()
        return Segment(
            name, _xyxy(item.get("bbox")), partial(outline_rle, outline, width, height, self.path, identifier)
        )


def _utterances(ref: Entry, place: dict[Any, int], file: Path) -> Iterator[Utterance]:
    """The expressions of a reference; `place` collects annotation ids in the order in which they are named."""
    identifier = str(field(ref, "ref_id", file, "refs"))
    targets = [] if ref.get("no_target") else _targets(field(ref, "ann_id", file, "refs"), identifier, file)
    segments = tuple(place.setdefault(target, len(place)) for target in targets)
    sentences = field(ref, "sentences", file, "refs")
    if not isinstance(sentences, list):
        raise ValueError(f"{file}: `sentences` of ref {identifier} is a {type(sentences).__name__}: it must be a list")
    for sentence in sentences:
        text = str(field(sentence, "sent", file, f"sentences of ref {identifier}")).strip()
        kind = ("none", "referring")[len(segments)] if len(segments) < 2 else "multiple"
        yield Utterance(identifier, text, segments, kind)


def _targets(annotations: Any, ref: str, file: Path) -> list[int | str]:
    """Annotation ids; gRefCOCO writes [-1] where nothing is meant."""
    found = annotations if isinstance(annotations, list) else [annotations]
    if not all(isinstance(each, int | str) for each in found):
        raise ValueError(f"{file}: `ann_id` of ref {ref} is neither an id nor a list of ids")
    return list(dict.fromkeys(each for each in found if each != -1))


def _xyxy(box: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
        return None
    left, top, width, height = box
    return left, top, left + width, top + height
