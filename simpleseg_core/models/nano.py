"""A Qwen2.5-VL of a few million parameters, built from scratch: the same architecture, small enough to learn on a
laptop."""

from collections.abc import Iterable

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from simpleseg_core.config import ModelConfig, NanoConfig
from simpleseg_core.data.refshapes import VOCABULARY
from simpleseg_core.models.tokenizer import CHAT_TEMPLATE, build_tokenizer

TEXT_WORDS = """
    outline polygon box point where is what the of a an and at in how many describe answer none image object things
    left right top bottom middle center big small biggest smallest leftmost rightmost topmost bottommost above below
    all no here it person locate find caption count
""".split()
"""Words of questions and of referring expressions, beside the vocabulary of RefShapes."""

COCO_WORDS = """
    person bicycle car motorcycle airplane bus train truck boat traffic light fire hydrant stop sign parking meter
    bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee
    skis snowboard sports ball kite baseball bat glove skateboard surfboard tennis racket bottle wine glass cup fork
    knife spoon bowl banana apple sandwich orange broccoli carrot hot dog pizza donut cake chair couch potted plant
    bed dining table toilet tv laptop mouse remote keyboard cell phone microwave oven toaster sink refrigerator book
    clock vase scissors teddy bear hair drier toothbrush
""".split()
"""Words of COCO's 80 category names, so that photographs work with the same tokenizer."""


def build_nano(
    config: ModelConfig, seed: int, words: Iterable[str] = ()
) -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor]:
    """A model with random weights (float32) and its processor; the same arguments give the same weights."""
    tokenizer = build_tokenizer([*VOCABULARY, *TEXT_WORDS, *COCO_WORDS, *words])
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_architecture(config.nano, tokenizer))
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, _processor(config, tokenizer)


def _architecture(nano: NanoConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    ids = tokenizer.get_vocab()
    half_head = nano.hidden_size // nano.heads // 2
    time = half_head // 4
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": nano.hidden_size,
            "intermediate_size": nano.intermediate_size,
            "num_hidden_layers": nano.layers,
            "num_attention_heads": nano.heads,
            "num_key_value_heads": nano.kv_heads,
            "max_position_embeddings": 4096,
            "initializer_range": nano.initializer_range,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": nano.rope_theta,
                "mrope_section": [time, (half_head - time) // 2, half_head - time - (half_head - time) // 2],
            },
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": nano.vision_layers,
            "hidden_size": nano.vision_hidden_size,
            "intermediate_size": nano.vision_hidden_size * 3,
            "num_heads": nano.vision_heads,
            "out_hidden_size": nano.hidden_size,
            "patch_size": nano.patch_size,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": nano.patch_size * 16,
            "fullatt_block_indexes": list(range(nano.vision_layers)),
            "initializer_range": nano.initializer_range,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def _processor(config: ModelConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    sizes = {"patch_size": config.nano.patch_size, "merge_size": 2, "temporal_patch_size": 2}
    pixels = {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes, **pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=CHAT_TEMPLATE,
    )
