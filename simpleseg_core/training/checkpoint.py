"""Training state on disk: each worker writes its share while it trains on; whole or not at all, checked before use.

A state is a folder of safetensors files, a share each, and of `state.json`, which has their checksums and comes last.
Any number of workers reads what any other number has written; the folder is on a disk that all of them see.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any, TypeVar, cast

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.storage import WriteResult

from simpleseg_core.files import flush, read_state, write_json, write_text
from simpleseg_core.fingerprint import file_sum

_log = logging.getLogger(__name__)
# torch says with each state that there is one process, and logs each tensor of it to whoever logs at all.
warnings.filterwarnings("ignore", "torch.distributed is disabled")
logging.getLogger("c10d-NullHandler-dcp_logger").setLevel(logging.ERROR)
_STATE = "state.json"
_SUM = ".sha256"
_T = TypeVar("_T")
Values = dict[str, Any]
"""What goes into JSON."""


class Checkpoints:
    """Numbered states of one run, in the folder of its fingerprint; those of other runs beside it are left alone.

    All workers make one and call the same methods in the same order. A state that is damaged in whatever way is set
    aside under another name, and the one before it counts.
    """

    def __init__(
        self, folder: Path, fingerprint: str, keep: int = 2, say: Callable[[str], None] = _log.warning
    ) -> None:
        """Open the states of a run.

        Args:
            folder: holds the folders of all runs of a stage.
            fingerprint: of everything that the states depend on.
            keep: how many states are kept.
            say: told in one line what is passed over, and where it lies; by the first worker.
        """
        self._all, self._fingerprint, self._keep, self._say = folder, fingerprint, keep, say
        self._folder = folder / fingerprint[:16]
        # The writer works beside the training, so its messages need a way of their own.
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._rank: int = self._group.rank() if self._group else 0
        self._size: int = self._group.size() if self._group else 1
        self._saving: Future[Any] | None = None

    def save(self, step: int, tensors: Mapping[str, Tensor], **values: Any) -> None:
        """Copy the state after `step` steps, and write it while the run goes on; then the oldest ones go.

        Args:
            tensors: whole or sharded.
            values: whatever else belongs to it; goes into JSON.

        Raises:
            OSError: the state before this one could not be written.
        """
        self.wait()
        told = {"step": step, "fingerprint": self._fingerprint, "values": values}
        saving = async_save(
            {name: _copied(tensor) for name, tensor in tensors.items()},
            storage_writer=_Writer(self._path(step), told, self._drop_old),
            process_group=self._group,
            no_dist=self._group is None,
        )
        self._saving = cast(Future[Any], saving)

    def wait(self) -> None:
        """Until what is being written is there.

        Raises:
            OSError: it could not be written.
        """
        saving, self._saving = self._saving, None
        if saving:
            with _failing_as(OSError, f"{self._folder}: the state of the training could not be written"):
                saving.result()

    def latest(self) -> tuple[int, Values] | None:
        """Step and values of the newest undamaged state, the same on all workers; `load` reads its tensors."""
        self.wait()
        for step in reversed(self._agreed(self._steps())):
            if (values := self._checked(step)) is not None:
                return step, values
        if self._rank == 0:
            self._name_others()
        return None

    def load(self, step: int, into: Mapping[str, Tensor]) -> None:
        """Fill tensors, whole or sharded, with those of a state; nothing in a checkpoint can run code.

        Raises:
            ValueError: it does not hold them.
        """
        path = self._path(step)
        reader = HuggingFaceStorageReader(str(path))
        with _failing_as(ValueError, f"{path}: the state of the training could not be read"):
            load(dict(into), storage_reader=reader, process_group=self._group, no_dist=self._group is None)

    def clear(self) -> None:
        """Forget the states of this run: it is done."""
        self.wait()
        if self._rank == 0:
            rmtree(self._folder, ignore_errors=True)

    def _checked(self, step: int) -> Values | None:
        """The values of a state if nothing of it is damaged; each worker looks at some of the files."""
        found, fault = _read(self._path(step), self._rank, self._size)
        if not fault and (found["step"], found["fingerprint"]) != (step, self._fingerprint):
            fault = f"it holds step {found['step']} of run {found['fingerprint']}"
        faults = list(filter(None, self._gathered(fault)))
        if faults and self._rank == 0:
            self._set_aside(step, faults[0])
        return None if faults else found["values"]

    def _set_aside(self, step: int, fault: str) -> None:
        path = self._path(step)
        aside = path.with_name(f"{path.name}.damaged")
        rmtree(aside, ignore_errors=True)
        path.replace(aside)
        self._say(f"the checkpoint of step {step} cannot be used ({fault}); it is kept as {aside}")

    def _name_others(self) -> None:
        """Say where states of other settings lie: they are of use again when the settings are."""
        others = sorted(each for each in self._all.glob("*") if each != self._folder)
        if others:
            self._say(
                f"starting afresh; checkpoints made under other settings are kept: {', '.join(map(str, others))} "
                "(going back to their settings goes on with them; remove what you do not need)"
            )

    def _drop_old(self) -> None:
        for old in self._steps()[: -self._keep]:
            rmtree(self._path(old))

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"

    def _steps(self) -> list[int]:
        numbers = (path.name.removeprefix("step-") for path in self._folder.glob("step-*"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _agreed(self, steps: list[int]) -> list[int]:
        """What the first worker sees."""
        return self._gathered(steps)[0]

    def _gathered(self, value: _T) -> list[_T]:
        """The value of each worker."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * self._size
        dist.all_gather_object(values, value, group=self._group)
        return values


