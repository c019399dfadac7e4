"""The GPUs that a plan is made for."""

from dataclasses import dataclass

from simpleseg_core.names import did_you_mean


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU; figures from the manufacturer's data sheets."""

    name: str
    memory_gib: float
    tflops: float
    """Dense bfloat16."""
    bandwidth_gb_s: float


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("b200", 178, 2250, 8000),
        Gpu("h200", 131, 989, 4800),
        Gpu("h100", 80, 989, 3350),
        Gpu("a100", 80, 312, 2039),
        Gpu("a100-40", 40, 312, 1555),
        Gpu("l40s", 45, 362, 864),
        Gpu("l4", 22, 121, 300),
        Gpu("rtx4090", 24, 165, 1008),
        Gpu("rtx3090", 24, 71, 936),
    )
}


def gpu_named(name: str) -> Gpu:
    """The GPU of a name.

    Raises:
        ValueError: it is not in the table.
    """
    if name not in GPUS:
        raise ValueError(f"no GPU {name!r}{did_you_mean(name, GPUS)}: choose one of {', '.join(GPUS)}")
    return GPUS[name]
