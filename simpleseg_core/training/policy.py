"""Log-probabilities of sampled answers under a model, with each prompt's image encoded once for all of its answers.

Shapes: G prompts of P tokens each, with N image placeholders in all, each of F values; B answers, A tokens the longest,
L tokens of all of them, V words of the vocabulary; T tokens of the longest prompt with an answer behind it. Rotary
positions have an axis in front: three in the Qwen family.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from simpleseg_core.models.architectures import architecture_of
from simpleseg_core.models.chat import chat_prompt
from simpleseg_core.rollout import Request
from simpleseg_core.training.objectives import token_logps


@dataclass(frozen=True, slots=True)
class Prompts:
    """Encoded prompts of a batch."""

    ids: list[Tensor]
    """Token ids of each prompt, (P,), image placeholders included."""
    positions: list[Tensor]
    """Rotary positions of each prompt, (axes, P)."""
    images: list[tuple[Tensor, ...]]
    """What the processor made of the images, a chunk of them at a time, in the order that the architecture asks for."""


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """An answer's tokens, its stop token included, and the index of its prompt."""

    prompt: int
    token_ids: tuple[int, ...]


class Policy:
    """A model as a distribution over answers."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        forbidden: Sequence[int],
        temperature: float,
        autocast: torch.dtype | None = None,
        images_at_once: int = 32,
    ) -> None:
        """
        Args:
            model: on its device; not changed.
            forbidden: ids that the engine never samples.
            temperature: of the sampling.
            autocast: compute type, if it differs from the weights'.
            images_at_once: how many go through the vision tower together.

        Raises:
            ValueError: no architecture reads the model's type.
        """
        self._forward = architecture_of(model.config.model_type).forward
        self.model: Any = model
        self._processor = processor
        self._forbidden = torch.tensor(forbidden, dtype=torch.long, device=model.device)
        self._temperature = temperature
        self._autocast_dtype = autocast
        self._images_at_once = images_at_once
        self._encode = _with_all_weights(model, "encode_for_reinforcement", self._forward.image_features)
        self._logits = _with_all_weights(model, "logits_for_reinforcement", self._answer_logits)

    def encode(self, requests: Sequence[Request]) -> Prompts:
        """Tokenise the questions and cut the images into patches."""
        size = self._images_at_once
        ids, positions, images = list[Tensor](), list[Tensor](), list[tuple[Tensor, ...]]()
        for first in range(0, len(requests), size):
            encoded = self._process(requests[first : first + size])
            lengths: list[int] = encoded["attention_mask"].sum(1).tolist()
            places = self._forward.positions(self.model, encoded)
            ids += [row[:length] for row, length in zip(encoded["input_ids"], lengths, strict=True)]
            positions += [places[:, i, :length] for i, length in enumerate(lengths)]
            images.append(tuple(encoded[name].to(self.model.device) for name in self._forward.image_inputs))
        device = self.model.device
        return Prompts([row.to(device) for row in ids], [each.to(device) for each in positions], images)

    def _process(self, requests: Sequence[Request]) -> Any:
        texts = [chat_prompt(self._processor, request.question) for request in requests]
        images = [request.image for request in requests]
        return self._processor(text=texts, images=images, padding=True, padding_side="right", return_tensors="pt")

    def image_features(self, prompts: Prompts) -> "ImageFeatures":
        """Features of all images, one row for each image placeholder, (N, F)."""
        return ImageFeatures(prompts.images, self._encode_chunk)

    def _encode_chunk(self, images: tuple[Tensor, ...]) -> Tensor:
        with self._autocast():
            features: Tensor = self._encode(self.model, *images)
            return features

    def logps(self, prompts: Prompts, features: Tensor, answers: Sequence[AnswerTokens]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answers' tokens and their mask, both (B, A); 0 where the mask is false.

        Rows are padded on the right, where a causal model needs no mask.
        """
        starts = [len(prompts.ids[answer.prompt]) - 1 for answer in answers]
        tokens = [self._tensor(answer.token_ids) for answer in answers]
        ids = [torch.cat([prompts.ids[a.prompt], t[:-1]]) for a, t in zip(answers, tokens, strict=True)]
        predicts = [torch.arange(len(row), device=row.device) >= start for row, start in zip(ids, starts, strict=True)]
        with self._autocast():
            logits = self._logits(
                pad_sequence(ids, batch_first=True),
                self._positions(prompts, answers),
                self._own_features(prompts, features, answers),
                pad_sequence(predicts, batch_first=True),
            )
        flat = token_logps(logits, torch.cat(tokens), self._temperature, self._forbidden)
        return _unflatten(flat, [len(row) for row in tokens])

    def _answer_logits(self, ids: Tensor, positions: Tensor, features: Tensor, predicts: Tensor) -> Tensor:
        """Logits (L, V) where a token of an answer is predicted; `ids` and `predicts`, bool, are (B, T)."""
        head = self.model.get_output_embeddings()
        logits: Tensor = head(self._forward.hidden(self.model, ids, positions, features)[predicts])
        return logits

    def _own_features(self, prompts: Prompts, features: Tensor, answers: Sequence[AnswerTokens]) -> Tensor:
        """The features of each answer's image, one after the other: of images, (N, F), to of rows."""
        sizes = [size for chunk in prompts.images for size in self._forward.image_sizes(self.model, *chunk)]
        images = features.split(sizes)
        return torch.cat([images[answer.prompt] for answer in answers])

    def _positions(self, prompts: Prompts, answers: Sequence[AnswerTokens]) -> Tensor:
        """Rotary positions, (axes, B, T): the prompt's, then one more for each token of the answer."""
        rows = []
        for answer in answers:
            prompt = prompts.positions[answer.prompt]
            further = torch.arange(1, len(answer.token_ids), device=prompt.device) + prompt.max()
            rows.append(torch.cat([prompt, further.expand(len(prompt), -1)], dim=1).T)
        return pad_sequence(rows, batch_first=True).permute(2, 0, 1)

    def _tensor(self, token_ids: Sequence[int]) -> Tensor:
        return torch.tensor(token_ids, dtype=torch.long, device=self.model.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.model.device.type, self._autocast_dtype)


