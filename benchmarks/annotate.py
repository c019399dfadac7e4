"""The data engine: records a second and memory of contour and dataset, and detect + segment against the peers' way.

    python benchmarks/annotate.py [--shards 2 4 8] [--images 100]
    python benchmarks/annotate.py --device cuda [--images 64]

The first measures the stages that need no model, in a process each, on growing numbers of RefShapes shards: processor
time must grow in step with the shards, and memory not at all. The second times Grounding-DINO (Swin-T) and SAM (ViT-H)
of the published sizes with random weights, which are as fast as trained ones, on images in memory: ours, and as
Grounded-SAM-2 and autodistill call these libraries, one image at a time. Eight boxes of each image are segmented.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from simpleseg_core.annotate import Box, CaptionedImage, Detector, Image, Segmenter
from simpleseg_core.config import Config, DetectConfig, RefShapesConfig, SegmentConfig
from simpleseg_core.contract import Context
from simpleseg_core.data.records import INGEST, MASKS, write_table
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.geometry import encode_rle
from simpleseg_core.refshapes import Scene, describe, scene
from tasks.graph import STAGES, load_stage

_STAGES = ("contour", "describe", "dataset")
_CONFIG = Config.model_validate(
    {
        "contour": {"tolerance": 0.02},
        "data": {"train_images": 1, "rl_images": 1, "benchmark_queries": {"val": 1, "testA": 1, "testB": 1}},
    }
)
_BOXES = 8
_CAPTION = "a red circle, a blue star and the small green ring"
_SIDES = (480, 640)
_WARM_UP = 4


@dataclass(frozen=True)
class Cost:
    """What a stage took of one process."""

    cpu_seconds: float
    seconds: float
    peak_mib: float
    instances: int


def write_inputs(root: Path, shards: int, images: int) -> None:
    """Image and mask tables of shards that show the same scenes; each keeps its own names."""
    scenes = [scene(RefShapesConfig(), 0, "train", index) for index in range(images)]
    files = [(f"{index:08d}.jpg", encode_jpeg(drawn.image)) for index, drawn in enumerate(scenes)]
    for number in range(shards):
        stem = f"{number:05d}"
        names = [f"{number:04d}{index:08d}" for index in range(images)]
        write_shard([(f"{name}.jpg", body) for name, (_, body) in zip(names, files, strict=True)],
                    root / "data/images" / f"{stem}.tar")  # fmt: skip
        rows = [_image_row(name, stem, drawn) for name, drawn in zip(names, scenes, strict=True)]
        write_table(rows, INGEST, root / "data/images" / f"{stem}.parquet")
        masks = [
            mask for row, drawn in zip(rows, scenes, strict=True) for mask in _mask_rows(row, drawn)
        ]  # fmt: skip
        write_table(masks, MASKS, root / "data/masks" / f"{stem}.parquet")


def _image_row(name: str, stem: str, drawn: Scene) -> dict[str, Any]:
    height, width = drawn.image.shape[:2]
    return {
        "row_id": name, "url": f"http://shapes.test/{name}.jpg", "text": describe(drawn), "status": "ok", "image": name,
        "shard": f"images/{stem}.tar", "width": width, "height": height, "sha256": name, "phash": "",
    }  # fmt: skip


def _mask_rows(row: dict[str, Any], drawn: Scene) -> list[dict[str, Any]]:
    shared = {name: row[name] for name in ("image", "shard", "width", "height", "url", "sha256")}
    return [
        shared
        | {"instance": f"{row['image']}/{index}", "caption": row["text"], "phrase": f"{item.color} {item.shape}"}
        | {"box": list(item.box), "score": 1.0, "rle_counts": encode_rle(item.mask)["counts"]}
        | {"predicted_iou": 1.0, "stability": 1.0}
        for index, item in enumerate(drawn.objects)
    ]


def run_stage(name: str, root: Path) -> None:
    """Run a stage in this process, and print what it took as JSON."""
    spec, work = STAGES[name], root / "work" / name
    work.mkdir(parents=True, exist_ok=True)
    stage = load_stage(name)
    cpu, start = time.process_time(), time.perf_counter()
    result = stage(
        _CONFIG,
        {role: root / path for role, path in spec.inputs.items()},
        {role: root / path for role, path in spec.outputs.items()},
        Context(work),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    instances = int(result.metrics.get("detected", result.metrics.get("described", 0)))
    print(json.dumps([time.process_time() - cpu, time.perf_counter() - start, peak, instances]))


def measure(name: str, root: Path) -> Cost:
    """What a stage takes in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def scale(shards: Sequence[int], images: int) -> None:
    """The stages on growing numbers of shards, as a table."""
    print("| stage | shards | instances | CPU s | a further shard | instances a CPU second | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|")
    before, done = dict.fromkeys(_STAGES, 0.0), 0
    for number in shards:
        root = Path(tempfile.mkdtemp())
        try:
            write_inputs(root, number, images)
            costs = {name: measure(name, root) for name in _STAGES}
        finally:
            shutil.rmtree(root)
        instances = costs["contour"].instances
        for name, cost in costs.items():
            further = (cost.cpu_seconds - before[name]) / (number - done)
            print(
                f"| {name} | {number} | {instances:,} | {cost.cpu_seconds:.1f} | {further:.2f} "
                f"| {instances / cost.cpu_seconds:,.0f} | {cost.peak_mib:.0f} |",
                flush=True,
            )
            before[name] = cost.cpu_seconds
        done = number


