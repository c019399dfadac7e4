"""Pickles of plain values are read in every protocol; everything else is refused before it can do anything."""

import os
import pickle
import pickletools
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.sources.referring import UnsafePickleError, load_plain
from simpleseg_core.sources.referring import _pickles as module

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(SCALARS, inner)
        | st.tuples(inner, inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.text())
    ),
    max_leaves=20,
)


def _load(data: bytes, folder: Path) -> Any:
    file = folder / "refs(unc).p"
    file.write_bytes(data)
    return load_plain(file)


def _is_plain(value: object) -> bool:
    """Whether a value and all that it holds are plain; a container may hold itself."""
    seen, waiting = set[int](), [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
        elif not isinstance(each, str | bytes | int | float | None):
            return False
    return True


def test_what_is_inside_of_a_container_counts_as_well() -> None:
    ring: list[object] = [{"a": (1, frozenset({"b"}))}]
    ring.append(ring)
    assert _is_plain(ring)
    ring.append({"deep": [object()]})
    assert not _is_plain(ring)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


@settings(max_examples=60)
@given(value=PLAIN)
def test_plain_values_come_back_as_they_were(folder: Path, value: Any) -> None:
    found = _load(pickle.dumps(value, protocol=4), folder)
    assert found == value
    assert type(found) is type(value)


@settings(max_examples=40)
@given(value=st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_every_protocol_is_read(folder: Path, value: Any) -> None:
    for protocol in (0, 1, 2, 3, 5):
        assert _load(pickle.dumps(value, protocol), folder) == value


def test_byte_strings_of_python_2_are_texts(folder: Path) -> None:
    # pickle.dumps({'sent': 'caf\xe9', u'raw': u'caf\xe9'}, p) under Python 2.7 for p = 0 and 2.
    text = b"(dp0\nS'sent'\np1\nS'caf\\xe9'\np2\nsVraw\np3\nVcaf\xe9\np4\ns."
    binary = (
        b"\x80\x02}q\x00(U\x04sentq\x01U\x04caf\xe9q\x02X\x03\x00\x00\x00rawq\x03X\x05\x00\x00\x00caf\xc3\xa9q\x04u."
    )
    assert _load(text, folder) == _load(binary, folder) == {"sent": "café", "raw": "café"}


class _Runs:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_pickle_is_run(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "made"
    data = pickle.dumps([{"ref_id": 1, "sentences": _Runs(target)}], protocol)
    with pytest.raises(UnsafePickleError, match=r"refs\(unc\)\.p: it (asks for|holds)"):
        _load(data, tmp_path)
    assert not target.exists()
    pickle.loads(data)  # the standard library's reader does run it
    assert target.exists()


HOSTILE = {
    "global": b"cos\nsystem\n(S'true'\ntR.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'true'\no.",
    "build": b"}}b.",
    "newobj": b"\x80\x02cbuiltins\nint\n)\x81.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent id": b"Pabc\n.",
    "binary persistent id": b"Nq\x00Q.",
    "reduce": b"NNR.",
    "out of band": b"\x80\x05\x97.",
    "bytearray of a terabyte": b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.",
    "nested key": b"\x80\x02}N" + b"\x85" * 2000 + b"Ns.",
    "nested member": b"\x80\x04\x8f(N" + b"\x85" * 2000 + b"\x90.",
    "frozen nested member": b"\x80\x04(N" + b"\x85" * 2000 + b"\x91.",
    "list key": b"\x80\x02}]Ns.",
    "text of a terabyte": b"\x80\x04\x8d\x00\x00\x00\x00\x00\x01\x00\x00x.",
    "number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "memo that is not there": b"h\x07.",
    "duplicate": b"N2.",
    "pop": b"NN0.",
    "append to a number": b"K\x01K\x02a.",
    "items of a number": b"K\x01(K\x02K\x03u.",
    "unknown instruction": b"\xff.",
    "unknown protocol": b"\x80\x09N.",
    "end": b"]",
    "nothing": b"",
    "text": b"[1, 2]",
    "json": b'{"refs": []}',
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_and_broken_pickles_end_in_one_clear_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UnsafePickleError) as error:
        _load(data, tmp_path)
    assert "refs(unc).p" in str(error.value) and "get the file anew" in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("value", [np.float64(1), np.arange(3), OrderedDict(a=1), Path("x"), complex(1, 2)], ids=repr)
def test_other_types_are_refused(tmp_path: Path, value: Any) -> None:
    for protocol in (2, 4):
        with pytest.raises(UnsafePickleError):
            _load(pickle.dumps([value], protocol), tmp_path)


def test_a_far_memo_index_takes_no_memory(tmp_path: Path) -> None:
    # The unpickler in C would allocate 32 GB for this.
    assert _load(b"Nr\xff\xff\xff\xff.", tmp_path) is None


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_plain_value_or_a_clear_error(folder: Path, data: bytes) -> None:
    with suppress(UnsafePickleError):
        assert _is_plain(_load(data, folder))


CODES = [op.code.encode("latin1") for op in pickletools.opcodes]


@given(st.lists(st.sampled_from(CODES) | st.binary(min_size=1, max_size=4), max_size=40).map(b"".join))
def test_any_program_of_instructions_leaves_only_plain_values(folder: Path, data: bytes) -> None:
    with suppress(UnsafePickleError):
        assert _is_plain(_load(data + b".", folder))


def test_more_containers_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONTAINERS", 100)
    with pytest.raises(UnsafePickleError, match="more than 100 containers"):
        _load(b"(" + b"]" * 101 + b"l.", tmp_path)


def test_a_file_over_the_limit_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(UnsafePickleError, match="pickles of more than 10 are not read"):
        _load(pickle.dumps(list(range(100))), tmp_path)
