"""Grounding-DINO on transformers 5: phrases stay apart, and a whole (tiny, random) model runs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizerFast

from simpleseg_core.annotate import _groundingdino_compat as compat

_VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", "a", "red", "blue", "circle", "square"]


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 32 dimensions with a vocabulary of eleven words, saved as a checkpoint."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab={word: index for index, word in enumerate(_VOCABULARY)}).save_pretrained(folder)
    return folder


def _encode(model: torch.nn.Module, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    encoded: Tensor = model(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
    return encoded


def test_tokens_see_only_what_the_pairwise_mask_shows(text_encoder: Path) -> None:
    model = compat.with_pairwise_masks(BertModel.from_pretrained(text_encoder).eval())
    ids, positions = torch.tensor([[7, 9, 4, 8, 10, 4]]), torch.tensor([[0, 1, 2, 0, 1, 2]])
    block = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool()[None]
    with torch.no_grad():
        together = _encode(model, ids, block, positions)
        apart = [
            _encode(model, ids[:, part], torch.ones(1, 3), positions[:, part]) for part in (slice(0, 3), slice(3, 6))
        ]
    torch.testing.assert_close(together, torch.cat(apart, dim=1), atol=1e-5, rtol=1e-5)


def test_a_model_with_random_weights_runs(text_encoder: Path) -> None:
    import groundingdino.config as configurations
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    compat.install()
    arguments = SLConfig.fromfile(str(Path(next(iter(configurations.__path__))) / "GroundingDINO_SwinT_OGC.py"))
    arguments.merge_from_dict(
        {
            "text_encoder_type": str(text_encoder),
            "enc_layers": 1,
            "dec_layers": 1,
            "dim_feedforward": 64,
            "num_queries": 5,
            "device": "cpu",
        }
    )
    model = build_model(arguments).eval()
    assert any(name.startswith("bert.encoder.layer.0.") for name in model.state_dict())
    with torch.no_grad():
        found = model(torch.rand(1, 3, 64, 64), captions=["a red circle . blue square ."])
    assert found["pred_boxes"].shape == (1, 5, 4)
    assert found["pred_logits"].shape == (1, 5, arguments.max_text_len)
    assert torch.isfinite(found["pred_boxes"]).all()
