"""Column runs: the rows at which each column of a mask changes, which is all that tracing, filling and RLE need.

Two forms. *Columns*: column x owns `rows[starts[x]:starts[x + 1]]`, in sorted pairs (first inside, first after).
*Spans*: sorted pairs (start, end) of flat column-major positions x * height + y, as COCO's RLE counts them. The cost of
everything built on them follows the outline, not the area.
"""

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled

Starts = NDArray[np.int64]
Rows = NDArray[np.int32]
Spans = NDArray[np.int64]


@compiled
def _first_difference(words: NDArray[np.uint64], start: int, lag: int) -> int:
    """The first word from `start` on whose eight pixels are not those `lag` pixels before; len(words) if there is none.

    A lag that is no multiple of eight is a shift across two words (little-endian).
    """
    shift = np.uint64(8 * (-lag % 8))
    behind = (lag + 7) // 8
    for i in range(start, len(words)):
        before = words[i - behind]
        if shift:
            before = (before >> shift) | (words[i - behind + 1] << (np.uint64(64) - shift))
        if words[i] != before:
            return i
    return len(words)


@compiled
def _changes(pixels: NDArray[np.uint8], words: NDArray[np.uint64], lag: int) -> NDArray[np.int64]:
    """Positions i of a flat mask at which pixel i differs from pixel i - lag; what lies outside is empty.

    `words` is the same memory, eight pixels a word: most of a mask is equal to what lies before it and is skipped.
    """
    size = len(pixels)
    found = np.empty(max(64, 4 * lag), np.int64)
    n = i = 0
    while i < size + lag:
        if i % 8 == 0 and lag <= i < 8 * len(words):
            i = 8 * _first_difference(words, i // 8, lag)
        stop = min((i // 8 + 1) * 8, size + lag)
        if n + 8 > len(found):
            longer = np.empty(2 * len(found), np.int64)
            longer[:n] = found[:n]
            found = longer
        for k in range(i, stop):
            now = pixels[k] if k < size else np.uint8(0)
            before = pixels[k - lag] if k >= lag else np.uint8(0)
            if now != before:
                found[n] = k
                n += 1
        i = stop
    return found[:n]


@compiled
def _sort_by_column(changes: NDArray[np.int64], width: int) -> tuple[Starts, Rows]:
    """Counting sort by column of flat row-major changes; rows stay in order."""
    starts = np.zeros(width + 1, np.int64)
    for i in changes:
        starts[i % width + 1] += 1
    for x in range(width):
        starts[x + 1] += starts[x]
    cursor = starts[:-1].copy()
    rows = np.empty(len(changes), np.int32)
    for i in changes:
        x = i % width
        rows[cursor[x]] = i // width
        cursor[x] += 1
    return starts, rows


def mask_columns(mask: NDArray[np.bool_]) -> tuple[Starts, Rows]:
    """Columns of a mask (H, W) of any memory layout."""
    height, width = mask.shape
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:
        return spans_to_columns(_flat_changes(mask.T, 1), height, width)
    return _sort_by_column(_flat_changes(mask, width), width)


def mask_spans(mask: NDArray[np.bool_]) -> Spans:
    """Spans of a mask (H, W) of any memory layout."""
    if mask.flags.f_contiguous:
        return _flat_changes(mask.T, 1)
    return columns_to_spans(*mask_columns(mask), mask.shape[0])


def _flat_changes(mask: NDArray[np.bool_], lag: int) -> NDArray[np.int64]:
    pixels = np.ascontiguousarray(mask).reshape(-1).view(np.uint8)
    if pixels.ctypes.data % 8:
        pixels = pixels.copy()
    return _changes(pixels, pixels[: len(pixels) // 8 * 8].view(np.uint64), lag)


@compiled
def columns_to_spans(starts: Starts, rows: Rows, height: int) -> Spans:
    """Spans of columns; a span goes on where one column ends at the bottom and the next begins at the top."""
    spans = np.empty(len(rows), np.int64)
    n = 0
    for x in range(len(starts) - 1):
        for i in range(starts[x], starts[x + 1], 2):
            first = x * height + rows[i]
            last = x * height + rows[i + 1]
            if n > 0 and spans[n - 1] == first:
                spans[n - 1] = last
            elif last > first:
                spans[n] = first
                spans[n + 1] = last
                n += 2
    return spans[:n]


@compiled
def spans_to_columns(spans: Spans, height: int, width: int) -> tuple[Starts, Rows]:
    """Columns of spans: a span is cut wherever a column ends."""
    count = 0
    for i in range(0, len(spans), 2):
        count += 2 * ((spans[i + 1] - 1) // height - spans[i] // height + 1)
    starts = np.zeros(width + 1, np.int64)
    rows = np.empty(count, np.int32)
    n = 0
    for i in range(0, len(spans), 2):
        first = spans[i]
        while first < spans[i + 1]:
            x = first // height
            last = min(spans[i + 1], (x + 1) * height)
            rows[n] = first - x * height
            rows[n + 1] = last - x * height
            n += 2
            starts[x + 1] += 2
            first = last
    for x in range(width):
        starts[x + 1] += starts[x]
    return starts, rows


@compiled
def spans_to_mask(spans: Spans, height: int, width: int) -> NDArray[np.bool_]:
    """Paint spans into a mask (height, width)."""
    mask = np.zeros((height, width), np.bool_)
    for i in range(0, len(spans), 2):
        x, y = divmod(spans[i], height)
        for _ in range(spans[i + 1] - spans[i]):
            mask[y, x] = True
            y += 1
            if y == height:
                y = 0
                x += 1
    return mask


@compiled
def text_to_spans(text: NDArray[np.uint8], size: int) -> Spans:
    """Spans of a compressed COCO RLE of `size` pixels; a single -1 says that the text is not one.

    The code: five bits a character, low bits first, a continuation bit, the sign in the last; from the fourth count on,
    the difference to the count two before.
    """
    spans = np.empty(len(text) + 2, np.int64)
    invalid = np.full(1, -1, np.int64)
    position = previous = before = 0
    n = index = i = 0
    while i < len(text):
        value = shift = 0
        more = True
        while more:
            if i == len(text) or not 48 <= text[i] < 112 or shift > 50:
                return invalid
            code = int(np.int64(text[i])) - 48
            value |= (code & 31) << shift
            more = (code & 32) != 0
            shift += 5
            i += 1
            if not more and code & 16:
                value -= 1 << shift
        if index > 2:
            value += before
        if value < 0 or position + value > size:
            return invalid
        if index % 2 == 1 and value > 0:
            if n > 0 and spans[n - 1] == position:
                spans[n - 1] = position + value
            else:
                spans[n] = position
                spans[n + 1] = position + value
                n += 2
        position += value
        before, previous = previous, value
        index += 1
    return spans[:n] if position == size else invalid


@compiled
def spans_to_text(spans: Spans, size: int) -> NDArray[np.uint8]:
    """The compressed COCO RLE of spans over `size` pixels."""
    counts = np.empty(len(spans) + 1, np.int64)
    position = 0
    for i in range(len(spans)):
        counts[i] = spans[i] - position
        position = spans[i]
    counts[len(spans)] = size - position
    used = len(counts) if size > position else len(spans)
    text = np.empty(7 * len(counts) + 7, np.uint8)
    n = 0
    for i in range(max(used, 1)):
        value = counts[i] - (counts[i - 2] if i > 2 else 0)
        more = True
        while more:
            code = value & 31
            value >>= 5
            more = value != -1 if code & 16 else value != 0
            text[n] = code + (32 if more else 0) + 48
            n += 1
    return text[:n]
