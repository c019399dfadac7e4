"""The chat form of questions and answers about one image."""

from collections.abc import Sequence
from typing import Any

from transformers import ProcessorMixin

Message = dict[str, Any]


def messages(questions: Sequence[str], answers: Sequence[str]) -> list[Message]:
    """A conversation that opens with the image; one answer fewer than questions leaves the last question open."""
    turns: list[Message] = []
    for index, question in enumerate(questions):
        text = {"type": "text", "text": question}
        turns.append({"role": "user", "content": [{"type": "image"}, text] if index == 0 else [text]})
        if index < len(answers):
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answers[index]}]})
    return turns


def chat_prompt(processor: ProcessorMixin, question: str) -> str:
    """The text that a model continues with its answer: image placeholder, question, start of the assistant's turn."""
    text: str = processor.apply_chat_template(messages([question], []), add_generation_prompt=True, tokenize=False)
    return text


def chat_text(processor: ProcessorMixin, questions: Sequence[str], answers: Sequence[str]) -> str:
    """A whole conversation as text, for training."""
    text: str = processor.apply_chat_template(messages(questions, answers), add_generation_prompt=False, tokenize=False)
    return text
