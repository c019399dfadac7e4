"""A policy on one device with its prompts encoded once: thousands of answers at a time, and updates on them.

What `benchmarks/objectives.py` trains with. Rollouts run on transformers in the trainer's own weights, so no engine and
no transfer is needed; a prompt is prefilled once for all of its answers, and answers that have ended leave the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from simpleseg_core.models.architectures import architecture_of
from simpleseg_core.rollout import Request
from simpleseg_core.training.objectives import Answers, Objective
from simpleseg_core.training.optimizer import Optimizers, clip_gradients
from simpleseg_core.training.policy import AnswerTokens, Policy, Prompts

_ENCODED_AT_ONCE = 256
_COMPACTED_EVERY = 16
"""Tokens between two looks at which answers have ended: each look waits for the device."""

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Sampled:
    """Answers to the prompts of a batch, those to one prompt side by side."""

    prompts: Prompts
    answers: list[AnswerTokens]
    finished: list[bool]


class EncodedPrompts:
    """Prompts on the device, to be taken in any selection."""

    def __init__(self, policy: Policy, requests: Sequence[Request]) -> None:
        self._forward: Any = architecture_of(policy.model.config.model_type).forward
        self._parts: list[Prompts] = []
        for first in range(0, len(requests), _ENCODED_AT_ONCE):
            self._parts += self._split(policy.encode(requests[first : first + _ENCODED_AT_ONCE]))

    def __len__(self) -> int:
        return len(self._parts)

    def take(self, indices: Sequence[int]) -> Prompts:
        """The prompts of some indices as one batch."""
        chosen = [self._parts[i] for i in indices]
        images = tuple(torch.cat(tensors) for tensors in zip(*(part.images[0] for part in chosen), strict=True))
        return Prompts([part.ids[0] for part in chosen], [part.positions[0] for part in chosen], [images])

    def _split(self, prompts: Prompts) -> list[Prompts]:
        images = [
            (own, grid[None])
            for patches, grids in prompts.images
            for own, grid in zip(patches.split(grids.prod(-1).tolist()), grids, strict=True)
        ]
        rows = zip(prompts.ids, prompts.positions, images, strict=True)
        return [Prompts([ids], [positions], [own]) for ids, positions, own in rows]


@dataclass(frozen=True)
class Sampler:
    """Draws answers from a policy's current weights."""

    policy: Policy
    forbidden: Sequence[int]
    stop: Sequence[int]
    max_tokens: int

    @torch.inference_mode()
    def __call__(self, prompts: Prompts, n: int, temperature: float) -> Sampled:
        """`n` answers to each prompt from torch's random state; a temperature of 0 is greedy."""
        state = _Decoding(self, prompts, n)
        for length in range(self.max_tokens):
            state.step(length, temperature)
            if (length + 1) % _COMPACTED_EVERY == 0 and not state.compact():
                break
        rows = [self._cut(row) for row in state.tokens.tolist()]
        answers = [AnswerTokens(i // n, tokens) for i, tokens in enumerate(rows)]
        return Sampled(prompts, answers, [tokens[-1] in self.stop for tokens in rows])

    def _cut(self, row: Sequence[int]) -> Tokens:
        """An answer ends with its first stop token."""
        end = next((i for i, token in enumerate(row) if token in self.stop), len(row) - 1)
        return tuple(row[: end + 1])


class _Decoding:
    """Answers on their way, one row each."""

    def __init__(self, sampler: Sampler, prompts: Prompts, n: int) -> None:
        self._model, self._sampler = sampler.policy.model, sampler
        device = self._model.device
        ids, mask, positions = _left_padded(prompts)
        embeds = self._model.get_input_embeddings()(ids)
        placeholders = (ids == self._model.config.image_token_id)[..., None]
        features = sampler.policy.image_features(prompts).values
        embeds = embeds.masked_scatter(placeholders, features.to(embeds.dtype))
        self._cache = DynamicCache(config=self._model.config.get_text_config())
        last = self._forward(embeds, positions, mask)
        self._cache.batch_repeat_interleave(n)
        self._hidden, self._mask = last.repeat_interleave(n, 0), mask.repeat_interleave(n, 0)
        self._positions = positions[:, :, -1:].repeat_interleave(n, 1)
        self._rows = torch.arange(len(self._hidden), device=device)
        self._ended = torch.zeros(len(self._hidden), dtype=torch.bool, device=device)
        self._forbidden = torch.tensor(sampler.forbidden, dtype=torch.long, device=device)
        self._stop = torch.tensor(sampler.stop, dtype=torch.long, device=device)
        self.tokens = torch.full((len(self._hidden), sampler.max_tokens), int(sampler.stop[0]), device=device)

    def step(self, length: int, temperature: float) -> None:
        """One more token for every row."""
        logits = self._model.lm_head(self._hidden).float().index_fill_(-1, self._forbidden, float("-inf"))
        chosen = logits.argmax(-1) if temperature == 0 else _draw(logits / temperature)
        self.tokens[self._rows, length] = chosen
        self._ended |= torch.isin(chosen, self._stop)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)
        self._positions = self._positions + 1
        self._hidden = self._forward(self._model.get_input_embeddings()(chosen)[:, None], self._positions, self._mask)

    def compact(self) -> bool:
        """Drop the rows that have ended; whether any is left."""
        going = (~self._ended).nonzero()[:, 0]
        if 0 < len(going) < len(self._ended):
            self._cache.batch_select_indices(going)
            self._hidden, self._mask, self._rows = self._hidden[going], self._mask[going], self._rows[going]
            self._positions, self._ended = self._positions[:, going], self._ended[going]
        return len(going) > 0

    def _forward(self, embeds: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        output = self._model.model.language_model(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        last: Tensor = output.last_hidden_state[:, -1]
        return last


def _left_padded(prompts: Prompts) -> tuple[Tensor, Tensor, Tensor]:
    """Ids (G, P), their mask (G, P) and positions (axes, G, P): answers start in one column."""
    ids = pad_sequence(prompts.ids, batch_first=True, padding_side="left")
    ones = [torch.ones_like(row) for row in prompts.ids]
    rows = [row.T for row in prompts.positions]
    positions = pad_sequence(rows, batch_first=True, padding_side="left").permute(2, 0, 1)
    # The next position is one behind the greatest of the prompt, which its last token has on every axis.
    return ids, pad_sequence(ones, batch_first=True, padding_side="left"), positions


def _draw(logits: Tensor) -> Tensor:
    """One token of each row by the Gumbel trick, which needs no sums."""
    return (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)


@dataclass(frozen=True)
class Learner:
    """Updates a policy from its own answers, or towards given ones."""

    policy: Policy
    optimizer: Optimizers
    micro_batch: int
    grad_clip: float

    def reinforce(
        self, sampled: Sampled, advantages: Sequence[float], row: Objective, max_tokens: int, rate: float
    ) -> float:
        """One on-policy step on the answers that have an advantage; returns the norm of the gradient."""
        kept = [(a, value) for a, value in zip(sampled.answers, advantages, strict=True) if value]
        kept.sort(key=lambda pair: len(pair[0].token_ids))  # little padding in a micro-batch
        mean_tokens = sum(len(answer.token_ids) for answer, _ in kept) / max(1, len(kept))

        def loss(logps: Tensor, mask: Tensor, first: int) -> Tensor:
            values = logps.new_tensor([value for _, value in kept[first : first + len(logps)]])
            answers = Answers(logps, logps.detach(), mask, values, *row.clip, max_tokens, mean_tokens)
            return -row.surrogate(answers).objective.sum() / len(sampled.answers)

        return self._step(sampled.prompts, [answer for answer, _ in kept], loss, rate)

    def imitate(self, prompts: Prompts, answers: Sequence[AnswerTokens], rate: float) -> float:
        """One step of supervised learning: the mean log-probability of the answers' tokens rises."""
        ordered = sorted(answers, key=lambda answer: len(answer.token_ids))
        tokens = sum(len(answer.token_ids) for answer in ordered)
        return self._step(prompts, ordered, lambda logps, mask, _: -logps[mask].sum() / tokens, rate)

    def _step(self, prompts: Prompts, answers: Sequence[AnswerTokens], loss: Any, rate: float) -> float:
        features = self.policy.image_features(prompts)
        for first in range(0, len(answers), self.micro_batch):
            logps, mask = self.policy.logps(prompts, features.values, answers[first : first + self.micro_batch])
            loss(logps, mask, first).backward()
        features.backward()
        norm = clip_gradients(self.policy.model, self.grad_clip)
        self.optimizer.step(rate)
        return norm
