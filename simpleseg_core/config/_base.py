"""The base of every configuration model: frozen, strict, and particular about what any text or number may be."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import to_jsonable_python

from simpleseg_core.config.secrets import refusal

Value = TypeVar("Value")

_OPERATIONAL = "operational"

Operational = Annotated[Value, _OPERATIONAL]
"""Type of a setting of how the work is done, watched or shown. It changes no result, so work begun under another value
goes on; every setting without this mark is taken to change the result."""

MOST = 10**12
"""No number of a configuration is larger, whatever it counts; most have bounds of their own below it."""
_LONGEST = 4096
"""Characters of the longest text."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Section(BaseModel):
    """One section of params.yaml; an unknown key is an error and values never change after validation.

    A number is a number and finite (`true` and `"1"` are none); a text is one line that holds no secret.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True,
        validate_default=True, hide_input_in_errors=True,
    )  # fmt: skip

    @field_validator("*", mode="before")
    @classmethod
    def _is_fit(cls, value: object, info: ValidationInfo) -> object:
        kinds = set(_kinds(cls.model_fields[str(info.field_name)].annotation))
        if not any(isinstance(kind, type) and issubclass(kind, Section) for kind in kinds):  # they look at their own
            for each in _scalars(value):
                if reason := _unfit(each):
                    raise ValueError(reason)
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty: write a value, or nothing behind the colon")
        if isinstance(value, list):  # YAML knows neither tuples nor paths
            return tuple(value)
        return Path(value) if isinstance(value, str) and Path in kinds else value

    @classmethod
    def operational(cls) -> set[str]:
        """Names of the settings that change no result."""
        return {name for name, field in cls.model_fields.items() if _OPERATIONAL in field.metadata}


def decisive(value: object) -> Any:
    """A configuration value as JSON would hold it, without the operational settings of any section in it."""
    if isinstance(value, Section):
        return {name: decisive(item) for name, item in value if name not in value.operational()}
    if isinstance(value, tuple):
        return [decisive(item) for item in value]
    return to_jsonable_python(value)


def _unfit(value: object) -> str | None:
    """Why no setting may have a value; None where one may."""
    if isinstance(value, int | float):
        return f"larger than any setting ({MOST:.0e})" if abs(value) > MOST else None
    if not isinstance(value, str | PurePath):
        return None
    text = str(value)
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST:,} characters"
    if found := _CONTROL.search(text):
        return f"holds the control character {found[0]!a}: write the text in one line without it"
    return refusal(text)


def _kinds(annotation: object) -> Iterator[object]:
    """A type and everything that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _scalars(value: object) -> Iterator[object]:
    """The texts and numbers in a value, keys included."""
    if isinstance(value, Mapping):
        for pair in value.items():
            yield from _scalars(pair)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _scalars(each)
    else:
        yield value
