"""The vocabulary of the grammar: styles, elements, tasks."""

from typing import Literal, get_args

Style = Literal["unit", "permille"]
"""`unit`: the published `[[[0.123, 0.456], ...]]`; `permille`: the compact `[[[123,456],...]]`, integers 0-1000."""

Element = Literal["text", "point", "bbox", "mask"]
"""What a query may give and an answer may say."""

ELEMENTS: tuple[Element, ...] = get_args(Element)

PAIRS: tuple[str, ...] = tuple(f"{given}->{asked}" for given in ELEMENTS for asked in ELEMENTS if given != asked)
"""Every directed pair of the 4-tuple, such as `text->mask`."""


def answer_element(task: str) -> Element:
    """What the answer to a task says.

    Raises:
        ValueError: no such task.
    """
    if task in ("caption", "count", "locate"):
        return "text"
    asked = task.partition("->")[2]
    if task not in PAIRS:
        raise ValueError(f"unknown task {task!r}: choose one of {', '.join(PAIRS)}, caption, count, locate")
    return next(element for element in ELEMENTS if element == asked)
