"""Answers of a server that speaks OpenAI's protocol: vLLM's, or anybody's."""

import os
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from simpleseg_core.config.evaluation import ModelUnderTest
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation.answer_files import said
from simpleseg_core.evaluation.answers import Answer, Row

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionUserMessageParam

_PATIENCE_S = 600.0
_RETRIES = 6
"""After a refused connection, 429 or 5xx, each a longer while later."""


@dataclass(slots=True)
class EndpointAnswers:
    """`Answering` over HTTP, greedily; images travel as PNG, losslessly. The key is that in OPENAI_API_KEY, if any."""

    model: ModelUnderTest
    images: ImageStore
    max_tokens: int
    at_once: int
    """Requests under way at a time."""

    def answer(self, prompts: Sequence[Row]) -> list[Answer]:
        """One answer for each prompt.

        Raises:
            ConnectionError: the server does not answer, or refuses; the message names it and the cure.
        """
        from openai import OpenAIError

        pictures = [_data_url(self.images, prompt) for prompt in prompts]
        try:
            with connected(self.model) as client, ThreadPoolExecutor(self.at_once) as pool:
                name = served_model(self.model, client)
                return list(
                    pool.map(lambda prompt, picture: self._ask(client, name, prompt, picture), prompts, pictures)
                )
        except OpenAIError as error:
            raise ConnectionError(
                f"{self.model.where}: the server of {self.model.name} does not answer ({error}): start it, or correct "
                "where and served in evaluate.models (a key is read from OPENAI_API_KEY)"
            ) from error

    def _ask(self, client: "OpenAI", name: str, prompt: Row, picture: str) -> Answer:
        asked: ChatCompletionUserMessageParam = {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "text", "text": prompt["question"]},
            ],
        }
        reply = client.chat.completions.create(
            model=name, messages=[asked], temperature=0.0, max_tokens=self.max_tokens
        )
        choice = reply.choices[0]
        tokens = None if reply.usage is None else reply.usage.completion_tokens - (choice.finish_reason == "stop")
        return said(choice.message.content or "", tokens, prompt, self.model.style)


def connected(model: ModelUnderTest) -> "OpenAI":
    """A client of the server; nothing is sent yet."""
    from openai import OpenAI

    key = os.environ.get("OPENAI_API_KEY", "none")
    return OpenAI(base_url=model.where, api_key=key, timeout=_PATIENCE_S, max_retries=_RETRIES)


def served_model(model: ModelUnderTest, client: "OpenAI") -> str:
    """What the server calls the model.

    Raises:
        ValueError: none is named, and it serves several, or none.
    """
    if model.served is not None:
        return model.served
    names = [each.id for each in client.models.list()]
    if len(names) != 1:
        raise ValueError(f"{model.where} serves {', '.join(names) or 'no model'}: set served of {model.name} to one")
    return names[0]


def _data_url(images: ImageStore, prompt: Row) -> str:
    buffer = BytesIO()
    images.read(prompt["shard"], prompt["image"]).save(buffer, "PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
