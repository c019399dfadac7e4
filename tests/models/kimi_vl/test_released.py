"""Checkpoints laid out as the released ones: their files, their names of weights, and code that stays off."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from simpleseg_core.models.auto import read_tokenizer
from simpleseg_core.models.chat import chat_text
from simpleseg_core.models.kimi_vl.tokenizer import _WORDS
from simpleseg_core.models.loading import load_model, load_processor, save_checkpoint
from simpleseg_core.models.nano import build_nano
from tests.tiny import TINY

CONFIG = TINY.model_copy(update={"architecture": "kimi_vl", "base": "scratch"})
BYTES = 256
RESERVED = 256
NAMED = {
    0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 10: "<|im_system|>",
    17: "<|im_middle|>", 18: "<|media_start|>", 19: "<|media_content|>", 20: "<|media_end|>", 21: "<|media_pad|>",
    254: "[UNK]", 255: "[PAD]",
}  # fmt: skip
"""Places of special tokens behind the byte pairs, as released."""
TEMPLATE = (
    "{%- for message in messages -%}{%- if loop.first and messages[0]['role'] != 'system' -%}"
    "{{'<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>'}}{%- endif -%}"
    "{{'<|im_' + message['role'] + '|>' + message['role'] + '<|im_middle|>'}}"
    "{%- if message['content'] is string -%}{{- message['content'] + '<|im_end|>' -}}{%- else -%}"
    "{%- for content in message['content'] -%}{%- if content['type'] == 'image' -%}"
    "{{'<|media_start|>image<|media_content|><|media_pad|><|media_end|>'}}"
    "{%- else -%}{{content['text']}}{%- endif -%}{%- endfor -%}{{'<|im_end|>'}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{'<|im_assistant|>assistant<|im_middle|>'}}{%- endif -%}"
)


def byte_pairs() -> dict[bytes, int]:
    """Byte pairs of a few words, merged from the left."""
    pairs = [bytes([each]) for each in range(BYTES)]
    for word in ("hello", " world", "的中", "123", "'ll", "]]]", "IT", "\n\n"):
        whole = word.encode()
        pairs += [whole[:end] for end in range(2, len(whole) + 1) if whole[:end] not in pairs]
    return {pair: rank for rank, pair in enumerate(pairs)}


def write_tokenizer(folder: Path) -> dict[str, int]:
    """`tiktoken.model` and `tokenizer_config.json`; returns the special tokens."""
    ranks = byte_pairs()
    lines = [f"{base64.b64encode(pair).decode()} {rank}" for pair, rank in ranks.items()]
    (folder / "tiktoken.model").write_text("\n".join(lines))
    special = {len(ranks) + place: name for place, name in NAMED.items()}
    settings: dict[str, Any] = {
        "added_tokens_decoder": {
            str(index): {
                "content": name, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                "special": True,
            }
            for index, name in special.items()
        },
        "additional_special_tokens": [name for name in NAMED.values() if name.startswith("<|")],
        "auto_map": {"AutoTokenizer": ["tokenization_moonshot.TikTokenTokenizer", None]},
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1048576,
        "tokenizer_class": "TikTokenTokenizer",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return {name: index for index, name in special.items()}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in the files of the released one; its own code, which nobody may run, raises."""
    folder = tmp_path_factory.mktemp("released") / "model"
    model, processor = build_nano(CONFIG, seed=0)
    save_checkpoint(model, processor, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    special = write_tokenizer(folder)
    for name in ("configuration_kimi_vl", "modeling_kimi_vl", "processing_kimi_vl", "tokenization_moonshot"):
        (folder / f"{name}.py").write_text("raise RuntimeError('code of a checkpoint')\n")
    settings = json.loads((folder / "config.json").read_text())
    settings |= {
        "auto_map": {
            "AutoConfig": "configuration_kimi_vl.KimiVLConfig",
            "AutoModelForCausalLM": "modeling_kimi_vl.KimiVLForConditionalGeneration",
        },
        "media_placeholder_token_id": special["<|media_pad|>"],
        "pad_token_id": special["[PAD]"],
        "torch_dtype": settings.pop("dtype"),
    }
    (folder / "config.json").write_text(json.dumps(settings))
    images = {
        "auto_map": {
            "AutoImageProcessor": "image_processing_kimi_vl.KimiVLImageProcessor",
            "AutoProcessor": "processing_kimi_vl.KimiVLProcessor",
        },
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "in_token_limit": 4096,
        "merge_kernel_size": [2, 2],
        "num_pooled_tokens": 1024,
        "pad_input": True,
        "patch_size": CONFIG.nano.patch_size,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder


def test_the_file_of_byte_pairs_is_read_as_tiktoken_reads_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kimi_vl"}))
    special = write_tokenizer(tmp_path)
    first = len(byte_pairs())
    reserved = {f"<|reserved_token_{index}|>": index for index in range(first, first + RESERVED)}
    known = {name: index for name, index in reserved.items() if index not in special.values()} | special
    reference = tiktoken.Encoding("kimi", pat_str=_WORDS, mergeable_ranks=byte_pairs(), special_tokens=known)
    ours = read_tokenizer(tmp_path)
    for text in (
        "hello world, you'll see IT'S",
        "12345 的中文 hello的中",
        "[[[0.123, 0.456]]]\n\n  \t x",
        "<|im_user|>user<|im_middle|>é ÀÉ naïve<|im_end|><|media_pad|>",
        f"<|reserved_token_{first + 5}|>",
    ):
        ids = reference.encode(text, allowed_special="all")
        assert ours.encode(text) == ids, text
        assert ours.decode(ids) == text
    assert len(ours) == first + RESERVED and ours.pad_token_id == first + 255


def test_a_released_checkpoint_is_read_without_its_code(released: Path) -> None:
    model, processor = load_model(released, CONFIG), load_processor(released, CONFIG)
    assert processor.image_processor.in_token_limit == CONFIG.max_pixels // CONFIG.nano.patch_size**2
    assert_same_weights(model, build_nano(CONFIG, seed=0)[0])
    text = chat_text(processor, ["outline"], ["[[[0.1, 0.2]]]"])
    assert text.startswith("<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|><|im_user|>user")
    inputs = processor(text=[text], images=[Image.new("RGB", (64, 64), "red")], return_tensors="pt")
    placeholders = inputs["input_ids"] == model.config.media_placeholder_token_id
    assert int(placeholders.sum()) == 16  # 8 x 8 patches, four to a token
    assert model(**inputs).logits.isfinite().all()


def test_what_is_saved_again_is_the_same_model(released: Path, tmp_path: Path) -> None:
    model, processor = load_model(released, CONFIG), load_processor(released, CONFIG)
    save_checkpoint(model, processor, tmp_path / "again")
    assert_same_weights(load_model(tmp_path / "again", CONFIG), model)
    text = "<|im_user|>user<|im_middle|>hello的中 123<|im_end|>"
    again = load_processor(tmp_path / "again", CONFIG).tokenizer
    assert again.encode(text) == processor.tokenizer.encode(text)
    assert isinstance(Tokenizer.from_file(str(tmp_path / "again" / "tokenizer.json")), Tokenizer)


def assert_same_weights(one: PreTrainedModel, other: PreTrainedModel) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
