"""Which objective of reinforcement learning moves the nano model, with and without best-of-n distillation before it.

    python benchmarks/objectives.py --out FOLDER [--model models/sft] [--minutes 9] [--objectives gspo dr_grpo ...]

Every cell (objective, distilled or not, seed) starts from the SFT model, or from the model that the seed distilled
from it, and trains on fresh scenes of the train split under a seed of their own; each is judged greedily on the same
held-out scenes of that kind, never on a benchmark. Gains over SFT come with 95% intervals of the paired bootstrap.
Needs neither Ray nor vLLM: one GPU, or the CPU at small sizes. FOLDER/results.json holds what is done, so a run that
stopped after --minutes goes on where it was; FOLDER/distilled-SEED.safetensors the models of the seeds.
"""

import argparse
import json
import multiprocessing as mp
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from itertools import product
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.config.files import load_config
from simpleseg_core.config.training import ObjectiveName
from simpleseg_core.files import write_json
from simpleseg_core.metrics import paired_bootstrap

if TYPE_CHECKING:
    from cells import Cell, Scored, Settings

# Processes that score answers import this file, so what is heavy is imported where it is used. Others are forked, which
# spares them the imports; this process must not touch the GPU therefore.
_DISTINCT = ("gspo", "dr_grpo", "luspo", "maxrl", "gdpo")
"""On-policy the other five are one of these: see simpleseg_core/training/objectives."""
_FIRST_HELD_OUT = 10_000_000


def _work(jobs: Any, results: Any, arguments: tuple[Any, ...], out: Path, deadline: float) -> None:
    """A process: does cells until there are none; None stands for one that the time did not suffice for."""
    from cells import Bench, Stopped, run_cell

    bench = Bench(*arguments)
    while (cell := jobs.get()) is not None:
        try:
            results.put((cell, run_cell(bench, cell, out, deadline)))
        except Stopped:
            results.put((cell, None))
        except Exception:
            results.put((cell, traceback.format_exc()))


class Results:
    """The results file."""

    def __init__(self, out: Path, settings: "Settings") -> None:
        self._path, self._settings = out / "results.json", asdict(settings)
        self.cells: dict[str, Any] = {}
        if self._path.exists():
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if found["settings"] != self._settings:
                raise SystemExit(
                    f"{self._path} was made with other settings: name another --out, or give the same ones"
                )
            self.cells = found["cells"]

    def add(self, cell: "Cell", scored: "Scored") -> None:
        self.cells[cell.key] = scored
        write_json(self._path, {"settings": self._settings, "cells": self.cells})

    @cached_property
    def sft(self) -> NDArray[np.float64]:
        return np.array(self.cells["start/sft/0"]["iou"])

    def table(self, present: NDArray[np.bool_]) -> str:
        """Gains over SFT of every objective and start, over all seeds done and for each of them."""
        groups: dict[str, list[Any]] = {}
        for key, scored in sorted(self.cells.items()):
            groups.setdefault(key.rsplit("/", 1)[0], []).append(scored)
        head = f"SFT: gIoU {self.sft.mean():.2%}, outlines {self.sft[present].mean():.2%}, "
        lines = [
            head + f"absent {self.sft[~present].mean():.2%} ({len(present)} queries, {present.sum()} with targets)"
        ]
        lines.append(
            f"{'objective/start':<22}{'n':>2} {'gIoU':>20} {'outlines':>20} {'absent':>7} {'s':>6}  by seed, outlines"
        )
        for name, done in groups.items():
            ious = np.array([scored["iou"] for scored in done])
            mean = ious.mean(0)
            seeds = " ".join(_gain(row[present], self.sft[present]) for row in ious)
            lines.append(
                f"{name:<22}{len(done):>2} {_gain(mean, self.sft):>20} {_gain(mean[present], self.sft[present]):>20} "
                f"{mean[~present].mean():>7.1%} {np.mean([s['seconds'] for s in done]):>6.0f}  {seeds}"
            )
        return "\n".join(lines)


def _gain(a: NDArray[np.float64], b: NDArray[np.float64]) -> str:
    """Points of a over b, with the interval of the paired bootstrap."""
    found = paired_bootstrap(100 * a, 100 * b)
    return f"{found.mean:+.1f} [{found.low:+.1f},{found.high:+.1f}]"


