"""Each kind of thing that people add a file for: found by name, asked for little, and without loading a model."""

import subprocess
import sys

import pytest

from simpleseg_core import kinds
from simpleseg_core.kinds import KINDS, Kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
def test_every_file_of_the_folder_is_one(kind: Kind[object]) -> None:
    assert len(kind.names()) > 1
    assert len({id(kind.load(name)) for name in kind.names()}) == len(kind.names())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
@pytest.mark.parametrize("name", ["__init__", "os.path", "../kinds", "", "nothing_like_it"])
def test_other_names_are_refused_with_the_known_ones(kind: Kind[object], name: str) -> None:
    with pytest.raises(ValueError, match=f"no {kind.word} .*: choose one of .*{kind.names()[-1]}"):
        kind.load(name)


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(ValueError, match="did you mean `groundingdino`"):
        kinds.DETECTORS.known("grounding_dino")


def test_asking_what_they_can_loads_no_library_of_models() -> None:
    code = (
        "import sys; from simpleseg_core.kinds import KINDS;"
        "[kind.load(name) for kind in KINDS for name in kind.names()];"
        "print({'torch', 'transformers', 'ray', 'vllm', 'segment_anything'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
