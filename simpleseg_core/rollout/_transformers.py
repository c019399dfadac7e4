"""The transformers engine: slow, simple, and the reference for the other one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import xgrammar
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig, LogitsProcessorList
from xgrammar.contrib.hf import LogitsProcessor as GrammarProcessor

from simpleseg_core.models import DTYPES, chat_prompt
from simpleseg_core.rollout._protocol import Completion, EngineSettings, Request, Sampling, State
from simpleseg_core.rollout._vocabulary import forbidden_ids, stop_ids
from simpleseg_core.rollout._weights import read_weights


class TransformersEngine:
    """`Rollout` on `model.generate`."""

    def __init__(self, model_dir: str, settings: EngineSettings) -> None:
        self._settings = settings
        trust = settings.trust_remote_code
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model: Any = AutoModelForImageTextToText.from_pretrained(
            model_dir, dtype=DTYPES[settings.dtype], use_safetensors=True, trust_remote_code=trust
        )
        self._place()
        self._processor: Any = AutoProcessor.from_pretrained(
            model_dir, trust_remote_code=trust, **_pixel_bounds(settings)
        )
        self._processor.tokenizer.padding_side = "left"  # answers start in one column
        self._forbidden, self._stop = list(forbidden_ids(model_dir, trust)), list(stop_ids(model_dir, trust))

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        size = max(1, self._settings.max_num_seqs // sampling.n)
        with _seeded(sampling.seed, self._device):
            batches = [self._generate(requests[i : i + size], sampling) for i in range(0, len(requests), size)]
        return [answers for batch in batches for answers in batch]

    def load_weights(self, source: Path | State) -> None:
        state = source if isinstance(source, Mapping) else dict(read_weights(source))
        # Through from_pretrained, which knows both the names of checkpoints and those of modules.
        kind, config = type(self._model), self._model.config
        self._model = kind.from_pretrained(None, config=config, state_dict=state, dtype=DTYPES[self._settings.dtype])
        self._place()

    def close(self) -> None:
        self._model = None

    def _place(self) -> None:
        self._model.to(self._device).eval()

    @torch.inference_mode()
    def _generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        texts = [chat_prompt(self._processor, request.question) for request in requests]
        images = [request.image for request in requests]
        inputs = self._processor(text=texts, images=images, padding=True, return_tensors="pt").to(self._device)
        output = self._model.generate(
            **inputs, generation_config=self._configuration(sampling), logits_processor=self._constraints(sampling)
        )
        answers = output.sequences[:, inputs["input_ids"].shape[1] :]
        logprobs = self._logprobs(output) if sampling.logprobs else None
        flat = [self._completion(row, None if logprobs is None else logprobs[i]) for i, row in enumerate(answers)]
        return [flat[i : i + sampling.n] for i in range(0, len(flat), sampling.n)]

    def _configuration(self, sampling: Sampling) -> GenerationConfig:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            num_return_sequences=sampling.n,
            suppress_tokens=self._forbidden,
            eos_token_id=self._stop,
            pad_token_id=self._processor.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_scores=sampling.logprobs,
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
        )

    def _constraints(self, sampling: Sampling) -> LogitsProcessorList:
        if sampling.regex is None:
            return LogitsProcessorList()
        size = self._model.config.get_text_config().vocab_size
        tokens = xgrammar.TokenizerInfo.from_huggingface(
            self._processor.tokenizer, vocab_size=size, stop_token_ids=self._stop
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


def _pixel_bounds(settings: EngineSettings) -> dict[str, dict[str, int]]:
    """Bounds on the area of an image, under the names that Qwen's image processor gives them."""
    if settings.min_pixels is None or settings.max_pixels is None:
        return {}
    return {"size": {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}}


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from a seed and leave the caller's random numbers as they were."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
