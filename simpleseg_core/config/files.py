"""Reading, overlaying and writing params.yaml and the profiles, with errors that name file, key, value and cure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from re import findall
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined
from ruamel.yaml import YAML

from simpleseg_core.config._root import Config
from simpleseg_core.config.secrets import redact
from simpleseg_core.config.yaml import MOST_BYTES, MOST_DEPTH, parse_yaml
from simpleseg_core.names import did_you_mean
from simpleseg_core.plain import one_line

_PROFILES = Path(__file__).parent / "profiles"

_FAULTS = 20
"""Faults that are told; the others are counted."""
_LINE = 600
"""Characters of the longest line that is told."""

Tree = dict[str, Any]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message has one line for each fault, with its cure, and no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs between two configurations."""

    key: str
    """Dotted, such as `contour.tolerance`."""
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.key}: {_show(self.before)} -> {_show(self.after)}"


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a file, the defaults under it and `key=value` overrides on top.

    Args:
        path: a YAML file; keys it leaves out take their defaults.
        overrides: `contour.tolerance=0.01`; the value is read as YAML.

    Raises:
        ConfigError: no such file, not YAML, an unknown key, a wrong value, an impossible
            combination, a malformed override.
    """
    return with_overrides(read_yaml(path), overrides, source=str(path))


def with_overrides(changes: Mapping[str, object], overrides: Sequence[str], source: str) -> Config:
    """The defaults, overlaid with a tree of changes, then with `key=value` overrides; `source` is named in errors.

    Raises:
        ConfigError: as `load_config`.
    """
    tree = overlay(Config().model_dump(mode="json"), changes, Config)
    for override in overrides:
        try:
            _set(tree, *_parse_override(override))
        except ConfigError as error:
            raise ConfigError(f"--set {override}: {error}") from None
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False)
        lines = [
            f"{_culprit(fault['loc'], line, overrides) or source}: {line}"
            for fault in found[:_FAULTS]
            for line in _explain(fault)
        ]
        more = [f"{source}: {len(found) - _FAULTS:,} more"] if len(found) > _FAULTS else []
        raise ConfigError("\n".join([one_line(line, _LINE) for line in lines] + more)) from None


def overlay(base: Mapping[str, object], changes: Mapping[str, object], model: type[BaseModel] = Config) -> Tree:
    """A tree with changes laid over it: sections merge key by key, everything else (dictionaries too) is replaced."""
    merged: Tree = dict(base)
    for key, value in changes.items():
        section = _section(model, key)
        if section is not None and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = overlay(merged[key], value, section)
        else:
            merged[key] = value
    return merged


def dump_yaml(config: Config) -> str:
    """Every value of a configuration as YAML, in the order of the models: the text of params.yaml."""
    return dump_tree(config.model_dump(mode="json"))


def dump_tree(tree: Mapping[str, object]) -> str:
    """A tree of plain values as YAML, keys in the order given."""
    text = StringIO()
    writer = YAML()
    writer.width = 120
    writer.default_flow_style = False
    writer.dump(dict(tree), text)
    return text.getvalue()


def read_yaml(path: Path) -> Tree:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, duplicate keys, not a mapping, larger or deeper than any configuration.
    """
    try:
        with path.open("rb") as file:
            tree = parse_yaml(file.read(MOST_BYTES + 1).decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `simpleseg profile use nano` writes params.yaml") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected `section: ...` lines, found a {type(tree).__name__}")
    return tree


def profiles() -> dict[str, str]:
    """Names of the profiles that ship with the package, each with the first comment line of its file."""
    files = sorted(_PROFILES.glob("*.yaml"), key=lambda file: (file.stem != "nano", file.stem))
    return {file.stem: file.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ") for file in files}


def load_profile(name: str) -> Config:
    """The resolved configuration of a profile.

    Raises:
        ConfigError: no such profile.
    """
    if name not in profiles():
        raise ConfigError(f"no profile {name!r}{did_you_mean(name, profiles())}: choose one of {', '.join(profiles())}")
    return load_config(_PROFILES / f"{name}.yaml")


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[Change]:
    """The leaves that differ between two trees (or resolved configurations), by dotted key."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [Change(key, old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)]


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Dotted names of every key that a configuration may have, sections included."""
    for name in model.model_fields:
        yield prefix + name
        section = _section(model, name)
        if section is not None:
            yield from keys(section, f"{prefix}{name}.")


def _culprit(location: Sequence[str | int], said: str, overrides: Sequence[str]) -> str | None:
    """The override that set the value at a location, part of the section there, or a key that a fault of the whole
    names; None: the file did."""
    at = [str(part) for part in location]
    for override in reversed(overrides):
        key = override.split("=", 1)[0].strip()
        if all(a == b for a, b in zip(at, key.split("."), strict=False)) if at else key in said:
            return f"--set {override}"
    return None


def _explain(fault: ErrorDetails) -> list[str]:
    """A line for each thing that a fault says."""
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return [f"unknown key `{key}`{did_you_mean(key, keys())}; `simpleseg config show` lists every key"]
    if fault["type"] == "value_error":
        said = str(fault["ctx"]["error"])
        return [f"`{key}`: {said}"] if key else said.split("\n")
    said = f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
    if fault["type"] in ("literal_error", "enum"):
        said += did_you_mean(str(fault["input"]), findall(r"'([^']*)'", fault["ctx"]["expected"]))
    return [f"`{key}` is {_show(fault['input'])}: {said}{_advice(fault['loc'])}"]


def _advice(location: Sequence[str | int]) -> str:
    """The default and the first line of the documentation of the field at a location."""
    model: type[BaseModel] | None = Config
    for depth, part in enumerate(location):
        field = model.model_fields.get(str(part)) if model else None
        if field is None:
            return ""
        if depth + 1 < len(location) and (section := _section(model, str(part))) is not None:
            model = section
            continue
        default = (
            ""
            if field.default is PydanticUndefined or isinstance(field.default, BaseModel)
            else f" (default {_show(field.default)})"
        )
        return f"{default}{': ' + field.description.splitlines()[0] if field.description else ''}"
    return ""


def _section(model: type[BaseModel] | None, key: str) -> type[BaseModel] | None:
    """The model of a key that is itself a section, through `Section | None` too."""
    field = model.model_fields.get(key) if model else None
    for kind in (field.annotation, *get_args(field.annotation)) if field else ():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _parse_override(override: str) -> tuple[str, object]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError("expected key=value, such as --set contour.tolerance=0.01")
    if key.count(".") >= MOST_DEPTH:
        raise ConfigError(f"no key is deeper than {MOST_DEPTH} levels")
    try:
        return key.strip(), parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"the value is {error}; quote a text: --set '{key}=\"...\"'") from None


def _set(tree: Tree, dotted: str, value: object) -> None:
    *sections, leaf = dotted.split(".")
    for depth, section in enumerate(sections):
        inner = tree.get(section)
        tree[section] = dict(inner) if isinstance(inner, Mapping) else {}
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(f"`{'.'.join(sections[: depth + 1])}` is a value, not a section")
        tree = tree[section]
    if isinstance(tree.get(leaf), Mapping) and not isinstance(value, Mapping):
        raise ConfigError(f"`{dotted}` is a section; name one of its keys: {', '.join(tree[leaf])}")
    tree[leaf] = value


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _show(value: object) -> str:
    """A value as one writes it in YAML, short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, (int, float)) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
