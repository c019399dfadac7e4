"""Detectors and segmenters of the published architectures with small random weights."""

from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2Processor,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
)

WORDS = ["a", "red", "blue", "green", "circle", "square", "star", "##s"]
_SIDE = 64


def tokenizer() -> BertTokenizerFast:
    """Eight words; the special tokens have the ids that Grounding-DINO of transformers takes for granted."""
    names = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    names |= {200 + index: word for index, word in enumerate(WORDS)}
    return BertTokenizerFast(vocab={names.get(index, f"[unused{index}]"): index for index in range(1030)})


def _bert() -> BertConfig:
    return BertConfig(
        vocab_size=1030,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    )


def text_encoder(folder: Path) -> Path:
    """A BERT with its tokenizer, saved as a checkpoint folder."""
    torch.manual_seed(0)
    BertModel(_bert()).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def grounding_dino() -> tuple[GroundingDinoForObjectDetection, GroundingDinoProcessor]:
    """Grounding-DINO of transformers; images have a short side of 64 pixels."""
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=_SIDE,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=_bert(),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=12,
        disable_custom_kernels=True,
    )
    model = GroundingDinoForObjectDetection(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    images = GroundingDinoImageProcessor(size={"shortest_edge": _SIDE, "longest_edge": 2 * _SIDE})
    return model, GroundingDinoProcessor(images, tokenizer())


def segment_anything() -> Sam:
    """The original SAM."""
    torch.manual_seed(0)
    grid = (_SIDE // 16, _SIDE // 16)
    encoder = ImageEncoderViT(
        img_size=_SIDE, depth=1, embed_dim=16, num_heads=2, out_chans=32, window_size=2, global_attn_indexes=(0,)
    )
    prompts = PromptEncoder(embed_dim=32, image_embedding_size=grid, input_image_size=(_SIDE, _SIDE), mask_in_chans=4)
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=32)
    return Sam(encoder, prompts, MaskDecoder(transformer_dim=32, transformer=transformer)).eval()


def sam() -> tuple[SamModel, SamProcessor]:
    """SAM of transformers."""
    torch.manual_seed(0)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16,
            output_channels=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=_SIDE,
            global_attn_indexes=[0],
            num_pos_feats=16,
            mlp_dim=32,
            initializer_range=0.2,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=32, image_size=_SIDE, mask_input_channels=4),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=32
        ),
    )
    square = {"height": _SIDE, "width": _SIDE}
    return SamModel(config).eval(), SamProcessor(SamImageProcessor(size={"longest_edge": _SIDE}, pad_size=square))


def sam2() -> tuple[Sam2Model, Sam2Processor]:
    """SAM 2 of transformers."""
    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[_SIDE, _SIDE],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 2, 2, 2],
        global_attention_blocks=[4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
        initializer_range=0.2,
    )
    decoder = Sam2MaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=32
    )
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=_SIDE, mask_input_channels=4)
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    size: dict[str, Any] = {"height": _SIDE, "width": _SIDE}
    images = Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16})
    return Sam2Model(config).eval(), Sam2Processor(images)


def clip() -> tuple[CLIPModel, CLIPProcessor]:
    """CLIP of transformers; its tokenizer is the one of Grounding-DINO, which is as good as any here."""
    torch.manual_seed(0)
    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = common | {"vocab_size": 1030, "max_position_embeddings": 16, "eos_token_id": 102}
    vision = common | {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    words = tokenizer()
    words.model_max_length = 16
    return CLIPModel(config).eval(), CLIPProcessor(images, words)
