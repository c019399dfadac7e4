"""Settings that cannot work together are refused before anything runs, each with what to change."""

from pathlib import Path

import pytest

from simpleseg_core.config.files import ConfigError, dump_yaml, load_config, load_profile

IMPOSSIBLE = {
    "dataset.style=unit": "rl.rewards.style permille pays for another grammar than dataset.style unit teaches",
    "rl.rewards.style=unit": "rl.rewards.style unit pays for another grammar than dataset.style permille teaches",
    "rl.rollout.max_tokens=1024": "leaves no room for a prompt in rl.rollout.max_length 1024",
    "rl.rollout.max_length=100": "rl.rollout.max_tokens 160 leaves no room for a prompt in rl.rollout.max_length 100",
    "evaluate.max_tokens=2000": "evaluate.max_tokens 2000 leaves no room for a prompt in evaluate.max_length 1024",
    "describe.max_length=48": "describe.max_tokens 48 leaves no room for a prompt in describe.max_length 48",
    "contour.min_area=0.95": "contour.min_area 0.95 leaves no mask below contour.max_area 0.9",
    "contour.max_points=300": "300 allows outlines that rl.rewards.max_points 256 makes worth nothing",
    "contour.min_similarity=0.2": "contour.min_similarity: nothing measures it",
    "sft.optimizer.min_lr=0.5": "min_lr 0.5 is above lr 0.002",
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(dump_yaml(load_profile("nano")))
    return tmp_path / "params.yaml"


@pytest.mark.parametrize("override", IMPOSSIBLE)
def test_what_cannot_work_names_both_settings(params: Path, override: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(params, [override, "seed=3"])
    assert IMPOSSIBLE[override] in str(error.value)
    assert all(line.startswith(f"--set {override}: ") for line in str(error.value).splitlines())


def test_a_description_needs_a_detector_that_reads(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"detect\.engine is annotations, which looks at no text"):
        load_config(params, ["describe.engine=vlm", "detect.engine=annotations"])
    load_config(params, ["describe.engine=vlm", "detect.engine=annotations", "describe.min_consistency=0"])


def test_a_generic_table_needs_its_columns_named(params: Path) -> None:
    web = ["data.source=web", "data.web.metadata=t.parquet", "data.web.filters.max_punsafe=off"]
    with pytest.raises(ConfigError, match="knows no column for text"):
        load_config(params, [*web, "data.web.schema_name=generic", "data.web.columns={url: u}"])
    load_config(params, [*web, "data.web.schema_name=generic", "data.web.columns={url: u, text: t}"])


def test_everything_that_cannot_work_is_told_at_once(params: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(params, ["contour.min_area=0.95", "dataset.style=unit"])
    assert [line.split(": ")[0] for line in str(error.value).splitlines()] == [
        "--set contour.min_area=0.95", "--set dataset.style=unit",
    ]  # fmt: skip


def test_a_file_is_not_blamed_on_a_command(params: Path) -> None:
    params.write_text(params.read_text().replace("style: permille", "style: unit", 1))
    with pytest.raises(ConfigError) as error:
        load_config(params, ["seed=3"])
    assert str(error.value).startswith(f"{params}: rl.rewards.style")


def test_what_is_switched_off_is_not_in_the_way(params: Path) -> None:
    load_config(params, ["dataset.style=unit", "rl.enabled=false"])
