"""One door to all readers."""

from simpleseg_core.config import ReferringConfig
from simpleseg_core.names import did_you_mean
from simpleseg_core.sources.referring._reasonseg import read_reasonseg
from simpleseg_core.sources.referring._refcocom import read_refcocom
from simpleseg_core.sources.referring._refer import read_refer
from simpleseg_core.sources.referring._sets import ReferringSet


def read_referring(config: ReferringConfig) -> ReferringSet:
    """A data set from its original files: structure and texts are read and checked, outlines and pixels are not yet.

    Raises:
        FileNotFoundError: a file of the set is missing; the message names it and the cure.
        ValueError: a file is broken or unsafe, a benchmark split does not exist; names file and field.
    """
    if not config.root.is_dir():
        raise FileNotFoundError(
            f"{config.root}: no such folder; data.referring: set `root` of {config.name} to the folder with its files"
        )
    match config.dataset:
        case "refcocom":
            found = read_refcocom(config)
        case "reasonseg":
            found = read_reasonseg(config)
        case _:
            found = read_refer(config)
    if unknown := sorted(set(config.benchmarks or ()) - set(found.splits)):
        raise ValueError(
            f"data.referring: {config.name} has no split {', '.join(unknown)} to evaluate on"
            f"{did_you_mean(unknown[0], found.splits)}: "
            f"set `benchmarks` to some of {', '.join(sorted(found.splits))}"
        )
    return found