@contextmanager
def _failing_as(kind: type[Exception], what: str) -> Iterator[None]:
    """Torch's exception is none that `except Exception` sees; it holds those of the workers."""
    try:
        yield
    except CheckpointException as error:
        first, _ = next(iter(error.failures.values()))
        raise kind(f"{what}: {first}") from first


def _copied(tensor: Tensor) -> Tensor:
    """On the CPU; torch's own staging would write tensors that are there already while the next step changes them."""
    return tensor.detach().clone() if tensor.device.type == "cpu" else tensor.detach().cpu()


class _Writer(HuggingFaceStorageWriter):
    """Writes the shares beside where the state will be; the first worker gives them its name when all are there."""

    def __init__(self, target: Path, told: Values, done: Callable[[], None]) -> None:
        self._target, self._told, self._done = target, told, done
        self._partial = target.with_name(f"{target.name}.partial")
        super().__init__(str(self._partial), save_distributed=True)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if is_coordinator:  # what a process that was killed has left; workers write once this one has planned
            rmtree(self._partial, ignore_errors=True)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Any:
        writing = super().write_data(plan, planner)
        for name in {result.storage_data.relative_path for result in writing.wait()}:
            file = self._partial / name
            write_text(file.with_name(name + _SUM), file_sum(file))
        return writing

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        sums = {file.stem: file.read_text(encoding="utf-8") for file in self._partial.glob(f"*{_SUM}")}
        for name in sums:
            (self._partial / (name + _SUM)).unlink()
        write_json(self._partial / _STATE, {**self._told, "files": sums})
        write_text(self._partial / (_STATE + _SUM), f"{file_sum(self._partial / _STATE)}  {_STATE}\n")
        flush(self._partial)
        rmtree(self._target, ignore_errors=True)
        self._partial.replace(self._target)
        flush(self._target.parent)
        self._done()


def _read(folder: Path, rank: int, size: int) -> tuple[Values, str]:
    """What is told of a state; and what is wrong with it, or with those of its files that fall to a worker."""
    state, told = folder / _STATE, Values()
    try:
        if (folder / (_STATE + _SUM)).read_text(encoding="utf-8") != f"{file_sum(state)}  {_STATE}\n":
            return told, f"{_STATE} is not what its checksum says"
        told = read_state(state)
        for name in sorted(told["files"])[rank::size]:
            if file_sum(folder / name) != told["files"][name]:
                return told, f"{name} is not what its checksum says"
    except (OSError, UnicodeDecodeError, KeyError) as error:
        return told, repr(error)
    return told, ""
