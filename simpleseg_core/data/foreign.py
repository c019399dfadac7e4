"""Annotation files of others, read and checked once: what is wrong is said with file, entry, field and value."""

import json
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, Strict, TypeAdapter, ValidationError

T = TypeVar("T")

_SHOWN = 80
"""Characters of a wrong value that a message shows."""
_UNIONS = ("int", "str")


def _said(text: str) -> str:
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise ValueError("it must not be empty")
    return text


Number = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
"""A whole number, 0 or more; neither text nor a flag."""
Id = Annotated[int, Strict()] | Annotated[str, Strict()]
Real = Annotated[FiniteFloat, Strict()]
"""A number with or without a point; neither text nor a flag."""
Side = Annotated[int, Strict(), Field(ge=1, le=65_535)]
"""Pixels of an image's side; JPEG holds no more."""
Text = Annotated[str, Strict()]
Name = Annotated[Text, AfterValidator(_said)]
Flag = Annotated[bool, BeforeValidator(lambda value: False if value is None else value)]
"""True, 1, "1", "true", "yes" and their opposites, as they say; null is no."""


def read_text(path: Path) -> str:
    """A text file in UTF-8, 16 or 32, with or without a byte order mark, else in the code page of Windows."""
    data = path.read_bytes()
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_json(path: Path, cure: str) -> Any:
    """The content of a JSON file in UTF-8, 16 or 32, with or without a byte order mark.

    Raises:
        FileNotFoundError: no such file; the message ends in `cure`.
        ValueError: not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {cure}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); {cure}") from error


def checked(adapter: TypeAdapter[T], value: object, file: Path | str, section: str) -> T:
    """A section of a file as its model.

    Raises:
        ValueError: it does not fit; names the file, the first wrong field and its value.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{file}: {_first(error, section)}") from None


def check_unique(ids: Iterable[Hashable], path: Path, section: str, name: str = "id") -> None:
    """ValueError where two entries of a section have one id, or where ids are of several kinds."""
    counts = Counter(ids)
    if len({type(each) for each in counts}) > 1:
        raise ValueError(f"{path}: `{name}` of `{section}` is a number here and a text there: write it in one way")
    if twice := [each for each, count in counts.items() if count > 1]:
        more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
        raise ValueError(f"{path}: two entries of `{section}` have the {name} {twice[0]!r}{more}: give each its own")


def _first(error: ValidationError, section: str) -> str:
    found = error.errors(include_url=False)[0]
    # Members of unions are named too, as `int` or `list[...]`: those are no fields.
    place = [part for part in found["loc"] if isinstance(part, int) or (part.isidentifier() and part not in _UNIONS)]
    entry = f"entry {place.pop(0)} of `{section}`" if place and isinstance(place[0], int) else f"`{section}`"
    field = ".".join(map(str, place))
    if found["type"] == "missing":
        return f"{entry} has no `{field}`: {json.dumps(found['input'], default=str)[:_SHOWN]}"
    what = f"`{field}` of {entry}" if field else entry
    wanted = "it must be an object" if found["type"] == "dataclass_type" else found["msg"].removeprefix("Value error, ")
    return f"{what} is {repr(found['input'])[:_SHOWN]}: {wanted}"
