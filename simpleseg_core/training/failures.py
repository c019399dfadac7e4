"""How a training ends before its end: asked to, by a fault that would come again, or by one that would not.

Whoever starts the workers and the workers themselves tell each other through files in the stage's work folder.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from simpleseg_core.files import write_text
from simpleseg_core.training.run import SupervisedRun

_CPU_IS_FULL = "can't allocate memory"


def stop_file(work: Path) -> Path:
    """There while the run is asked to save and end."""
    return work / "stop"


def fault_file(work: Path) -> Path:
    """What has gone wrong, where the same would go wrong again."""
    return work / "fault.txt"


@contextmanager
def saving_on_sigterm(work: Path) -> Iterator[None]:
    """In the block, SIGTERM asks the run to save and end behind its step; a second one does what it did before."""
    for file in (stop_file(work), fault_file(work)):
        file.unlink(missing_ok=True)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def ask(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)
        work.mkdir(parents=True, exist_ok=True)
        stop_file(work).touch()

    signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def telling_faults(run: SupervisedRun) -> Iterator[None]:
    """Leave word of an error of the block that another attempt would only repeat: one of data, of settings, of memory.

    A worker that is killed leaves none, nor do the others, for which a connection ends.

    Raises:
        MemoryError: in place of what torch raises when memory runs out; the message names what to change.
    """
    try:
        yield
    except Exception as error:
        fault = _named(error, run)
        if not isinstance(fault, RuntimeError | OSError) or isinstance(fault, FileNotFoundError):
            with suppress(OSError):
                write_text(fault_file(run.work), f"{type(fault).__name__}: {fault}")
        raise fault from (error if fault is not error else error.__cause__)


def _named(error: Exception, run: SupervisedRun) -> Exception:
    import torch  # whoever starts a run needs none

    if isinstance(error, torch.OutOfMemoryError) or _CPU_IS_FULL in str(error):
        return MemoryError(f"{run.name}: out of memory: {_cure(run)} ({str(error).splitlines()[0]})")
    return error


def _cure(run: SupervisedRun) -> str:
    """The settings that save memory and are not set yet, the cheapest first."""
    train, name = run.train, run.name
    cures = {
        f"lower {name}.micro_batch_size, which is {train.micro_batch_size}": train.micro_batch_size > 1,
        f"set {name}.loss_chunk to 1024": train.loss_chunk == 0,
        f"set {name}.gradient_checkpointing to true": not train.gradient_checkpointing,
        f"set {name}.reshard to true": train.strategy == "fsdp2" and not train.reshard,
        f"set {name}.gradient_sync to micro_batch": train.strategy == "fsdp2" and train.gradient_sync == "step",
        f"set {name}.strategy to fsdp2 and raise {name}.workers": train.strategy == "ddp" and not train.lora,
        f"raise {name}.workers": train.strategy == "fsdp2",
        f"set {name}.lora": not train.lora,
        "lower model.max_pixels": True,
    }
    return ", or ".join(cure for cure, helps in cures.items() if helps)
