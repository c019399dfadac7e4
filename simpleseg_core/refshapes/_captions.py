"""Alt-text for a RefShapes scene, as a web page might carry it."""

from simpleseg_core.refshapes._expressions import NUMBERS, Phrase
from simpleseg_core.refshapes._objects import Scene, ShapeObject


def phrase(item: ShapeObject) -> str:
    """The noun phrase of an object in a caption: "small green ring"."""
    return Phrase(item.color, item.shape, item.size).text()


def describe(scene: Scene) -> str:
    """A caption that names every object: "a red circle, two blue stars and a small green ring"."""
    counts: dict[Phrase, int] = {}
    for item in scene.objects:
        key = Phrase(item.color, item.shape, item.size)
        counts[key] = counts.get(key, 0) + 1
    *first, last = [_counted(key, count) for key, count in counts.items()]
    return f"{', '.join(first)} and {last}" if first else last


def _counted(key: Phrase, count: int) -> str:
    if count > 1:
        return f"{NUMBERS[count - 2]} {key.text(plural=True)}"
    if key.shape == "dots":
        return key.text()
    return f"{'an' if key.text()[0] in 'aeiou' else 'a'} {key.text()}"
