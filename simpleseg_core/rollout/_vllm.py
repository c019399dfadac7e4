"""The vLLM engine: one in-process vLLM, on a GPU or on the CPU, whose weights can be replaced while it lives."""

import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from vllm import LLM, RequestOutput, SamplingParams
from vllm.config import VllmConfig
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.outputs import CompletionOutput
from vllm.platforms import current_platform
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

from simpleseg_core.family import scratch_folder
from simpleseg_core.models.auto import read_config, read_processor
from simpleseg_core.models.chat import chat_prompt
from simpleseg_core.rollout._protocol import Completion, EngineSettings, Request, Sampling, State
from simpleseg_core.rollout._quiet import hush_vllm
from simpleseg_core.rollout._vocabulary import forbidden_ids, stop_ids
from simpleseg_core.rollout._weights import read_weights, write_weights


class ForbidTokens(LogitsProcessor):
    """Sets the logits of forbidden ids to minus infinity, for every request of the engine."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        model = vllm_config.model_config
        ids = forbidden_ids(model.model, model.trust_remote_code)
        self._ids = torch.tensor(ids, dtype=torch.long, device=device)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill_(-1, self._ids, float("-inf"))

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Nothing depends on the batch."""


class WorkerExtension:
    """Methods that vLLM mixes into its workers; `self` is the worker."""

    model_runner: Any

    def receive_weights(self, path: str) -> None:
        """Load a safetensors file into the running model: unpacks, loads and repacks layer by layer."""
        self.model_runner.reload_weights(weights_iterator=read_weights(Path(path)))
        for module in self.model_runner.get_model().modules():
            if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
                # A head tied to the embedding loads no weights of its own, and its packed copy would stay the old one.
                module.quant_method.process_weights_after_loading(module)
            kernel = getattr(getattr(module, "quant_method", None), "moe_kernel", None)
            if kernel is not None and current_platform.is_cpu():
                # vLLM 0.32 packs experts for its kernel at the first loading only.
                kernel.fused_experts.process_weights_after_loading(module)

    def seed(self, seed: int) -> None:
        """Fix the random numbers of the worker.

        Seeds of single requests would do, but on the CPU vLLM 0.32 fails on them once a prompt is prefilled in chunks.
        """
        torch.manual_seed(seed)


def _check_gpus(parts: int) -> None:
    """ValueError where a model is to be split over more GPUs than there are, before anything is loaded."""
    if parts > max(1, found := torch.cuda.device_count()):
        raise ValueError(f"tensor_parallel is {parts}, each part takes a GPU, and there are {found}: lower it")


class VllmEngine:
    """`Rollout` on vLLM."""

    def __init__(self, model_dir: str, settings: EngineSettings) -> None:
        _check_gpus(settings.tensor_parallel)
        self._processor = read_processor(model_dir, settings.trust_remote_code)
        self._stop = list(stop_ids(model_dir, settings.trust_remote_code))
        _make_numba_inspectable()
        model = read_config(model_dir, settings.trust_remote_code)
        hush_vllm(tied_head=bool(model.tie_word_embeddings))
        self._llm: LLM | None = LLM(
            model=model_dir,
            dtype=settings.dtype,
            max_model_len=settings.max_length,
            max_num_seqs=settings.max_num_seqs,
            tensor_parallel_size=settings.tensor_parallel,
            trust_remote_code=settings.trust_remote_code,
            limit_mm_per_prompt={"image": 1, "video": 0},
            mm_processor_kwargs=dict(settings.image_bounds) or None,
            generation_config="vllm",  # not the checkpoint's sampling defaults; those who stop an answer still count
            logprobs_mode="processed_logprobs",
            logits_processors=[ForbidTokens],
            worker_extension_cls=f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}",
            seed=0,
            use_tqdm_on_load=False,
            **_memory(settings),
        )

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        if not requests:
            return []
        if sampling.seed is not None:
            self._engine.collective_rpc("seed", args=(sampling.seed,))
        prompts: list[Any] = [
            {"prompt": chat_prompt(self._processor, request.question), "multi_modal_data": {"image": request.image}}
            for request in requests
        ]
        outputs: list[RequestOutput] = self._engine.generate(prompts, self._parameters(sampling), use_tqdm=False)
        return [[_completion(answer) for answer in output.outputs] for output in outputs]

    def load_weights(self, source: Path | State) -> None:
        if isinstance(source, Mapping):
            with scratch_folder(in_memory=True) as folder:
                path = folder / "model.safetensors"
                write_weights(source, path)
                self._reload(path)
        else:
            self._reload(source)

    def close(self) -> None:
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            gc.collect()
            cleanup_dist_env_and_memory()

    @property
    def _engine(self) -> LLM:
        if self._llm is None:
            raise RuntimeError("this engine is closed: open a new one")
        return self._llm

    def _reload(self, path: Path) -> None:
        """Both caches hold results of the old weights: features of images, and keys and values of prompts."""
        self._engine.collective_rpc("receive_weights", args=(str(path.absolute()),))
        self._engine.llm_engine.reset_encoder_cache()
        self._engine.reset_prefix_cache()

    def _parameters(self, sampling: Sampling) -> SamplingParams:
        return SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop_token_ids=self._stop,
            logprobs=0 if sampling.logprobs else None,
            structured_outputs=StructuredOutputsParams(regex=sampling.regex) if sampling.regex else None,
        )


def _make_numba_inspectable() -> None:
    """Let vLLM look through all loaded modules, as it does on the CPU, without stumbling over numba.

    llvmlite's library object answers every attribute with a function, `__dict__` too, where vLLM 0.32 expects a dict.
    """
    ffi = sys.modules.get("llvmlite.binding.ffi")
    if ffi is not None:
        ffi.lib._fntab.setdefault("__dict__", {})


def _memory(settings: EngineSettings) -> dict[str, Any]:
    """On the CPU vLLM counts its cache in whole GiB unless told the bytes, and torch.compile would need a compiler."""
    if current_platform.is_cpu():
        return {
            "kv_cache_memory_bytes": settings.kv_cache_mib << 20,
            "enforce_eager": True,
            # vLLM 0.32's own kernel turns the queries of all heads but the first by wrong angles where they come by
            # heads, as DeepSeek's do.
            "compilation_config": {"custom_ops": ["all", "-rotary_embedding"]},
        }
    return {"gpu_memory_utilization": settings.gpu_memory_utilization}


def _completion(answer: CompletionOutput) -> Completion:
    finished = answer.finish_reason == "stop"
    return Completion(answer.text, tuple(answer.token_ids), finished, answer.cumulative_logprob)
