"""The chat form of questions and answers about one image."""

from collections.abc import Sequence
from typing import Any

from transformers import ProcessorMixin

from simpleseg_core.models._bounded import render_within

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
    """The text that a model continues with its answer: image placeholder, question, start of the assistant's turn.

    Raises:
        ValueError: the model's chat template cannot be used.
    """
    return _rendered(processor, messages([question], []), open_turn=True)


def chat_text(processor: ProcessorMixin, questions: Sequence[str], answers: Sequence[str]) -> str:
    """A whole conversation as text, for training.

    Raises:
        ValueError: the model's chat template cannot be used.
    """
    return _rendered(processor, messages(questions, answers), open_turn=False)


def _rendered(processor: ProcessorMixin, turns: list[Message], *, open_turn: bool) -> str:
    def render() -> str:
        text: str = processor.apply_chat_template(turns, add_generation_prompt=open_turn, tokenize=False)
        return text

    named = processor.chat_template
    templates = named.values() if isinstance(named, dict) else [named or ""]
    return render_within(render, templates, processor.tokenizer.name_or_path)
