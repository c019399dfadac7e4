"""What is special about each architecture, one file each; a file is found by its name, so adding one is adding a file.

The configuration asks here too, before anything runs: importing these files imports neither torch nor transformers.
"""

from simpleseg_core.kinds import ARCHITECTURES
from simpleseg_core.models.architectures._protocol import Architecture, ChatForm, ForwardPass

__all__ = ["Architecture", "ChatForm", "ForwardPass", "architecture", "architecture_of"]


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    return ARCHITECTURES.load(name)


def architecture_of(model_type: str) -> Architecture:
    """The architecture that reads checkpoints whose config.json says `model_type`.

    Raises:
        ValueError: none does; the message lists what is read.
    """
    every = [architecture(name) for name in ARCHITECTURES.names()]
    for found in every:
        if model_type in found.model_types:
            return found
    known = ", ".join(model_type for found in every for model_type in found.model_types)
    raise ValueError(f"a model of type {model_type!r} cannot be trained, only {known}")
