"""Loading and saving models: nano Qwen2.5-VL built from scratch, and any Hugging Face image-text checkpoint."""

from simpleseg_core.models.chat import chat_prompt, chat_text, messages
from simpleseg_core.models.loading import DTYPES, load_model, load_processor, save_checkpoint
from simpleseg_core.models.nano import build_nano
from simpleseg_core.models.tokenizer import build_tokenizer

__all__ = [
    "DTYPES", "build_nano", "build_tokenizer", "chat_prompt", "chat_text", "load_model", "load_processor",
    "messages", "save_checkpoint",
]  # fmt: skip
