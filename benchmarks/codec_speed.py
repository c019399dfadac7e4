"""How quick the codecs are, how their cost grows with the image, and what masks without any structure cost."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pycocotools import mask as coco

from benchmarks.codec_recipes import Instance, our_encode, published_decode, published_encode
from simpleseg_core.geometry import Mask, decode_rle, encode_rle, mask_to_polygons, polygons_mask_iou
from simpleseg_core.grammar import parse_polygons

_SIDES = (480, 1920, 7680)
_ROUNDS = 5


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


def noise() -> dict[str, float]:
    """Seconds for masks of COCO's size that are all corners, at the default tolerance and with at most 256 points."""
    rows, columns = np.indices((480, 640))
    masks = {
        "checkerboard": (rows + columns) % 2 == 0,
        "half of the pixels, at random": np.random.default_rng(0).random((480, 640)) < 0.5,
        "comb": (columns % 2 == 0) | (rows == 0),
    }
    print("\n| seconds, 640 x 480 | all points | at most 256 |\n|---|---|---|")
    table = {}
    for name, mask in masks.items():
        whole, capped = (_seconds(partial(mask_to_polygons, mask, max_points=most)) for most in (None, 256))
        table |= {name: whole, f"{name}, at most 256 points": capped}
        print(f"| {name} | {whole:.2f} | {capped:.2f} |")
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
