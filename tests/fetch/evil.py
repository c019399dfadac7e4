"""A decoder with a bug: some bodies crash it, some never let it return."""

import os
import signal
from collections.abc import Sequence

from simpleseg_core.fetch import _decoder
from simpleseg_core.fetch._decoder import Decoded


def inspect_dangerously(bodies: Sequence[bytes]) -> list[Decoded]:
    """What the real worker does, but for bodies that say what they do to it."""
    if b"crash" in bodies:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"hang" in bodies:
        signal.setitimer(signal.ITIMER_PROF, _decoder._limits.decode_timeout_s)
        while True:
            pass
    return _decoder._inspect_all(bodies)
