"""Image files of one's own through the data engine: what `simpleseg annotate` does.

The files become shards, and the stages detect, segment, contour and describe run on them as they do in the pipeline, so
that a broken image is left out, and a run that was killed goes on where it was.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from simpleseg_core.config import Config, DetectConfig
from simpleseg_core.contract import Context, NullProgress, Progress, StageResult
from simpleseg_core.data.outlines import row_polygons
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export import (
    AnnotatedImage,
    Annotations,
    by_noun,
    export_folder,
    overview_sheet,
)
from simpleseg_core.files import replacing
from simpleseg_core.kinds import DETECTORS
from simpleseg_core.sources.own_images import OwnImage, write_own_shards
from simpleseg_core.viz import RgbImage, Tagged, draw_annotated
from tasks.graph import chain, load_stage
from tasks.shards.shard_map import shard_failures

_CHAIN = chain("detect", "describe")
_RECORDS, _OVERLAYS, _SHEET = "records", "overlays", "sheet.png"
_QUALITY = 90


class NothingAnnotatedError(RuntimeError):
    """An engine could not use a single image."""


@dataclass(frozen=True, slots=True)
class AnnotateResult:
    """What became of the images."""

    images: int
    """With at least one instance."""
    instances: int
    empty: tuple[str, ...]
    """Files in which nothing was found, or nothing passed the filters."""
    failed: Mapping[str, str]
    """File -> why it could not be annotated."""
    funnel: Sequence[Mapping[str, object]]
    """What each filter dropped."""


def annotate_images(
    images: Sequence[OwnImage],
    out: Path,
    config: Config,
    phrases: Sequence[str] = (),
    format_: str = "coco",
    progress: Progress | None = None,
) -> AnnotateResult:
    """Find, segment and outline objects, and fill `out` with `FORMAT/`, `overlays/`, `sheet.png` and `records/`.

    `records` are tables in the schemas of the pipeline; with it a later run on the same images goes on.

    Args:
        phrases: what to look for in every image; none: what is written beside each image says it.

    Raises:
        ValueError: nothing says what to look for, `out` is something else's, or weights cannot be loaded.
        NothingAnnotatedError: an engine failed on every image.
    """
    told, config = plan(images, phrases, config)
    _claim(out)
    records, watch = out / _RECORDS, progress or NullProgress()
    shards = write_own_shards(told, records / "images", config.ingest)
    if not shards.images:
        return AnnotateResult(0, 0, (), _by_file(images, shards.refused), ())
    results = _run_stages(records, config, watch)
    annotations = Annotations.open(records, "descriptions", all_images=True)
    _renew(out / format_)
    export_folder(format_, annotations, out / format_, categories=by_noun, seed=config.seed, progress=watch)
    found = _draw_all(annotations, out / _OVERLAYS, watch)
    _draw_sheet(annotations, out / _SHEET, config.seed)
    failed = shards.refused | dict(_failures(records))
    empty = {key: "" for key, count in found.items() if not count and key not in failed}
    return AnnotateResult(
        images=sum(1 for count in found.values() if count),
        instances=sum(found.values()),
        empty=tuple(_by_file(images, empty)),
        failed=_by_file(images, failed),
        funnel=results["contour"].tables["funnel"],
    )


def plan(images: Sequence[OwnImage], phrases: Sequence[str], config: Config) -> tuple[list[OwnImage], Config]:
    """The images with what to look for in each, and the configuration that looks for it.

    Phrases are looked for in every image. Without them, boxes beside every image are taken as they are, or else the
    caption beside each image (or `detect.vocabulary`) says what to look for.

    Raises:
        ValueError: something has to be said, or the configured detector cannot look for it.
    """
    detect = config.detect
    if phrases:
        _check_phrases(phrases, detect)
        any_phrase = DETECTORS.load(detect.engine).any_phrase
        grounded = {"phrases": "vocabulary", "vocabulary": list(phrases)} if any_phrase else {}
        told = [replace(image, caption=", ".join(phrases), boxes="") for image in images]
        return told, _detecting(config, grounded)
    if all(image.boxes for image in images):
        return list(images), _detecting(config, {"phrases": "caption", "engine": "annotations"})
    if silent := [image.path for image in images if not _is_told(image, detect)]:
        more = f" (nor in {len(silent) - 1} more)" if len(silent) > 1 else ""
        text = "" if not detect.reads_text else '--phrases "red circle,dog", or a caption in a .txt, or '
        raise ValueError(
            f"{silent[0]}: nothing says what to look for in it{more}; give {text}boxes in a .json beside it"
        )
    return list(images), config


def _is_told(image: OwnImage, detect: DetectConfig) -> bool:
    """Whether the detector knows what to look for in an image."""
    engine = DETECTORS.load(detect.engine)
    told = (engine.takes_boxes and image.boxes) or (engine.reads_text and image.caption)
    return bool(told) or detect.phrases != "caption"


def _check_phrases(phrases: Sequence[str], detect: DetectConfig) -> None:
    engine = DETECTORS.load(detect.engine)
    if not engine.reads_text:
        able = [name for name in DETECTORS.names() if DETECTORS.load(name).any_phrase]
        raise ValueError(
            f"--phrases: detect.engine is `{detect.engine}`, which looks for nothing; put boxes into a .json beside "
            f"each image, or choose another engine: {', '.join(able)}"
        )
    if unknown := [phrase for phrase in phrases if not engine.knows(phrase)]:
        raise ValueError(
            f"--phrases: detect.engine is `{detect.engine}`, which knows {engine.examples}, not `{unknown[0]}`; "
            "for photographs `--set detect.engine=transformers` looks for anything with Grounding-DINO "
            "(`--set detect.model=FOLDER` for weights that you have)"
        )


def _detecting(config: Config, changes: Mapping[str, object]) -> Config:
    detect = DetectConfig.model_validate({**config.detect.model_dump(), **changes})
    return config.model_copy(update={"detect": detect})


def _claim(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / _RECORDS).is_dir()):
        raise ValueError(f"{out}: already there, and not from an earlier `annotate`; name another folder with --out")


def _run_stages(records: Path, config: Config, progress: Progress) -> dict[str, StageResult]:
    results: dict[str, StageResult] = {}
    for name, spec in _CHAIN.items():
        work = records / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        try:
            results[name] = load_stage(name)(
                config,
                {role: records / path.name for role, path in spec.inputs.items()},
                {role: records / path.name for role, path in spec.outputs.items()},
                Context(work, progress=progress, tolerant=True),
            )
        except OSError as error:
            if error.errno is not None:  # of the disk; engines that miss their weights say so in words only
                raise
            section, reason = getattr(config, name), str(error).strip().splitlines()[0].rstrip(".")
            raise ValueError(
                f"{name}.engine is `{section.engine}`, and its model `{section.model}` cannot be loaded: {reason}. "
                f"Give weights that you have with `--set {name}.model=PATH`"
            ) from error
        except RuntimeError as error:
            raise NothingAnnotatedError(f"{name}: {error}") from error
    return results


def _failures(records: Path) -> Iterator[tuple[str, str]]:
    """Key and reason of every image that a stage could not use."""
    for folder in (path.name for spec in _CHAIN.values() for path in spec.outputs.values()):
        for table in sorted((records / folder).glob("[0-9]*.parquet")):
            for failure in shard_failures(table):
                yield failure.image, failure.reason


def _by_file(images: Sequence[OwnImage], by_key: Mapping[str, str]) -> dict[str, str]:
    """The mapping by file instead of by key, in the order of the images."""
    return {str(image.path): by_key[image.key] for image in images if image.key in by_key}


def _renew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _draw_sheet(annotations: Annotations, file: Path, seed: int) -> None:
    file.unlink(missing_ok=True)
    if annotations.count():
        _save(overview_sheet(annotations, ImageStore(annotations.data), seed), file, "PNG")


def _draw_all(annotations: Annotations, folder: Path, progress: Progress) -> dict[str, int]:
    """Draw every image that has instances; returns how many each has."""
    _renew(folder)
    progress.start(annotations.count(), folder.name)
    store, found = ImageStore(annotations.data), dict[str, int]()
    for image in annotations.images():
        _draw(image, store, folder)
        found[image.key] = len(image.instances)
        progress.advance(len(image.instances))
    return found


def _draw(image: AnnotatedImage, store: ImageStore, folder: Path) -> None:
    if not image.instances:
        return
    items = [Tagged(row_polygons(row), row["description"] or row["phrase"]) for row in image.instances]
    page = draw_annotated(np.asarray(store.read(image.shard, image.key)), items)
    _save(page, folder / f"{image.key}.jpg", "JPEG")


def _save(picture: RgbImage, file: Path, format_: str) -> None:
    with replacing(file) as partial:
        Image.fromarray(picture).save(partial, format=format_, quality=_QUALITY)
