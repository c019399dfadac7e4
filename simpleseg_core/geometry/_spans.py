"""Sets of pixels as spans: how many, in common, together, and what lies deep inside. The cost follows the spans."""

import numpy as np

from simpleseg_core.geometry._compile import compiled
from simpleseg_core.geometry._runs import Spans


@compiled
def spans_area(spans: Spans) -> int:
    """Pixels inside."""
    area = 0
    for i in range(0, len(spans), 2):
        area += spans[i + 1] - spans[i]
    return area


@compiled
def spans_intersection(a: Spans, b: Spans) -> int:
    """Pixels inside both."""
    shared = i = j = 0
    while i < len(a) and j < len(b):
        low = max(a[i], b[j])
        high = min(a[i + 1], b[j + 1])
        if high > low:
            shared += high - low
        if a[i + 1] < b[j + 1]:
            i += 2
        else:
            j += 2
    return shared


@compiled
def spans_union(a: Spans, b: Spans) -> Spans:
    """Spans of the pixels inside either."""
    united = np.empty(len(a) + len(b), np.int64)
    n = i = j = 0
    while i < len(a) or j < len(b):
        if j >= len(b) or (i < len(a) and a[i] <= b[j]):
            first, last = a[i], a[i + 1]
            i += 2
        else:
            first, last = b[j], b[j + 1]
            j += 2
        if n > 0 and first <= united[n - 1]:
            united[n - 1] = max(united[n - 1], last)
        else:
            united[n] = first
            united[n + 1] = last
            n += 2
    return united[:n]


@compiled
def spans_moments(spans: Spans, height: int) -> tuple[int, float, float]:
    """Area, and the sums of the x and y of all pixel centres inside."""
    area = 0
    sum_x = sum_y = 0.0
    for i in range(0, len(spans), 2):
        first = spans[i]
        while first < spans[i + 1]:
            x = first // height
            last = min(spans[i + 1], (x + 1) * height)
            n = last - first
            area += n
            sum_x += n * (x + 0.5)
            sum_y += n * ((first + last) / 2 - x * height)
            first = last
    return area, sum_x, sum_y


@compiled
def spans_common(a: Spans, b: Spans) -> Spans:
    """Spans of the pixels inside both."""
    common = np.empty(len(a) + len(b), np.int64)
    n = i = j = 0
    while i < len(a) and j < len(b):
        low = max(a[i], b[j])
        high = min(a[i + 1], b[j + 1])
        if high > low:
            common[n] = low
            common[n + 1] = high
            n += 2
        if a[i + 1] < b[j + 1]:
            i += 2
        else:
            j += 2
    return common[:n]


@compiled
def spans_without(a: Spans, b: Spans) -> Spans:
    """Spans of the pixels of a that are not in b."""
    left = np.empty(len(a) + len(b), np.int64)
    n = j = 0
    for i in range(0, len(a), 2):
        first = a[i]
        while j < len(b) and b[j + 1] <= first:
            j += 2
        k = j
        while k < len(b) and b[k] < a[i + 1]:
            if b[k] > first:
                left[n] = first
                left[n + 1] = b[k]
                n += 2
            first = b[k + 1]
            k += 2
        if first < a[i + 1]:
            left[n] = first
            left[n + 1] = a[i + 1]
            n += 2
    return left[:n]


@compiled
def _shortened(spans: Spans, height: int, radius: int) -> Spans:
    """Spans of the pixels with `radius` more above and below them in the same column."""
    count = 0
    for i in range(0, len(spans), 2):
        count += 2 * ((spans[i + 1] - 1) // height - spans[i] // height + 1)
    short = np.empty(count, np.int64)
    n = 0
    for i in range(0, len(spans), 2):
        first = spans[i]
        while first < spans[i + 1]:
            last = min(spans[i + 1], (first // height + 1) * height)
            if last - first > 2 * radius:
                short[n] = first + radius
                short[n + 1] = last - radius
                n += 2
            first = last
    return short[:n]


def spans_eroded(spans: Spans, height: int, radius: int) -> Spans:
    """Spans of the pixels more than `radius` 8-neighbour steps away from the outside, which begins at the border."""
    kept = _shortened(spans, height, radius)
    columns = 1
    while columns < 2 * radius + 1:
        step = min(columns, 2 * radius + 1 - columns)
        kept = spans_common(kept, kept + step * height)
        columns += step
    return kept - radius * height


def spans_outline(spans: Spans, height: int) -> Spans:
    """Spans of the pixels with one of their four neighbours outside, which begins at the border."""
    beside = spans_common(spans + height, spans - height)
    return spans_without(spans, spans_common(_shortened(spans, height, 1), beside))