def run(arguments: argparse.Namespace, settings: "Settings") -> None:
    """Do the cells that are missing, as many as the time allows, and print the table after each."""
    from cells import Cell
    from scenes import draw_scenes

    deadline, out = time.time() + 60 * arguments.minutes, Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    results = Results(out, settings)
    processes, config = arguments.cpus, load_config(Path(__file__).parents[1] / "params.yaml")
    pool = draw_scenes(config, settings.scenes_seed, range(settings.pool), processes)
    if settings.present_only:
        pool = pool.that_are_there()
    judged_by = range(_FIRST_HELD_OUT, _FIRST_HELD_OUT + settings.held_out)
    held_out = draw_scenes(config, settings.scenes_seed, judged_by, processes)
    print(f"{len(pool.truths)} + {len(held_out.truths)} scenes drawn; {deadline - time.time():.0f} s left", flush=True)
    work = (config, settings, pool, held_out, arguments.micro_batch, max(1, processes // arguments.jobs))
    starts = [Cell(0, "", False)] + [Cell(s, "", True) for s in range(arguments.seeds) if True in arguments.distilled]
    rest = [Cell(s, o, d) for s, d, o in product(range(arguments.seeds), arguments.distilled, arguments.objectives)]
    with _Crew(arguments.jobs, work, out, deadline) as crew:
        for cells in (starts, rest):
            missing = [cell for cell in cells if cell.key not in results.cells]
            for cell, scored in crew.results(missing):
                results.add(cell, scored)
                print(f"{cell.key}: {scored['seconds']:.0f} s; {deadline - time.time():.0f} s left", flush=True)
            if "start/sft/0" in results.cells:
                print(results.table(held_out.present), flush=True)


class _Crew:
    """Processes that share the device."""

    def __init__(self, size: int, work: tuple[Any, ...], out: Path, deadline: float) -> None:
        context = mp.get_context("fork")
        self._jobs, self._results = context.Queue(), context.Queue()
        arguments = (self._jobs, self._results, work, out, deadline)
        self._members = [context.Process(target=_work, args=arguments) for _ in range(size)]

    def __enter__(self) -> "_Crew":
        for member in self._members:
            member.start()
        return self

    def results(self, cells: "list[Cell]") -> Iterator["tuple[Cell, Scored]"]:
        """Cells as they are done; those that the time did not suffice for are left out."""
        for cell in cells:
            self._jobs.put(cell)
        for _ in cells:
            cell, scored = self._next()
            if isinstance(scored, str):
                print(f"{cell.key} failed:\n{scored}", flush=True)
            elif scored is not None:
                yield cell, scored

    def _next(self) -> Any:
        while True:
            try:
                return self._results.get(timeout=5)
            except Empty:
                if not all(member.is_alive() for member in self._members):
                    raise SystemExit(
                        "a process died; see above, and try fewer --jobs or a smaller --micro-batch"
                    ) from None

    def __exit__(self, *_: object) -> None:
        for _ in self._members:
            self._jobs.put(None)
        for member in self._members:
            member.join()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of the results")
    parser.add_argument("--model", default="models/sft", help="the SFT checkpoint")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which nothing more is begun or finished")
    parser.add_argument("--objectives", nargs="+", default=list(_DISTINCT), choices=get_args(ObjectiveName))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--distilled", choices=("both", "with", "without"), default="both")
    parser.add_argument("--steps", type=int, default=60, help="of reinforcement")
    parser.add_argument("--prompts", type=int, default=512, help="of one step")
    parser.add_argument("--group", type=int, default=8, help="answers to a prompt")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--pool", type=int, default=8192, help="scenes to learn from")
    parser.add_argument("--present-only", action="store_true", help="learn from queries whose object is there")
    parser.add_argument("--held-out", type=int, default=2000, help="scenes to be judged by")
    parser.add_argument("--scenes-seed", type=int, default=20_261_125)
    parser.add_argument("--margin", type=float, default=0.02, help="of the reward, for an answer to be distilled")
    parser.add_argument("--epochs", type=int, default=4, help="over the distilled answers")
    parser.add_argument("--distill-lr", type=float, default=2e-4)
    parser.add_argument("--distill-batch", type=int, default=256)
    parser.add_argument("--micro-batch", type=int, default=1024, help="answers of one forward pass")
    parser.add_argument("--jobs", type=int, default=3, help="cells at a time on the device")
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    found = parser.parse_args()
    found.distilled = {"both": [False, True], "with": [True], "without": [False]}[found.distilled]
    return found


def _settings(found: Mapping[str, Any]) -> "Settings":
    from cells import Settings

    return Settings(**{name: found[name] for name in Settings.__dataclass_fields__})


if __name__ == "__main__":
    parsed = _arguments()
    run(parsed, _settings(vars(parsed)))
