"""A model of a few million parameters, built from scratch: a real architecture, small enough to learn on a laptop."""

from collections.abc import Iterable

import torch
from transformers import PreTrainedModel, ProcessorMixin

from simpleseg_core.config import ModelConfig
from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.tokenizer import build_tokenizer
from simpleseg_core.refshapes import VOCABULARY

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


def build_nano(config: ModelConfig, seed: int, words: Iterable[str] = ()) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model with random weights (float32) and its processor; the same arguments give the same weights."""
    known = architecture(config.architecture)
    tokenizer = build_tokenizer([*VOCABULARY, *TEXT_WORDS, *COCO_WORDS, *words], known.chat)
    torch.manual_seed(seed)
    model, processor = known.build(config, tokenizer)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor
