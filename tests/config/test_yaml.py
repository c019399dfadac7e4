"""Hostile YAML ends in one short line, soon, whatever is in it."""

from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from simpleseg_core.config.files import ConfigError, load_config, read_yaml
from simpleseg_core.config.yaml import MOST_BYTES, parse_yaml


def _bomb(mapping: bool) -> str:
    """Ten lines that stand for ten billion values."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 11):
        items = ", ".join(f"{f'k{n}: ' if mapping else ''}*a{level - 1}" for n in range(10))
        lines.append(f"a{level}: &a{level} " + (f"{{{items}}}" if mapping else f"[{items}]"))
    return "\n".join(lines)


HOSTILE = {
    "an alias bomb of lists": (_bomb(mapping=False), "more than 20,000 values, aliases written out"),
    "an alias bomb of mappings": (_bomb(mapping=True), "more than 20,000 values, aliases written out"),
    "a merge bomb": (_bomb(mapping=False).replace("a9: &a9 [", "seed: &a9 [") + "\nz: {<<: *a9}", "more than 20,000"),
    "an alias inside of itself": ("seed: &a [*a]", "an alias stands inside of what it repeats"),
    "deep lists": ("seed: " + "[" * 50_000 + "]" * 50_000, "nested deeper than 32 levels"),
    "deep mappings": ("{a: " * 50_000 + "1" + "}" * 50_000, "nested deeper than 32 levels"),
    "deep blocks": ("- " * 50_000 + "1", "nested deeper than 32 levels"),
    "many values": ("seed: [" + "1," * 50_000 + "]", "more than 20,000 values"),
    "a large file": ("#" * (MOST_BYTES + 1), "longer than 1 MiB"),
    "a long number": ("seed: " + "9" * 5_000, "not valid YAML"),
    "an impossible date": ("seed: 2001-99-99", "not valid YAML"),
    "not text": ("seed: \x00", "not valid YAML"),
    "many unknown keys": ("\n".join(f"k{n}: 1" for n in range(5_000)), "4,980 more"),
    "a long unknown key": ("? " + "k" * 200_000 + "\n: 1", "unknown key"),
    "a long value": ("seed: " + "x" * 200_000, "`seed`: longer than 4,096 characters"),
    "an unknown key of two lines": ('"a\\nb": 1', "unknown key `a b`"),
    "a key that is a list": ("? [1, 2]\n: 1", "keys should be strings"),
    "two documents": ("seed: 1\n---\nseed: 2", "not valid YAML"),
    "an unknown tag": ("seed: !!python/object/apply:os.system [ls]", "not valid YAML"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_end_soon_in_short_lines(tmp_path: Path, kind: str) -> None:
    text, said = HOSTILE[kind]
    file = tmp_path / "params.yaml"
    file.write_text(text)
    began = process_time()
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert process_time() - began < 20
    assert said in str(error.value)
    assert len(str(error.value)) < 5_000
    assert all(line.startswith(f"{file}: ") for line in str(error.value).splitlines())


@pytest.mark.parametrize("kind", ["an alias bomb of lists", "deep lists", "a long number"])
def test_a_hostile_value_of_a_command_is_refused_alike(tmp_path: Path, kind: str) -> None:
    text, said = HOSTILE[kind]
    with pytest.raises(ConfigError, match="the value is") as error:
        load_config(_empty(tmp_path), ["data.web.columns=" + text.removeprefix("seed: ")])
    assert said in str(error.value)
    with pytest.raises(ConfigError, match="no key is deeper than 32 levels"):
        load_config(_empty(tmp_path), ["a." * 100_000 + "b=1"])


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"seed: 1\n# \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "params.yaml")


@given(st.text("ab: -[]{}&*!<|>#'\"%@,?\n\t01.~", max_size=60) | st.text(max_size=20))
def test_any_text_is_a_value_or_a_short_refusal(text: str) -> None:
    said = ""
    try:
        parse_yaml(text)
    except ValueError as error:
        said = str(error)
    assert len(said) < 300 and "\n" not in said


def test_aliases_and_merges_of_ordinary_files_are_read() -> None:
    text = "a: &a {x: 1, y: [1, 2]}\nb: *a\nc: {<<: *a, x: 2}\n"
    assert parse_yaml(text) == YAML(typ="safe", pure=True).load(text)
    assert parse_yaml(text)["c"] == {"x": 2, "y": [1, 2]}


def _empty(folder: Path) -> Path:
    (folder / "params.yaml").write_text("seed: 1\n")
    assert read_yaml(folder / "params.yaml") == {"seed": 1}
    return folder / "params.yaml"
