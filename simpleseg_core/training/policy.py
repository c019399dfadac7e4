"""Log-probabilities of sampled answers under a model, with each prompt's image encoded once for all of its answers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from simpleseg_core.models import chat_prompt
from simpleseg_core.rollout import Request
from simpleseg_core.training.gspo import token_logps

_SUPPORTED = ("qwen2_vl", "qwen2_5_vl")


@dataclass(frozen=True, slots=True)
class Prompts:
    """Encoded prompts of a batch."""

    ids: list[Tensor]
    """Token ids of each prompt, (P,), image placeholders included."""
    positions: list[Tensor]
    """Rotary positions of each prompt, (3, P): time, height, width."""
    pixels: Tensor
    """Patches of all images, (patches, values)."""
    grid: Tensor
    """Patches of each image, (prompts, 3): time, height, width."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's tokens, its stop token included, and the index of its prompt."""

    prompt: int
    token_ids: tuple[int, ...]


class Policy:
    """A Qwen2-VL or Qwen2.5-VL as a distribution over answers."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        forbidden: Sequence[int],
        temperature: float,
        autocast: torch.dtype | None = None,
    ) -> None:
        """
        Args:
            model: on its device; not changed.
            forbidden: ids that the engine never samples.
            temperature: of the sampling.
            autocast: compute type, if it differs from the weights'.

        Raises:
            ValueError: the architecture splits into vision and language in another way.
        """
        if model.config.model_type not in _SUPPORTED:
            raise ValueError(
                f"rl: a model of type {model.config.model_type!r} cannot be trained yet, only {', '.join(_SUPPORTED)}"
            )
        self.model: Any = model
        self._processor = processor
        self._forbidden = torch.tensor(forbidden, dtype=torch.long, device=model.device)
        self._temperature = temperature
        self._autocast_dtype = autocast

    def encode(self, requests: Sequence[Request]) -> Prompts:
        """Tokenise the questions and cut the images into patches."""
        texts = [chat_prompt(self._processor, request.question) for request in requests]
        images = [request.image for request in requests]
        encoded = self._processor(text=texts, images=images, padding=True, padding_side="right", return_tensors="pt")
        positions, _ = self.model.model.get_rope_index(
            encoded["input_ids"],
            encoded["mm_token_type_ids"],
            image_grid_thw=encoded["image_grid_thw"],
            attention_mask=encoded["attention_mask"],
        )
        lengths: list[int] = encoded["attention_mask"].sum(1).tolist()
        device = self.model.device
        return Prompts(
            [row[:size] for row, size in zip(encoded["input_ids"].to(device), lengths, strict=True)],
            [positions[:, i, :size].to(device) for i, size in enumerate(lengths)],
            encoded["pixel_values"].to(device),
            encoded["image_grid_thw"].to(device),
        )

    def image_features(self, prompts: Prompts) -> Tensor:
        """Features of all images, one row for each image placeholder, (placeholders, hidden)."""
        with self._autocast():
            output = self.model.model.get_image_features(prompts.pixels, prompts.grid, return_dict=True)
        return torch.cat(tuple(output.pooler_output))

    def logps(self, prompts: Prompts, features: Tensor, answers: Sequence[Answer]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answers' tokens and their mask, both (answers, longest); 0 where the mask is false.

        Rows are padded on the right, where a causal model needs no mask.
        """
        starts = [len(prompts.ids[answer.prompt]) - 1 for answer in answers]
        tokens = [self._tensor(answer.token_ids) for answer in answers]
        ids = [torch.cat([prompts.ids[a.prompt], t[:-1]]) for a, t in zip(answers, tokens, strict=True)]
        predicts = [torch.arange(len(row), device=row.device) >= start for row, start in zip(ids, starts, strict=True)]
        with self._autocast():
            hidden = self.model.model.language_model(
                inputs_embeds=self._embed(pad_sequence(ids, batch_first=True), prompts, features, answers),
                position_ids=self._positions(prompts, answers),
                use_cache=False,
            ).last_hidden_state
            logits = self.model.lm_head(hidden[pad_sequence(predicts, batch_first=True)])
        flat = token_logps(logits, torch.cat(tokens), self._temperature, self._forbidden)
        return _unflatten(flat, [len(row) for row in tokens])

    def _embed(self, ids: Tensor, prompts: Prompts, features: Tensor, answers: Sequence[Answer]) -> Tensor:
        """Token embeddings with each image's features in place of its placeholders, (answers, tokens, hidden)."""
        merge = self.model.config.vision_config.spatial_merge_size
        images = features.split((prompts.grid.prod(-1) // merge**2).tolist())
        embeds: Tensor = self.model.get_input_embeddings()(ids)
        placeholders = (ids == self.model.config.image_token_id)[..., None]
        own = torch.cat([images[answer.prompt] for answer in answers]).to(embeds.dtype)
        return embeds.masked_scatter(placeholders, own)

    def _positions(self, prompts: Prompts, answers: Sequence[Answer]) -> Tensor:
        """Rotary positions, (3, answers, tokens): the prompt's, then one more for each token of the answer."""
        rows = []
        for answer in answers:
            prompt = prompts.positions[answer.prompt]
            further = torch.arange(1, len(answer.token_ids), device=prompt.device) + prompt.max()
            rows.append(torch.cat([prompt, further.expand(3, -1)], dim=1).T)
        return pad_sequence(rows, batch_first=True).permute(2, 0, 1)

    def _tensor(self, token_ids: Sequence[int]) -> Tensor:
        return torch.tensor(token_ids, dtype=torch.long, device=self.model.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.model.device.type, self._autocast_dtype)


def _unflatten(flat: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    padded = pad_sequence(list(flat.split(list(lengths))), batch_first=True)
    mask = torch.arange(padded.shape[1], device=flat.device) < torch.tensor(lengths, device=flat.device)[:, None]
    return padded, mask
