"""What each architecture says about itself, and that the configuration can ask without loading a model."""

import subprocess
import sys

import pytest

from simpleseg_core.kinds import ARCHITECTURES
from simpleseg_core.models.architectures import architecture, architecture_of


def test_files_of_the_folder_are_found_by_their_names() -> None:
    assert {"qwen2_5_vl", "qwen3_vl", "kimi_vl"} <= set(ARCHITECTURES.names())
    for name in ARCHITECTURES.names():
        found = architecture(name)
        assert found.name == name
        assert all(architecture_of(model_type) is found for model_type in found.model_types)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no architecture 'llava': choose one of kimi_vl, qwen2_5_vl, qwen3_vl"):
        architecture("llava")
    with pytest.raises(ValueError, match=r"type 'llava' cannot be trained, only kimi_vl, qwen2_5_vl"):
        architecture_of("llava")


def test_asking_loads_no_library_of_models() -> None:
    code = (
        "import sys; from simpleseg_core.config import Config; Config();"
        "from simpleseg_core.models.architectures import architecture; from simpleseg_core.kinds import ARCHITECTURES;"
        "list(map(architecture, ARCHITECTURES.names()));"
        "print({'torch', 'transformers', 'ray', 'vllm'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_bounds_on_images_are_said_in_the_words_of_the_processor() -> None:
    assert architecture("qwen2_5_vl").image_bounds(4096, 8192) == {
        "size": {"shortest_edge": 4096, "longest_edge": 8192}
    }
    assert architecture("kimi_vl").image_bounds(200704, 1003520) == {"max_pixels": 1003520}