def published_models() -> tuple[Any, Any, Any, Any]:
    """Grounding-DINO with its Swin-T and SAM with its ViT-H, with random weights, each with its processor."""
    import transformers as hf

    swin = hf.SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    detector = hf.GroundingDinoForObjectDetection(
        hf.GroundingDinoConfig(backbone_config=swin, text_config=hf.BertConfig())
    )
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    words = special | {2000 + index: word for index, word in enumerate(sorted(set(_CAPTION.replace(",", "").split())))}
    tokenizer = hf.BertTokenizerFast(vocab={words.get(index, f"[unused{index}]"): index for index in range(30522)})
    huge = hf.SamVisionConfig(
        hidden_size=1280,
        num_hidden_layers=32,
        num_attention_heads=16,
        global_attn_indexes=[7, 15, 23, 31],
        mlp_dim=5120,
    )
    sam = hf.SamModel(
        hf.SamConfig(
            vision_config=huge,
            prompt_encoder_config=hf.SamPromptEncoderConfig(),
            mask_decoder_config=hf.SamMaskDecoderConfig(),
        )
    )
    processor = hf.GroundingDinoProcessor(hf.GroundingDinoImageProcessor(), tokenizer)
    return detector.eval(), processor, sam.eval(), hf.SamProcessor(hf.SamImageProcessor())


