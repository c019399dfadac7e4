"""The mark for "made from these inputs" changes with what decides a result, and with nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simpleseg_core.config import Config, Section, decisive
from simpleseg_core.fingerprint import file_sum, fingerprint

OPERATIONAL = {
    "ingest": "engine workers concurrency per_host rate timeout_s retries backoff_s max_retry_after_s user_agent "
    "allowed_private_hosts decode_timeout_s decode_memory_mib sink retry_failed",
    "detect": "runner workers device_hour_price batch_size device",
    "segment": "runner workers device_hour_price batch_size device",
    "contour": "runner workers device_hour_price",
    "describe": "runner workers device_hour_price batch_size kv_cache_mib gpu_memory_utilization",
    "model": "attention",
    "pretrain": "micro_batch_size strategy reshard gradient_sync reduce_dtype workers threads gradient_checkpointing "
    "loss_chunk max_length packing log_every checkpoint_every probe_every noise_every loader_workers stall_s "
    "max_failures",
    "sft": "micro_batch_size strategy reshard gradient_sync reduce_dtype workers threads gradient_checkpointing "
    "loss_chunk max_length packing log_every checkpoint_every probe_every noise_every loader_workers stall_s "
    "max_failures",
    "rl": "micro_batch_size images_at_once placement trainer_workers trainer_threads timeout_s "
    "max_replacements checkpoint_every probe_every noise_every "
    "table_every",
    "rl.rewards": "item_timeout_s workers",
    "rl.rollout": "kv_cache_mib max_num_seqs gpu_memory_utilization engines tensor_parallel",
    "evaluate": "models max_num_seqs kv_cache_mib gpu_memory_utilization tensor_parallel bootstrap_samples overlays",
}
"""Section -> settings that change no result; work begun under another value goes on."""
DECISIVE = {
    "pretrain": "enabled steps epochs batch_size optimizer rates router lora held_out curriculum",
    "sft": "enabled steps epochs batch_size optimizer rates router lora held_out curriculum",
    "pretrain.rates": "vision projector language",
    "sft.rates": "vision projector language",
    "pretrain.router": "bias_rate balance_loss",
    "sft.router": "bias_rate balance_loss",
    "pretrain.optimizer": "name lr min_lr warmup_ratio weight_decay betas grad_clip",
    "sft.optimizer": "name lr min_lr warmup_ratio weight_decay betas grad_clip",
    "rl": "enabled objective steps prompts group_size minibatches clip_low clip_high importance_cap kl normalise_std "
    "min_spread max_resample asynchronous optimizer rewards rollout prompt_filter",
    "rl.optimizer": "name lr min_lr warmup_ratio weight_decay betas grad_clip",
    "rl.rewards": "weights style max_points max_parts boundary_width",
    "rl.rollout": "engine temperature top_p max_tokens max_length prompts_per_call",
    "rl.prompt_filter": "enabled samples iou min_pass max_pass",
}
"""Section of training -> settings that change the mathematics: a new one must be named here or above."""


def sections(section: Section, path: str = "") -> Iterator[tuple[str, Section]]:
    """Every section of a configuration, by its dotted path."""
    yield path, section
    for name, value in section:
        if isinstance(value, Section):
            yield from sections(value, f"{path}.{name}".strip("."))


SECTIONS = dict(sections(Config()))
FIELDS = [(path, name) for path, section in SECTIONS.items() for name in type(section).model_fields]


def test_exactly_the_settings_of_the_list_change_no_result() -> None:
    declared = {path: section.operational() for path, section in SECTIONS.items() if section.operational()}
    assert declared == {path: set(names.split()) for path, names in OPERATIONAL.items()}


@pytest.mark.parametrize("path", [path for path in SECTIONS if path.split(".")[0] in ("pretrain", "sft", "rl")])
def test_every_setting_of_training_says_which_it_is(path: str) -> None:
    said = f"{OPERATIONAL.get(path, '')} {DECISIVE[path]}".split()
    assert sorted(said) == sorted(type(SECTIONS[path]).model_fields)


@pytest.mark.parametrize(("path", "name"), FIELDS)
def test_a_changed_setting_changes_the_mark_unless_it_is_operational(path: str, name: str) -> None:
    config = Config()
    changed = change(config, [*path.split("."), name] if path else [name])
    same = name in OPERATIONAL.get(path, "").split()
    assert (fingerprint(config=changed) == fingerprint(config=config)) == same


def change(section: Section, path: list[str]) -> Section:
    """A copy with another value at a path."""
    name, *rest = path
    return section.model_copy(update={name: change(getattr(section, name), rest) if rest else "another value"})


def test_sections_in_lists_leave_their_operational_settings_out() -> None:
    """A curriculum is a tuple of sections; so could be stages."""
    config = Config()
    stages = (config.sft, config.sft.model_copy(update={"log_every": 77}))
    one, other = decisive(stages)
    assert one == other and "log_every" not in one


def test_names_contents_and_values_count(tmp_path: Path) -> None:
    file, folder = tmp_path / "weights.bin", tmp_path / "model" / "deep"
    file.write_bytes(b"one")
    folder.mkdir(parents=True)
    (folder / "part").write_bytes(b"x")
    before = fingerprint(start=file, model=folder.parent, seed=1)
    assert before == fingerprint(seed=1, model=folder.parent, start=file)
    assert before != fingerprint(start=file, model=folder.parent, seed=2)
    assert before != fingerprint(begin=file, model=folder.parent, seed=1)
    (folder / "part").rename(folder.parent / "part")
    assert before != fingerprint(start=file, model=folder.parent, seed=1)
    (folder.parent / "part").rename(folder / "part")
    file.write_bytes(b"two")
    assert before != fingerprint(start=file, model=folder.parent, seed=1)


def test_a_file_is_summed_as_sha256sum_does(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    assert file_sum(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
