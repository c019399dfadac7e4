"""Answers by transformers' own `generate`, under the rules of sampling that all engines share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from simpleseg_core.models.chat import chat_prompt
from simpleseg_core.rollout._protocol import Completion, Request, Sampling
from simpleseg_core.rollout._vocabulary import forbidden_tokens, stop_tokens


class Generator:
    """A model in memory with its processor; nothing but `Sampling` says how its answers are drawn."""

    def __init__(self, model: Any, processor: Any, *, together: bool = False) -> None:
        """
        Args:
            together: the model is sharded over the processes of torch's group, which all generate at once, each its
                own answers, until the last one is done.
        """
        self.model, self._processor, self._together = model, processor, together
        self._stop = stop_tokens(processor.tokenizer, model.generation_config)
        self._forbidden = forbidden_tokens(processor.tokenizer, self._vocabulary_size, self._stop)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`sampling.n` answers for each request, all drawn in one batch from torch's current random state."""
        texts = [chat_prompt(self._processor, request.question) for request in requests]
        images = [request.image for request in requests]
        # Padded on the left, so that answers start in one column.
        inputs = self._processor(text=texts, images=images, padding=True, padding_side="left", return_tensors="pt")
        # What is gathered in inference mode cannot be trained with afterwards.
        if self._together:
            self.model.unshard()  # the vision tower is called by itself, outside of a forward pass that would gather it
        without_gradient = torch.no_grad() if self._together else torch.inference_mode()
        with _without_defaults(self.model), without_gradient:
            output = self.model.generate(
                **inputs.to(self.model.device),
                generation_config=self._configuration(sampling),
                logits_processor=self._constraints(sampling),
                synced_gpus=self._together,
            )
        answers = output.sequences[:, inputs["input_ids"].shape[1] :]
        logprobs = self._logprobs(output) if sampling.logprobs else None
        flat = [self._completion(row, None if logprobs is None else logprobs[i]) for i, row in enumerate(answers)]
        return [flat[i : i + sampling.n] for i in range(0, len(flat), sampling.n)]

    @property
    def _vocabulary_size(self) -> int:
        size: int = self.model.config.get_text_config().vocab_size
        return size

    def _configuration(self, sampling: Sampling) -> GenerationConfig:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            num_return_sequences=sampling.n,
            suppress_tokens=list(self._forbidden),
            eos_token_id=list(self._stop),
            pad_token_id=self._processor.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_scores=sampling.logprobs,
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
        )

    def _constraints(self, sampling: Sampling) -> LogitsProcessorList:
        if sampling.regex is None:
            return LogitsProcessorList()
        import xgrammar
        from xgrammar.contrib.hf import LogitsProcessor as GrammarProcessor

        tokens = xgrammar.TokenizerInfo.from_huggingface(
            self._processor.tokenizer, vocab_size=self._vocabulary_size, stop_token_ids=list(self._stop)
        )
        return LogitsProcessorList([GrammarProcessor(xgrammar.GrammarCompiler(tokens).compile_regex(sampling.regex))])

    def _logprobs(self, output: Any) -> Tensor:
        """Log-probabilities of the sampled tokens, (answers, tokens), under the processed scores."""
        scores = torch.stack(output.scores, dim=1).float().log_softmax(-1)
        answers = output.sequences[:, -scores.shape[1] :]
        return scores.gather(-1, answers[..., None])[..., 0]

    def _completion(self, row: Tensor, logprobs: Tensor | None) -> Completion:
        tokens: list[int] = row.tolist()
        end = next((i for i, token in enumerate(tokens) if token in self._stop), None)
        kept = tokens if end is None else tokens[: end + 1]
        text = self._processor.tokenizer.decode(kept, skip_special_tokens=True)
        logprob = None if logprobs is None else float(logprobs[: len(kept)].sum())
        return Completion(text, tuple(kept), end is not None, logprob)


@contextmanager
def _without_defaults(model: Any) -> Iterator[None]:
    """Hide the sampling defaults of a checkpoint (Qwen ships a repetition penalty): `generate` fills what its
    configuration leaves open from them."""
    shipped, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = shipped