class ImageFeatures:
    """Features of images whose gradient gathers over several backward passes before it goes through the vision tower.

    Of a single chunk the tower keeps what its gradient needs. Of several it keeps nothing and encodes each once more,
    so that memory is bounded by a chunk.
    """

    def __init__(self, images: Sequence[tuple[Tensor, ...]], encode: Callable[[tuple[Tensor, ...]], Tensor]) -> None:
        self._images, self._encode = images, encode
        self._kept = torch.is_grad_enabled() and len(images) == 1
        with torch.set_grad_enabled(self._kept):
            self._chunks = [encode(each) for each in images]
        self.values = torch.cat(self._chunks).detach().requires_grad_(torch.is_grad_enabled())
        """(N, F); a leaf of the graph."""

    def backward(self) -> None:
        """Send what has gathered in `values.grad` through the vision tower."""
        if self.values.grad is None:
            return
        sizes = [len(chunk) for chunk in self._chunks]
        for chunk, images, gradient in zip(self._chunks, self._images, self.values.grad.split(sizes), strict=True):
            features = chunk if self._kept else self._encode(images)
            if features.requires_grad:
                features.backward(gradient)


def _with_all_weights(model: Any, name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, with all weights of a sharded model at hand: FSDP gathers those outside its blocks for what it
    knows as a forward pass."""
    if not isinstance(model, FSDPModule):
        return function
    setattr(model, name, function)
    register_fsdp_forward_method(cast(nn.Module, model), name)
    known: Callable[..., Tensor] = getattr(model, name)
    return known


def _unflatten(flat: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(L,) -> (B, A) and its mask."""
    padded = pad_sequence(list(flat.split(list(lengths))), batch_first=True)
    mask = torch.arange(padded.shape[1], device=flat.device) < torch.tensor(lengths, device=flat.device)[:, None]
    return padded, mask
