"""Every number of the configuration has bounds, and every text its form, whatever the field."""

import re
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from simpleseg_core.config import Config, FilterConfig, IngestConfig, OptimizerConfig, RayConfig, TrackingConfig
from simpleseg_core.config._base import Section
from simpleseg_core.config.files import ConfigError, load_config


def _sections(model: type[Section] = Config) -> Iterator[type[Section]]:
    """Every model that the configuration is made of, those inside of tuples too."""
    yield model
    for field in model.model_fields.values():
        for kind in _kinds(field.annotation):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from _sections(kind)


def _kinds(annotation: object) -> Iterator[object]:
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _kinds(part)


def _fields(*wanted: type) -> list[Any]:
    """(section, name, how a value is wrapped) of every field that is made of the wanted types."""
    found = []
    for section in dict.fromkeys(_sections()):
        for name, field in section.model_fields.items():
            if set(_kinds(field.annotation)) & set(wanted):
                found.append(pytest.param(section, name, _wrap(field.annotation), id=f"{section.__name__}.{name}"))
    return found


def _wrap(annotation: object) -> Any:
    if get_origin(annotation) is dict:
        key = next(iter(get_args(get_args(annotation)[0]) or ("val",)))
        return lambda value: {key: value}
    if get_origin(annotation) is tuple:
        return lambda value: [value] * (1 if get_args(annotation)[-1] is ... else len(get_args(annotation)))
    return lambda value: value


def _fault(section: type[Section], name: str, value: object) -> str:
    with pytest.raises(ValidationError) as error:
        section.model_validate({name: value})
    return str([fault["msg"] for fault in error.value.errors() if fault["loc"][:1] == (name,)])


@pytest.mark.parametrize(("section", "name", "wrap"), _fields(int, float))
def test_a_number_is_finite_and_has_bounds(section: type[Section], name: str, wrap: Any) -> None:
    for value in (nan, inf, -inf, True, False, "1", -2, -1e13, 1e13, 10**13, 10**5000):
        assert _fault(section, name, wrap(value)) != "[]", value


_MOST = {
    r"\w*_s": 604_801,  # seconds: a week; clocks overflow far above
    r"\w*workers|\w*threads|engines|tensor_parallel|num_cpus": 10_001,  # processes and threads
    r"retries|max_redirects|max_resample": 101,  # pauses double with each try
    r"concurrency|per_host": 100_001,  # sockets
}


@pytest.mark.parametrize(("section", "name", "wrap"), _fields(int, float))
def test_what_a_machine_cannot_do_is_refused(section: type[Section], name: str, wrap: Any) -> None:
    for pattern, value in _MOST.items():
        if re.fullmatch(pattern, name):
            assert "less than or equal" in _fault(section, name, wrap(value))


@pytest.mark.parametrize(("section", "name", "wrap"), _fields(str, Path))
def test_a_text_is_one_line_without_control_characters(section: type[Section], name: str, wrap: Any) -> None:
    for value in ("a\nb", "a\r\nb: c", "\x1b[31m", "\x00", "a\x85b", "\udc80", "x" * 5000):
        assert "control character" in (said := _fault(section, name, wrap(value))) or "longer than" in said
    for value in (1, 1.5, True) if not set(_kinds(section.model_fields[name].annotation)) & {int, float} else ():
        assert _fault(section, name, wrap(value)) != "[]"


@pytest.mark.parametrize(("section", "name"), [param.values[:2] for param in _fields(str, Path)])
def test_a_text_says_something(section: type[Section], name: str) -> None:
    assert "is empty" in _fault(section, name, " ")


@pytest.mark.parametrize(("section", "name", "wrap"), _fields(bool))
def test_a_switch_is_true_or_false(section: type[Section], name: str, wrap: Any) -> None:
    for value in (1, 0, "yes", "true", 1.0):
        assert _fault(section, name, value) != "[]"


def test_the_walk_meets_the_whole_configuration() -> None:
    names = {str(param.id) for param in (*_fields(int, float), *_fields(str, Path), *_fields(bool))}
    assert {"OptimizerConfig.betas", "Phase.tasks", "ReferringConfig.root", "FilterConfig.max_punsafe"} <= names
    assert len(names) > 150


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (FilterConfig, {"max_punsafe": True}),
        (FilterConfig, {"max_punsafe": 2.0}),
        (FilterConfig, {"max_punsafe": "on"}),
        (FilterConfig, {"min_text_length": 9, "max_text_length": 3}),
        (OptimizerConfig, {"lr": inf}),
        (OptimizerConfig, {"betas": [0.9, 1.0]}),
        (IngestConfig, {"user_agent": "a\r\nX-Evil: 1"}),
        (IngestConfig, {"user_agent": ""}),
        (IngestConfig, {"user_agent": "Füchse/1"}),
        (IngestConfig, {"allowed_private_hosts": ["*:80"]}),
        (IngestConfig, {"allowed_private_hosts": ["127.0.0.1"]}),
        (IngestConfig, {"allowed_private_hosts": ["127.0.0.1:70000"]}),
        (IngestConfig, {"allowed_private_hosts": ["http://a:80"]}),
        (RayConfig, {"address": "ray://host:10001"}),
        (RayConfig, {"address": "host"}),
        (TrackingConfig, {"uri": "file:///tmp/mlruns"}),
        (TrackingConfig, {"uri": "mlruns"}),
        (TrackingConfig, {"experiment": ""}),
    ],
)
def test_values_without_sense_are_refused(section: type[Section], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        section.model_validate(values)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (FilterConfig, {"max_punsafe": 0}),
        (FilterConfig, {"max_punsafe": "off"}),
        (IngestConfig, {"allowed_private_hosts": ["127.0.0.1:8080", "[::1]:80", "images.intranet:443"]}),
        (IngestConfig, {"user_agent": "crawler/2 (+https://example.org/bot; bot@example.org)"}),
        (RayConfig, {"address": "auto"}),
        (RayConfig, {"address": "10.0.0.1:6379"}),
        (TrackingConfig, {"uri": "postgresql+psycopg2://db.intranet/mlflow"}),
        (TrackingConfig, {"uri": "https://mlflow.intranet:5000"}),
    ],
)
def test_values_with_sense_are_taken(section: type[Section], values: dict[str, object]) -> None:
    section.model_validate(values)


def test_a_value_that_fits_none_of_two_types_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data:\n  web:\n    filters:\n      max_punsafe: 2.0\n")
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "params.yaml")
    expected = "`data.web.filters.max_punsafe`: is 2.0: expected a probability from 0 to 1, or `off`"
    assert str(error.value) == f"{tmp_path}/params.yaml: {expected}"
