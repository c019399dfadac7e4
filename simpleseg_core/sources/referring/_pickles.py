"""Reads pickles of plain containers (the `refs(*).p` files, Python 2's too) without ever running what is in them."""

import pickle
import pickletools
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 2**29
"""Largest file that is read; the published ones have some tens of megabytes."""
MAX_CONTAINERS = 8_000_000
"""Lists, dictionaries, tuples and sets in one file; the published ones have under a million."""

_SCALARS = (str, bytes, int, float, bool, type(None))
_PLAIN = """
    PROTO FRAME STOP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8
""".split()
_OPENING = "MARK EMPTY_LIST LIST EMPTY_DICT DICT EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_SET FROZENSET".split()
_FILLING = "APPEND APPENDS SETITEM SETITEMS ADDITEMS".split()
_CODES = {op.name: ord(op.code) for op in pickletools.opcodes}
_NAMES = {code: name for name, code in _CODES.items()}

Handler = Callable[[Any], None]


class UnsafePickleError(ValueError):
    """The file is no pickle of plain containers; the message says what it holds instead."""


def load_plain(path: Path) -> Any:
    """The dictionaries, lists, tuples, sets, texts and numbers in a pickle of any protocol.

    Nothing in the file is imported or called: only the opcodes that build plain values exist for this reader. Byte
    strings of Python 2 are read as Latin-1.

    Raises:
        UnsafePickleError: an opcode that could run code, keys that are containers, more than the limits, or no pickle.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UnsafePickleError(f"{path}: {size} bytes; pickles of more than {MAX_BYTES} are not read")
    try:
        return _PlainUnpickler(path.read_bytes()).load()
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error}; get the file anew from where the data set is published") from None
    except Exception as error:  # a damaged or hostile stream fails in many ways, none of which says more
        raise UnsafePickleError(
            f"{path}: not a readable pickle ({type(error).__name__}: {str(error)[:80]}); get the file anew"
        ) from None


class _PlainUnpickler(pickle._Unpickler):
    """The standard library's unpickler in Python, with all but the harmless opcodes removed.

    The one in C allocates what the stream says before it has seen it: a memo index of 2**32 takes gigabytes.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data), encoding="latin1")
        self.containers = 0

    def find_class(self, module: str, name: str) -> NoReturn:
        raise UnsafePickleError(f"it asks for {module}.{name}, which is no plain value")


class _Handlers(dict[int, Handler]):
    def __missing__(self, code: int) -> Handler:
        raise UnsafePickleError(
            f"it holds the instruction {_NAMES.get(code, hex(code))}, which plain values do not need"
        )


def _counted(handler: Handler) -> Handler:
    def load(unpickler: Any) -> None:
        unpickler.containers += 1
        if unpickler.containers > MAX_CONTAINERS:
            raise UnsafePickleError(f"it holds more than {MAX_CONTAINERS} containers")
        handler(unpickler)

    return load


def _items(name: str, stack: Sequence[Any]) -> Sequence[Any]:
    """What is about to become a key or a member, hashed: containers there could nest without end."""
    match name:
        case "SETITEM":
            return stack[-2:-1]
        case "SETITEMS" | "DICT":
            return stack[::2]
        case "ADDITEMS" | "FROZENSET":
            return stack
        case _:
            return ()


def _checked(name: str, handler: Handler) -> Handler:
    def load(unpickler: Any) -> None:
        if not all(isinstance(item, _SCALARS) for item in _items(name, unpickler.stack)):
            raise UnsafePickleError("a key or a member of a set is a container")
        handler(unpickler)

    return load


def _handlers() -> _Handlers:
    known: dict[int, Any] = pickle._Unpickler.dispatch
    handlers = {code: known[code] for name in (*_PLAIN, *_FILLING, "GLOBAL") if (code := _CODES[name]) in known}
    handlers |= {_CODES[name]: _counted(known[_CODES[name]]) for name in _OPENING}
    hashing = ("SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET")
    return _Handlers(handlers | {_CODES[name]: _checked(name, handlers[_CODES[name]]) for name in hashing})


_PlainUnpickler.dispatch = _handlers()
