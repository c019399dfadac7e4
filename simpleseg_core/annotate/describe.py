"""The describer without a model: the detector's phrase, made unambiguous by size or position where several share it."""

from collections.abc import Sequence

from simpleseg_core.annotate._protocols import Annotated, Description
from simpleseg_core.instructions.expressions import Item, name_items

AMBIGUOUS = "ambiguous"
"""`description_source` of a description that several things in the image answer to."""


class CaptionDescriber:
    """ "red circle", or "leftmost red circle" where there are more."""

    name = "caption"

    def describe(self, scenes: Sequence[Annotated]) -> list[list[Description]]:
        """One expression for each instance of an image; where none is plain, the phrase, marked as ambiguous."""
        return [self._image(scene) for scene in scenes]

    def close(self) -> None:
        """Nothing is held."""

    def _image(self, scene: Annotated) -> list[Description]:
        items = [Item(item.phrase, item.box, float(item.mask.mean())) for item in scene.instances]
        named: dict[int, str] = {}
        # An instance's own phrase says more than its place among those of a general one.
        for naming in sorted(name_items(items, scene.others), key=lambda naming: naming.kind != "attribute"):
            named.setdefault(naming.index, naming.text)
        return [
            Description(named[index], self.name) if index in named else Description(item.phrase, AMBIGUOUS)
            for index, item in enumerate(scene.instances)
        ]
