"""Kill -9 of workers and drivers at random steps of a sharded training, against the same training left alone.

    python -m benchmarks.kills [--kills 20] [--steps 200]

Two gloo workers fine-tune the nano base under FSDP2, a state every second step. In turns a worker or the driver is
killed at a random moment of its life; a run whose driver died is started again. What must hold: every start goes on
from a state, no state is damaged, no step's loss is lost or another, no process is left behind, and the weights in the
end are those of the run that nobody troubled, bit for bit.
"""

import argparse
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from safetensors.numpy import load_file

from benchmarks.sft import draw_rows
from simpleseg_core.config import Config, OptimizerConfig, RayConfig, TrainConfig
from simpleseg_core.config.files import load_profile
from simpleseg_core.contract import Context
from simpleseg_core.journal import Journal
from simpleseg_core.training.launch import launch
from simpleseg_core.training.run import SupervisedRun

_WORKER = "ray::RayTrainWorker"
_ROWS, _BATCH = 256, 8
_PATIENCE_S = 600


def drive(work: Path, steps: int) -> None:
    """What a driver does: start or go on."""
    config = load_profile("nano")
    settings = TrainConfig(
        batch_size=_BATCH,
        micro_batch_size=4,
        workers=2,
        threads=1,
        strategy="fsdp2",
        log_every=1,
        checkpoint_every=2,
        noise_every=0,
        max_failures=100,
        optimizer=OptimizerConfig(name="muon", lr=1e-4, min_lr=1e-5),
    )
    config = Config(model=config.model, data=config.data, sft=settings, ray=RayConfig(num_cpus=2))
    rows = draw_rows(config, _ROWS)
    run = SupervisedRun("sft", 0, steps, settings, config.model, config.model.base, rows, work / "model", work, "kills")
    launch(replace(run, work=work), config, Context(work, Journal(work)))


def losses(work: Path) -> dict[int, list[float]]:
    """What the journal says of each step: one value, or as many as it was taken."""
    told: dict[int, list[float]] = {}
    for _, event in Journal(work).read():
        if "loss" in (metrics := event.get("metrics", {})):
            told.setdefault(event["step"], []).append(metrics["loss"])
    return told


class Driver:
    """A process that drives the run, with all that it starts."""

    def __init__(self, work: Path, steps: int) -> None:
        command = [sys.executable, "-m", "benchmarks.kills", "--drive", str(work), "--steps", str(steps)]
        with (work / "log").open("a", encoding="utf-8") as log:
            self.process = psutil.Popen(command, stdout=log, stderr=log)
        self.family: set[psutil.Process] = set()

    def workers(self) -> list[psutil.Process]:
        """Those that train now."""
        self.family |= set(self.process.children(recursive=True))
        return [each for each in self.family if each.is_running() and _is_worker(each)]

    def steps_on(self, work: Path, count: int) -> bool:
        """Wait for so many further steps; whether the run goes on then."""
        goal, until = len(losses(work)) + count, time.monotonic() + _PATIENCE_S
        while self.process.poll() is None and len(losses(work)) < goal:
            self.workers()
            if time.monotonic() > until:
                raise SystemExit(f"no step in {_PATIENCE_S} s: see {work / 'log'}")
            time.sleep(0.1)
        return self.process.poll() is None

    def left_behind(self) -> list[psutil.Process]:
        """Which of the family live a while after their driver."""
        return psutil.wait_procs(self.family, timeout=60)[1]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == [_WORKER] or _WORKER in process.name()
    except psutil.NoSuchProcess:
        return False


def trouble(work: Path, steps: int, kills: int, seed: int) -> list[str]:
    """Train with so many kills; what did not hold."""
    rng, wrong, driver = random.Random(seed), list[str](), Driver(work, steps)
    for number in range(kills):
        if not driver.steps_on(work, rng.randint(1, 5)):
            return [*wrong, f"the run ended before kill {number + 1}: raise --steps"]
        time.sleep(rng.random())
        kind = ("worker", "driver")[number % 2]
        print(f"kill {number + 1}: a {kind} behind step {max(losses(work))}", flush=True)
        if kind == "worker":
            rng.choice(driver.workers()).kill()
        else:
            driver.process.kill()
            wrong += [f"left behind by kill {number + 1}: {each}" for each in driver.left_behind()]
            driver = Driver(work, steps)
    if driver.process.wait():
        wrong.append(f"the last driver ended with {driver.process.returncode}: see {work / 'log'}")
    return wrong


def compare(troubled: Path, quiet: Path, steps: int) -> list[str]:
    """What differs from the run that was left alone."""
    told, expected = losses(troubled), losses(quiet)
    wrong = [f"step {step} is missing" for step in range(1, steps + 1) if step not in told]
    wrong += [
        f"step {step}: loss {told[step]}, and {expected[step]} untroubled"
        for step in told
        if set(told[step]) != set(expected[step])
    ]
    one, other = (load_file(work / "model/model.safetensors") for work in (troubled, quiet))
    wrong += [f"{name} differs" for name, weight in one.items() if weight.tobytes() != other[name].tobytes()]
    wrong += [f"{damaged} was set aside" for damaged in troubled.glob("checkpoints/*/*damaged*")]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.drive, arguments.steps)
        return
    with TemporaryDirectory() as name:
        quiet, troubled = Path(name) / "quiet", Path(name) / "troubled"
        for work in (quiet, troubled):
            work.mkdir()
        began = time.perf_counter()
        if Driver(quiet, arguments.steps).process.wait():
            raise SystemExit((quiet / "log").read_text(encoding="utf-8"))
        between = time.perf_counter()
        wrong = trouble(troubled, arguments.steps, arguments.kills, arguments.seed)
        wrong = wrong or compare(troubled, quiet, arguments.steps)
        took = f"{between - began:.0f} s left alone, {time.perf_counter() - between:.0f} s troubled"
    print("\n".join(wrong) or f"{arguments.kills} kills in {arguments.steps} steps: nothing differs ({took})")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
