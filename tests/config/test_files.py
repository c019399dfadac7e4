"""params.yaml: what is read, what is refused and in which words; what ships is good."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.config import Config
from simpleseg_core.config.files import (
    ConfigError,
    changes,
    dump_yaml,
    keys,
    load_config,
    load_profile,
    overlay,
    profiles,
)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(dump_yaml(load_profile("nano")))
    return file


def test_the_parameters_of_the_repository_are_the_nano_profile(repository: Path) -> None:
    assert (repository / "params.yaml").read_text() == dump_yaml(load_profile("nano")), (
        "run `simpleseg profile use nano`"
    )


@pytest.mark.parametrize("name", profiles())
def test_every_profile_is_valid_and_survives_being_written(name: str, tmp_path: Path) -> None:
    profile = load_profile(name)
    assert profile.profile == name
    (tmp_path / "params.yaml").write_text(dump_yaml(profile))
    assert load_config(tmp_path / "params.yaml") == profile


def test_the_issue_s_profiles_ship_and_each_says_what_it_is() -> None:
    assert {"nano", "qwen2_5_vl_3b", "qwen2_5_vl_7b", "kimi_vl", "nano_kimi"} <= profiles().keys()
    assert all(len(summary) > 20 for summary in profiles().values())


def test_no_profile_trusts_remote_code() -> None:
    assert not any(load_profile(name).model.trust_remote_code for name in profiles())


def test_keys_that_a_file_leaves_out_keep_the_defaults_of_their_section(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("rl:\n  optimizer:\n    lr: 3.0e-4\n")
    optimizer = load_config(file).rl.optimizer
    assert optimizer == Config().rl.optimizer.model_copy(update={"lr": 3e-4})  # not the defaults of every optimizer


def test_an_override_sets_one_value(params: Path) -> None:
    before, after = load_config(params), load_config(params, ["contour.tolerance=0.01", "data.benchmark_queries.val=7"])
    assert after.contour.tolerance == 0.01
    assert after.data.benchmark_queries == {**before.data.benchmark_queries, "val": 7}
    changed = changes(before.model_dump(mode="json"), after.model_dump(mode="json"))
    assert {change.key for change in changed} == {"contour.tolerance", "data.benchmark_queries.val"}


def test_a_reward_term_that_is_not_named_keeps_its_weight(tmp_path: Path, params: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("rl:\n  rewards:\n    weights:\n      iou: 2.0\n")
    assert load_config(file).rl.rewards.weights == {**load_config(params).rl.rewards.weights, "iou": 2.0}
    assert load_config(params, ["rl.rewards.weights.parts=0.5"]).rl.rewards.weights["parts"] == 0.5


def test_a_name_alone_stands_for_a_model_that_the_pipeline_trains(tmp_path: Path, params: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("evaluate:\n  models: [base, sft, rl]\n")
    assert load_config(file).evaluate.models == load_config(params).evaluate.models
    (only,) = load_config(params, ["evaluate.models=[base]"]).evaluate.models
    assert (only.name, only.kind, only.where) == ("base", "stage", "pretrain")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("contour.tolerence=0.1", ["--set contour.tolerence=0.1", "unknown key", "did you mean `contour.tolerance`?"]),
        ("tolerance=0.1", ["unknown key `tolerance`", "`contour.tolerance`"]),
        ("contour.tolerance=3", ["`contour.tolerance` is 3", "less than 1", "default 0.005"]),
        ("contour.tolerance=much", ["`contour.tolerance` is 'much'", "valid number"]),
        ("contour=3", ["--set contour=3", "is a section", "tolerance"]),
        ("contour.tolerance.x=3", ["--set contour.tolerance.x=3", "is a value, not a section"]),
        ("model.architecture=quen", ["--set model.architecture=quen", "no architecture 'quen'", "qwen2_5_vl"]),
        ("data.source=coco", ["--set data.source=coco", "data.coco.root", "--set data.coco.root=FOLDER"]),
        (
            "evaluate.models=[bas]",
            ["--set evaluate.models=[bas]", "no model 'bas', did you mean `base`?", "kind: folder"],
        ),
        ("evaluate.models=[sft, sft]", ["two models are called sft"]),
        ("evaluate.models=[]", ["no model is named", "[base, sft, rl]"]),
        (
            "evaluate.models=[{name: a, kind: stage, where: pretrian}]",
            ["no model comes of a stage 'pretrian', did you mean `pretrain`?"],
        ),
        ("evaluate.models=[{name: a, kind: hub, where: model}]", ["a: 'model' is no id of the hub (owner/name)"]),
        ("evaluate.models=[{name: ../a, kind: folder, where: b}]", ["`evaluate.models.0.name` is '../a'"]),
        ("rl.rewards.weights.part=1", ["--set rl.rewards.weights.part=1", "term 'part'", "did you mean `parts`?"]),
        ("sft.batch_size=7", ["--set sft.batch_size=7", "`sft`", "multiple of micro_batch_size"]),
        ("sft.optimizer.name=mun", ["'adamw' or 'muon'"]),
        ("tolerance", ["--set tolerance", "expected key=value"]),
        ("seed=[1", ["--set seed=[1", "not valid YAML"]),
    ],
)
def test_a_wrong_override_is_named_with_its_cure(params: Path, override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(params, [override])
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("contour:\n  tolerance: 7\n", ["params.yaml", "`contour.tolerance` is 7"]),
        ("contour:\n  tolerence: 7\n", ["params.yaml", "unknown key `contour.tolerence`", "did you mean"]),
        ("seed: 1\nseed: 2\n", ["params.yaml", "not valid YAML", "duplicate"]),
        ("- seed\n", ["params.yaml", "found a list"]),
        ("contour: 5\n", ["`contour` is 5"]),
        ("seed: [1\n", ["not valid YAML"]),
    ],
)
def test_a_wrong_file_is_named_with_its_cure(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file, ["seed=3"])
    assert all(word in str(error.value) for word in words), str(error.value)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("contour:\n  tolerance: 7\nsed: 1\n")
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert len(str(error.value).splitlines()) == 2


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="simpleseg profile use nano"):
        load_config(tmp_path / "params.yaml")


def test_an_unknown_profile_names_the_close_one() -> None:
    with pytest.raises(ConfigError, match="did you mean `qwen2_5_vl_7b`"):
        load_profile("qwen2_5_vl_7")


@given(st.floats(1e-9, 0.99), st.integers(0, 2**31), st.sampled_from(["clockwise", "by_x"]))
def test_what_is_written_is_what_is_read(tolerance: float, seed: int, order: str) -> None:
    tree = overlay(
        Config().model_dump(mode="json"), {"seed": seed, "contour": {"tolerance": tolerance, "order": order}}
    )
    config = Config.model_validate(tree)
    assert changes(tree, config.model_dump(mode="json")) == []


def test_small_numbers_survive_yaml(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(dump_yaml(Config()))
    assert load_config(file, ["sft.optimizer.lr=1e-5", "rl.clip_low=3e-4"]).sft.optimizer.lr == 1e-5
    assert load_config(file) == Config()


def test_every_section_documents_its_keys_in_the_schema() -> None:
    schema = Config.model_json_schema()
    assert schema["$defs"]["ContourConfig"]["properties"]["tolerance"]["description"]
    assert "contour.tolerance" in set(keys())
