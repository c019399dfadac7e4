"""What people add a file for: each kind of thing has a folder of the core, and a file there is found by its name.

The configuration asks for names before anything runs, so that costs a look into the folder and imports nothing of it.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from simpleseg_core.names import did_you_mean

if TYPE_CHECKING:
    from simpleseg_core.annotate.describers import DescriberEngine
    from simpleseg_core.annotate.detectors import DetectorEngine
    from simpleseg_core.annotate.segmenters import SegmenterEngine
    from simpleseg_core.export.formats import ExportFormat
    from simpleseg_core.models.architectures import Architecture
    from simpleseg_core.rewards.terms import Term

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Kind(Generic[Thing]):
    """Things of one kind: the public files of one folder, each with an object of one name."""

    word: str
    """What messages call one of them."""
    folder: str
    """Dotted, below `simpleseg_core`."""
    attribute: str
    """What a file calls its thing."""

    def names(self) -> tuple[str, ...]:
        """Those that there are, in the order of the alphabet."""
        folder = Path(__file__).parent.joinpath(*self.folder.split("."))
        return tuple(sorted(file.name for file in iter_modules([str(folder)]) if not file.name.startswith("_")))

    def schema(self) -> dict[str, object]:
        """The JSON schema of a name, for forms."""
        return {"type": "string", "enum": list(self.names())}

    def known(self, name: str) -> str:
        """The name, if a file has it.

        Raises:
            ValueError: none has; the message lists those there are.
        """
        names = self.names()
        if name not in names:
            raise ValueError(f"no {self.word} {name!r}{did_you_mean(name, names)}: choose one of {', '.join(names)}")
        return name

    def load(self, name: str) -> Thing:
        """The thing of that name.

        Raises:
            ValueError: there is none.
        """
        return cast(Thing, getattr(import_module(f"{__package__}.{self.folder}.{self.known(name)}"), self.attribute))


DETECTORS: "Kind[DetectorEngine]" = Kind("detector", "annotate.detectors", "DETECTOR")
"""Values of `detect.engine`."""
SEGMENTERS: "Kind[SegmenterEngine]" = Kind("segmenter", "annotate.segmenters", "SEGMENTER")
"""Values of `segment.engine`."""
DESCRIBERS: "Kind[DescriberEngine]" = Kind("describer", "annotate.describers", "DESCRIBER")
"""Values of `describe.engine`."""
ARCHITECTURES: "Kind[Architecture]" = Kind("architecture", "models.architectures", "ARCHITECTURE")
"""Values of `model.architecture`."""
REWARD_TERMS: "Kind[Term]" = Kind("reward term", "rewards.terms", "reward")
"""Keys of `rl.rewards.weights`."""
EXPORT_FORMATS: "Kind[ExportFormat]" = Kind("export format", "export.formats", "write")
"""What `simpleseg export` writes."""

KINDS: tuple[Kind[Any], ...] = (DETECTORS, SEGMENTERS, DESCRIBERS, ARCHITECTURES, REWARD_TERMS, EXPORT_FORMATS)