def pictures_of(count: int) -> tuple[list[CaptionedImage], list[list[Box]]]:
    """Images of noise with a caption, and boxes in each."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*_SIDES, 3), np.uint8) for _ in range(count)]
    corners = np.sort(rng.random((count, _BOXES, 2, 2)), axis=2).reshape(count, _BOXES, 4)
    boxes: list[list[Box]] = [[tuple(box) for box in some] for some in corners.tolist()]
    return [CaptionedImage(image, _CAPTION) for image in images], boxes


def ours(
    detector: Detector, segmenter: Segmenter, pictures: Sequence[CaptionedImage], boxes: Sequence[Sequence[Box]]
) -> int:
    """Detect and segment with our engines; how many masks there are."""
    detector.detect(pictures)
    return sum(len(segmenter.segment(picture.image, some)) for picture, some in zip(pictures, boxes, strict=True))


class Peer:
    """Both libraries as their documentation and Grounded-SAM-2 call them: one image at a time, in float32."""

    def __init__(self, models: tuple[Any, Any, Any, Any], device: str) -> None:
        detector, self._words, sam, self._pixels = models
        self._detector, self._sam, self._device = detector.to(device), sam.to(device), device

    def __call__(self, pictures: Sequence[CaptionedImage], boxes: Sequence[Sequence[Box]]) -> int:
        """Detect and segment; how many masks there are."""
        import torch

        with torch.no_grad():
            return sum(self._one(picture.image, some) for picture, some in zip(pictures, boxes, strict=True))

    def _one(self, image: Image, boxes: Sequence[Box]) -> int:
        text = "red circle. blue star. small green ring."
        inputs = self._words(images=image, text=text, return_tensors="pt").to(self._device)
        outputs = self._detector(**inputs)
        self._words.post_process_grounded_object_detection(outputs, inputs["input_ids"], threshold=0.35)
        height, width = image.shape[:2]
        corners = [(np.array(boxes) * [width, height, width, height]).tolist()]
        given = self._pixels(images=image, input_boxes=corners, return_tensors="pt").to(self._device)
        sizes = given.pop("original_sizes"), given.pop("reshaped_input_sizes")
        given["input_boxes"] = given["input_boxes"].float()
        found = self._sam(**given)
        (masks,) = self._pixels.post_process_masks(found.pred_masks.cpu(), *sizes)
        best = found.iou_scores[0].argmax(dim=1).cpu()
        return len(masks[range(len(boxes)), best].numpy())


def compare(models: tuple[Any, Any, Any, Any], device: str, images: int, synchronise: Callable[[], None]) -> None:
    """Images a second of the peers' way and of ours, as a table."""
    from simpleseg_core.annotate.grounding_dino import TransformersGroundingDino
    from simpleseg_core.annotate.sam import TransformersSam

    pictures, boxes = pictures_of(images)
    print("| | images/s | of the peers' |\n|---|---|---|")
    peer = _rate(Peer(models, device), pictures, boxes, synchronise)
    print(f"| one image at a time, float32 | {peer:.2f} | 1.00 |")
    for dtype in ("float32", "bfloat16"):
        settings = {"device": device, "dtype": dtype}
        detector = TransformersGroundingDino(*models[:2], DetectConfig.model_validate(settings))
        segmenter = TransformersSam(*models[2:], SegmentConfig.model_validate(settings | {"engine": "sam"}))
        rate = _rate(lambda *given: ours(detector, segmenter, *given), pictures, boxes, synchronise)  # noqa: B023
        print(f"| ours, {dtype} | {rate:.2f} | {rate / peer:.2f} |")


def _rate(
    work: Callable[[Sequence[CaptionedImage], Sequence[Sequence[Box]]], int],
    pictures: Sequence[CaptionedImage],
    boxes: Sequence[Sequence[Box]],
    synchronise: Callable[[], None],
) -> float:
    work(pictures[:_WARM_UP], boxes[:_WARM_UP])
    synchronise()
    start = time.perf_counter()
    masks = work(pictures, boxes)
    synchronise()
    seconds = time.perf_counter() - start
    if masks != sum(map(len, boxes)):
        raise RuntimeError(f"{masks} masks of {sum(map(len, boxes))} boxes")
    return len(pictures) / seconds


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--images", type=int, default=100, help="images of a shard, or images in all with --device")
    parser.add_argument("--device", help="compare detect + segment with the peers' way on this torch device")
    parser.add_argument("--measure", nargs=2, metavar=("STAGE", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not all(before < after for before, after in pairwise([0, *options.shards])):
        parser.error("--shards must grow")
    if options.measure:
        run_stage(options.measure[0], Path(options.measure[1]))
    elif options.device:
        import torch

        torch.manual_seed(0)
        wait = torch.cuda.synchronize if options.device.startswith("cuda") else (lambda: None)
        compare(published_models(), options.device, options.images, wait)
    else:
        scale(options.shards, options.images)


if __name__ == "__main__":
    main()
