"""Engine settings from the configuration: the only place where they are made."""

from simpleseg_core.config import DescribeConfig, EvaluateConfig, ModelConfig, RolloutConfig
from simpleseg_core.models.architectures import architecture
from simpleseg_core.rollout._protocol import EngineSettings


def engine_settings(section: EvaluateConfig | RolloutConfig, model: ModelConfig) -> EngineSettings:
    """How a section's engine holds the model that the run trains."""
    return EngineSettings(
        dtype=model.dtype,
        max_length=section.max_length,
        max_num_seqs=section.max_num_seqs,
        kv_cache_mib=section.kv_cache_mib,
        gpu_memory_utilization=section.gpu_memory_utilization,
        tensor_parallel=section.tensor_parallel,
        image_bounds=architecture(model.architecture).image_bounds(model.min_pixels, model.max_pixels),
        trust_remote_code=model.trust_remote_code,
    )


def describer_settings(section: DescribeConfig) -> EngineSettings:
    """How the engine of `describe` holds a model that somebody else has trained; its processor bounds the images."""
    return EngineSettings(
        dtype=section.dtype,
        max_length=section.max_length,
        max_num_seqs=section.batch_size,
        kv_cache_mib=section.kv_cache_mib,
        gpu_memory_utilization=section.gpu_memory_utilization,
    )
