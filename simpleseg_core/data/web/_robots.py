"""robots.txt as RFC 9309 defines it: which paths of a host are closed to us."""

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_BYTES = 500 * 1024
"""What RFC 9309 asks a crawler to read at least, and what we read at most."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the groups that apply to one agent: pattern and whether it allows."""

    rules: tuple[tuple[str, bool], ...] = ()

    def allows(self, path: str) -> bool:
        """Whether a path (with its query) is open: the longest matching pattern decides, `allow` wins a tie."""
        matches = [(len(pattern), allowed) for pattern, allowed in self.rules if _matches(pattern, path)]
        return max(matches)[1] if matches else True


@dataclass(slots=True)
class _Group:
    agents: list[str] = field(default_factory=list)
    rules: list[tuple[str, bool]] = field(default_factory=list)


def parse_robots(text: str, agent: str) -> Rules:
    """The rules for an agent's product token: those of all groups that name it, or else those of `*`."""
    groups = list(_groups(text))
    ours = [group for group in groups if agent.lower() in group.agents]
    chosen = ours or [group for group in groups if "*" in group.agents]
    rules = [rule for group in chosen for rule in group.rules]
    return Rules(tuple((pattern, allowed) for pattern, allowed in rules if pattern))


def _groups(text: str) -> Iterator[_Group]:
    group = _Group()
    for line in text.lstrip("\ufeff").splitlines():
        name, _, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "user-agent":
            if group.rules:
                yield group
                group = _Group()
            group.agents.append(value.lower())
        elif name in ("allow", "disallow"):
            group.rules.append((value, name == "allow"))
    yield group


def _matches(pattern: str, path: str) -> bool:
    """Whether a path starts as the pattern says: `*` is any text, `$` at the end the end of the path.

    Each part is taken where it first occurs, which finds a match if there is one, in time linear in the path. A regular
    expression would let a hostile robots.txt keep us busy for ever.
    """
    anchored = pattern.endswith("$")
    first, *parts = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    position = len(first)
    last = parts.pop() if anchored and parts else None
    for part in parts:
        found = path.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    if last is not None:
        return len(path) - len(last) >= position and path.endswith(last)
    return not anchored or position == len(path)
