"""The values of a metadata column in the types of the common schema; one that cannot be used is missing in its row."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from simpleseg_core.fetch._schemas import METADATA

HASH_KINDS = ("md5", "sha1", "sha256", "sha512", "phash")
MAX_TEXT = 32 * 1024
"""Bytes of the longest text that counts as one."""

_RANGES: dict[str, tuple[float, float]] = {
    "similarity": (-1.0, 1.0),
    "punsafe": (0.0, 1.0),
    "watermark": (0.0, 1.0),
    "width": (1, 2**31 - 1),
    "height": (1, 2**31 - 1),
}
_NO_NUMBER = -1.0
"""What tables without nulls write, besides NaN, for a number that they do not have."""


class Column:
    """One column of one file.

    A few odd values are the fault of their rows. Where not one value can be used, it is the wrong column, or it is in
    another unit: then `finish` says so.
    """

    def __init__(self, common: str, column: str, kind: pa.DataType, file: str) -> None:
        """Raises ValueError where no value of this type can be used."""
        self._common, self._column, self._file = common, column, file
        self._target: pa.DataType = METADATA.field(common).type
        self._usable = False
        self._odd: pa.Scalar | None = None
        if common in _RANGES and (
            pa.types.is_temporal(kind) or pa.types.is_boolean(kind)
        ):  # Arrow casts a date to days
            raise self._wrong(f"column {column} has the type {kind}")
        try:
            pa.nulls(0, kind).cast(self._target)
        except pa.ArrowNotImplementedError as error:
            raise self._wrong(f"column {column} has the type {kind}") from error

    def read(self, array: pa.Array) -> pa.Array:
        """The values in the type of the common schema, null where one is missing or of no use."""
        if pa.types.is_dictionary(array.type):
            return self.read(array.dictionary).take(array.indices)
        array = _plain(array)
        values = _cast(array, self._target)
        values = pc.if_else(self._sound(values), values, pa.scalar(None, self._target))
        self._usable = self._usable or values.null_count < len(values)
        if not self._usable and self._odd is None:
            odd = array.filter(_present(array))
            self._odd = odd[0] if len(odd) else None
        return values

    def finish(self) -> None:
        """Judge the column as a whole.

        Raises:
            ValueError: it has values, and not one of them can be used.
        """
        if not self._usable and self._odd is not None:
            odd = self._odd.as_py()
            shown = odd[:50].decode("utf-8", "replace") if isinstance(odd, bytes) else odd
            raise self._wrong(f"column {self._column} has {shown!r} and not one value that can be used")

    def _sound(self, values: pa.Array) -> pa.Array:
        """Whether values are such as the common schema means."""
        if self._common == "hash_kind":
            return pc.is_in(values, pa.array(HASH_KINDS))
        if self._common not in _RANGES:
            return pc.is_valid(values)
        low, high = _RANGES[self._common]
        return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))

    def _wrong(self, what: str) -> ValueError:
        return ValueError(
            f"{self._file}: {what}, but `{self._common}` is {self._wanted}; "
            "it may be the wrong column: map another in data.web.columns"
        )

    @property
    def _wanted(self) -> str:
        if self._common in _RANGES:
            return "a number from {:g} to {:g}".format(*_RANGES[self._common])
        if self._common == "hash_kind":
            return f"one of {', '.join(HASH_KINDS)}"
        return f"UTF-8 text of at most {MAX_TEXT} bytes"


def _plain(array: pa.Array) -> pa.Array:
    """Text as binary, for parquet files hold text that is no UTF-8; too long a text is cut to where it shows that."""
    if not _is_text(array.type):
        return array
    return pc.binary_slice(array.cast(pa.large_binary()), 0, MAX_TEXT + 1)


def _cast(array: pa.Array, target: pa.DataType) -> pa.Array:
    """All values at once, or one by one where some of them resist."""
    if pa.types.is_large_binary(array.type):
        short = pc.less_equal(pc.binary_length(array), MAX_TEXT)
        array = pc.if_else(short, array, pa.scalar(None, array.type))
    try:
        return _through(array, target)
    except pa.ArrowInvalid:
        return pa.array([_cast_one(value, target) for value in array], target)


def _through(array: Any, target: pa.DataType) -> Any:
    """An array or a scalar in another type."""
    if pa.types.is_large_binary(array.type):
        array = array.cast(pa.string())
    elif pa.types.is_floating(array.type) and pa.types.is_string(target):
        array = array.cast(pa.int64())
    return array.cast(target)


def _cast_one(value: pa.Scalar, target: pa.DataType) -> Any:
    try:
        return _through(value, target).as_py()
    except ValueError:  # Arrow's errors are such, and so are those of Python's UTF-8 decoder
        return None


def _present(array: pa.Array) -> pa.Array:
    """Whether values are there at all."""
    present = pc.is_valid(array)
    if not pa.types.is_floating(array.type) and not pa.types.is_integer(array.type):
        return present
    numbers = array.cast(pa.float64(), safe=False)
    missing = pc.or_(pc.is_nan(numbers), pc.equal(numbers, _NO_NUMBER))
    return pc.and_(present, pc.invert(pc.fill_null(missing, True)))


def _is_text(kind: pa.DataType) -> bool:
    """Whether values are strings of bytes, whatever Arrow calls them."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )  # fmt: skip
