"""Images of one's own through the whole data engine: what is found, what is written, what is said of the rest."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from simpleseg_core.annotate import CaptionedImage, Detection
from simpleseg_core.annotate.annotations import AnnotationsDetector
from simpleseg_core.config import Config, RefShapesConfig
from simpleseg_core.config.files import load_profile
from simpleseg_core.refshapes import describe, phrase, scene
from simpleseg_core.sources import own_images
from simpleseg_core.sources.own_images import OwnImage, find_images
from tasks.annotate_images import NothingAnnotatedError, annotate_images, plan

NANO = load_profile("nano")
GROUNDED = Config.model_validate({"detect": {"engine": "transformers"}})
GIVEN = Config.model_validate({"detect": {"engine": "annotations"}})


def write_scenes(folder: Path, indices: range, beside: str) -> list[OwnImage]:
    """RefShapes scenes as files, with captions (`txt`), boxes (`json`) or nothing (``) beside them."""
    folder.mkdir(exist_ok=True)
    for index in indices:
        drawn = scene(RefShapesConfig(), 2, "train", index)
        Image.fromarray(drawn.image).save(folder / f"{index}.png")
        if beside == "txt":
            (folder / f"{index}.txt").write_text(describe(drawn))
        if beside == "json":
            boxes = [{"phrase": phrase(item), "box": list(item.box)} for item in drawn.objects]
            (folder / f"{index}.json").write_text(json.dumps(boxes))
    return find_images([folder], Path("results"))


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> list[OwnImage]:
    return write_scenes(tmp_path_factory.mktemp("captioned") / "scenes", range(4), "txt")


def test_captions_beside_the_images_are_enough(captioned: list[OwnImage], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = annotate_images(captioned, out, NANO)
    assert (result.images, result.failed, result.empty) == (4, {}, ())
    coco = COCO(str(out / "coco" / "instances.json"))
    assert len(coco.getAnnIds()) == result.instances >= 4
    for index in range(4):
        drawn = scene(RefShapesConfig(), 2, "train", index)
        truth = np.logical_or.reduce([item.mask for item in drawn.objects])
        found = np.zeros_like(truth)
        for item in coco.loadAnns(coco.getAnnIds([index + 1])):
            found |= coco.annToMask(item).astype(bool)
        assert (truth & found).sum() > 0.6 * (truth | found).sum()
    assert {file.name for file in (out / "overlays").iterdir()} == {f"{index}.jpg" for index in range(4)}
    assert Image.open(out / "sheet.png").format == "PNG"


def test_boxes_beside_the_images_are_segmented_whatever_detector_is_configured(tmp_path: Path) -> None:
    images = write_scenes(tmp_path / "scenes", range(2), "json")
    result = annotate_images(images, tmp_path / "out", GROUNDED, format_="labelme")
    shapes = [
        shape
        for index in range(2)
        for shape in json.loads((tmp_path / f"out/labelme/{index}.json").read_text())["shapes"]
    ]
    wanted = {phrase(item) for index in range(2) for item in scene(RefShapesConfig(), 2, "train", index).objects}
    assert result.images == 2
    assert {shape["label"] for shape in shapes} <= wanted


def test_a_broken_image_is_named_and_the_others_are_done(captioned: list[OwnImage], tmp_path: Path) -> None:
    folder = captioned[0].path.parent
    (tmp_path / "bad.png").write_bytes(captioned[0].path.read_bytes()[:200])
    (tmp_path / "odd.png").write_bytes(captioned[1].path.read_bytes())
    (tmp_path / "odd.json").write_text("{}")
    (tmp_path / "bad.txt").write_text("a red circle")
    images = find_images([folder, tmp_path / "bad.png", tmp_path / "odd.png"], Path("results"))
    result = annotate_images(images, tmp_path / "out", NANO)
    assert result.images == 4
    assert set(result.failed) == {str(tmp_path / "bad.png"), str(tmp_path / "odd.png")}
    assert "broken image" in result.failed[str(tmp_path / "bad.png")]
    assert "write a list of {phrase, box:" in result.failed[str(tmp_path / "odd.png")]
    assert not result.empty


ODD = '[{"phrase": "odd", "box": [0.1, 0.1, 0.9, 0.9]}]'


def _fail_on(monkeypatch: pytest.MonkeyPatch, phrase: str) -> None:
    """An engine that raises when it is given a box of a phrase."""
    sound = AnnotationsDetector.detect

    def detect(self: AnnotationsDetector, images: Sequence[CaptionedImage]) -> list[list[Detection]]:
        if any(phrase in image.annotations for image in images):
            raise ValueError(f"cannot see the {phrase}")
        return sound(self, images)

    monkeypatch.setattr(AnnotationsDetector, "detect", detect)


def test_a_shard_of_broken_images_stops_no_other(
    captioned: list[OwnImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_images, "_SHARD_SIZE", 2)
    _fail_on(monkeypatch, "odd")
    odd = [OwnImage(image.path, f"odd: {image.key}", boxes=ODD) for image in captioned[2:]]
    result = annotate_images([*odd, *captioned[:2]], tmp_path / "out", NANO)
    assert result.images == 2
    assert set(result.failed) == {str(image.path) for image in odd}
    assert all("cannot see the odd" in why for why in result.failed.values())
    assert result.empty == ()


def test_an_image_without_what_was_asked_for_is_listed_and_exported_without_shapes(
    captioned: list[OwnImage], tmp_path: Path
) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (64, 64), "white").save(blank)
    found = phrase(scene(RefShapesConfig(), 2, "train", 0).objects[0])
    images = [*captioned[:1], *find_images([blank], Path("results"))]
    result = annotate_images(images, tmp_path / "out", NANO, [found], format_="labelme")
    assert result.empty == (str(blank),)
    assert json.loads((tmp_path / "out/labelme/blank.json").read_text())["shapes"] == []
    assert not (tmp_path / "out/overlays/blank.jpg").exists()


def test_a_second_run_keeps_the_work_and_renews_what_is_shown(captioned: list[OwnImage], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = annotate_images(captioned, out, NANO)
    tables = {file: file.stat().st_mtime_ns for file in (out / "records").glob("[bmpd]*/*.parquet")}
    before = (out / "coco" / "instances.json").read_bytes()
    assert len(tables) == 4
    assert annotate_images(captioned, out, NANO) == first
    assert {file: file.stat().st_mtime_ns for file in tables} == tables
    assert (out / "coco" / "instances.json").read_bytes() == before
    annotate_images(captioned[:2], out, NANO)
    assert len(list((out / "overlays").iterdir())) == 2


def test_a_folder_of_something_else_is_left_alone(captioned: list[OwnImage], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="name another folder with --out"):
        annotate_images(captioned, tmp_path, NANO)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_weights_that_are_missing_are_asked_for(captioned: list[OwnImage], tmp_path: Path) -> None:
    config = Config.model_validate({"segment": {"engine": "sam", "model": str(tmp_path / "none")}})
    with pytest.raises(ValueError, match=r"cannot be loaded.*--set segment\.model=PATH"):
        annotate_images(captioned, tmp_path / "out", config)


def test_an_engine_that_fails_on_everything_says_why(
    captioned: list[OwnImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_on(monkeypatch, "odd")
    odd = [OwnImage(image.path, image.key, boxes=ODD) for image in captioned]
    with pytest.raises(NothingAnnotatedError, match="cannot see the odd"):
        annotate_images(odd, tmp_path / "out", NANO)


def test_boxes_that_are_none_are_named_without_any_work(captioned: list[OwnImage], tmp_path: Path) -> None:
    broken = [
        OwnImage(image.path, image.key, boxes='[{"phrase": "dog", "box": [5, 5, 50, 50]}]') for image in captioned
    ]
    result = annotate_images(broken, tmp_path / "out", NANO)
    assert len(result.failed) == len(captioned)
    assert all("not in 0..1" in why for why in result.failed.values())
    assert not (tmp_path / "out/records/boxes").exists()


IMAGE = OwnImage(Path("a.jpg"), "a")
BOXED, CAPTIONED = OwnImage(Path("b.jpg"), "b", boxes="[1]"), OwnImage(Path("c.jpg"), "c", caption="two dogs")


@pytest.mark.parametrize(
    ("images", "phrases", "config", "said"),
    [
        ([IMAGE, CAPTIONED], [], NANO, "a.jpg: nothing says what to look for"),
        ([BOXED, CAPTIONED], [], GROUNDED, "b.jpg: nothing says what to look for"),
        ([CAPTIONED], [], GIVEN, "give boxes in a .json"),
        ([IMAGE], ["dog"], NANO, "knows shapes such as `red circle`, not `dog`"),
        ([IMAGE], ["dog"], GIVEN, "looks for nothing"),
    ],
)
def test_what_is_missing_is_said_before_any_work(
    images: list[OwnImage], phrases: list[str], config: Config, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        plan(images, phrases, config)


def test_phrases_become_the_vocabulary_of_a_detector_that_looks_for_anything() -> None:
    told, config = plan([IMAGE, BOXED], ["dog", "red car"], GROUNDED)
    assert config.detect.vocabulary == ("dog", "red car")
    assert config.detect.phrases == "vocabulary"
    assert {image.boxes for image in told} == {""}


def test_captions_boxes_and_a_configured_vocabulary_need_no_phrases() -> None:
    listed = Config.model_validate(
        {"detect": {"engine": "transformers", "phrases": "vocabulary", "vocabulary": ["dog"]}}
    )
    assert plan([CAPTIONED], [], GROUNDED) == ([CAPTIONED], GROUNDED)
    assert plan([IMAGE], [], listed) == ([IMAGE], listed)
    assert plan([BOXED, CAPTIONED], [], NANO) == ([BOXED, CAPTIONED], NANO)
    assert plan([BOXED], [], GROUNDED)[1].detect.engine == "annotations"
