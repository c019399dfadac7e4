"""YAML from anybody: read within bounds of size, depth and nodes, aliases counted as what they stand for."""

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent

MOST_BYTES = 1 << 20
MOST_NODES = 20_000
MOST_DEPTH = 32


def parse_yaml(text: str) -> Any:
    """The value that a YAML text stands for.

    Raises:
        ValueError: not YAML, duplicate keys, too large; the message is a short line with the place.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES >> 20} MiB")
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _BoundedComposer
    try:
        return reader.load(text)
    except _UnboundedError as error:
        raise ValueError(str(error)) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"not valid YAML: {_short(error.problem or error.context)}{place}") from None
    except Exception as error:  # what the library trips over in a text, such as a number of 5,000 digits, is the text's
        raise ValueError(f"not valid YAML: {_short(error)}") from None


class _UnboundedError(Exception):
    """More than is worth reading."""


class _BoundedComposer(Composer):
    """Counts nodes while they are composed; an alias counts as much as what it repeats."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._nodes = self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        before = self._nodes
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _UnboundedError(f"nested deeper than {MOST_DEPTH} levels")
        repeats = self.parser.check_event(AliasEvent)
        node = super().compose_node(parent, index)
        if repeats and id(node) not in self._sizes:
            raise _UnboundedError("an alias stands inside of what it repeats")
        self._nodes += self._sizes[id(node)] if repeats else 1
        if self._nodes > MOST_NODES:
            raise _UnboundedError(f"more than {MOST_NODES:,} values, aliases written out")
        self._sizes[id(node)] = self._nodes - before
        self._depth -= 1
        return node


def _short(problem: object) -> str:
    line = " ".join(str(problem).split())
    return line if len(line) <= 200 else f"{line[:197]}..."
