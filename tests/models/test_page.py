"""docs/models.md says what is so: its rows are the architectures, its tests exist."""

import ast
import re
from pathlib import Path

from simpleseg_core.config.files import load_profile, profiles
from simpleseg_core.kinds import ARCHITECTURES

ROOT = Path(__file__).parents[2]


def tables() -> list[list[list[str]]]:
    """Rows of cells of each table, heads included."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / "models.md").read_text(), re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        found.append([row for row in rows if set(row) != {"---"}])
    return found


def test_every_architecture_is_a_row_with_its_profiles() -> None:
    (head, *rows), _ = tables()
    assert [row[0].strip("`") for row in rows] == list(ARCHITECTURES.names())
    for row in rows:
        told = set(re.findall(r"`(\w+)`", row[head.index("profiles")]))
        used = {name for name in profiles() if load_profile(name).model.architecture == row[0].strip("`")}
        assert told <= used
        assert used - told <= {"nano_base", "nano_base_long", "nano_base_gpu"}  # they make nano's


def test_each_column_has_a_test_that_every_architecture_goes_through() -> None:
    (head, *rows), (_, *columns) = tables()
    assert [name for name, *_ in columns] == head[3:]
    suite = ast.parse((ROOT / "tests" / "models" / "test_conformance.py").read_text())
    known = {
        node.name: {argument.arg for argument in node.args.args}
        for node in suite.body
        if isinstance(node, ast.FunctionDef)
    }
    for name, _, test in columns:
        cells = {row[head.index(name)] for row in rows}
        if test == "none":
            assert cells == {"engine"}, name
            continue
        arguments = known[test.strip("`")]
        whole = "ARCHITECTURES" in ast.unparse(
            next(node for node in suite.body if getattr(node, "name", "") == test.strip("`"))
        )
        assert "config" in arguments or whole, f"{test} does not run for each architecture"


def test_only_mixtures_of_experts_have_no_adapters_on_experts() -> None:
    (head, *rows), _ = tables()
    for row in rows:
        mixture = ARCHITECTURES.load(row[0].strip("`")).experts
        assert row[head.index("LoRA")] == ("not on experts" if mixture else "yes")
