"""Keeps benchmark images out of training: by their key, and by perceptual hash for copies under other names."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from simpleseg_core.instructions.labels import LabelledImage

_BITS = 4
"""Perceptual hashes of 64 bits that differ in no more show the same picture; different scenes hardly ever do."""


class LeakageFilter:
    """Remembers the images of every validation and test split, and lets through the training images that are none.

    Args:
        drop: False lets all images through and only counts: the published composition.
    """

    def __init__(self, *, drop: bool = True) -> None:
        self._drop = drop
        self._keys: dict[str, str] = {}
        self._hashes: dict[int, str] = {}
        self._table = np.empty(0, np.uint64)
        self._leaks: dict[tuple[str, str], tuple[str, str]] = {}

    def remember(self, images: Iterable[LabelledImage], split: str) -> Iterator[LabelledImage]:
        """Pass images of a split on (`refcoco/val`), to be kept out of what is filtered later."""
        for item in images:
            self._keys.setdefault(item.image, split)
            if item.phash:
                self._hashes.setdefault(int(item.phash, 16), split)
            yield item

    def keep(self, images: Iterable[LabelledImage]) -> Iterator[LabelledImage]:
        """Pass the images on that no remembered split shows; take note of the others."""
        for item in images:
            leak = self._leak(item)
            if leak is not None:
                self._leaks[item.source, item.image] = leak
            if leak is None or not self._drop:
                yield item

    @property
    def found(self) -> Counter[str]:
        """Training images that a split shows, by reason: `key` or `phash`."""
        return Counter(reason for _, reason in self._leaks.values())

    def rows(self) -> list[dict[str, object]]:
        """Which source has how many images of which split, and what became of them: a table for people."""
        counts = Counter((source, *leak) for (source, _), leak in self._leaks.items())
        kept = "dropped" if self._drop else "kept"
        return [
            {"source": source, "split": split, "by": reason, "images": count, "training": kept}
            for (source, split, reason), count in sorted(counts.items())
        ]

    def _leak(self, item: LabelledImage) -> tuple[str, str] | None:
        if item.image in self._keys:
            return self._keys[item.image], "key"
        if not item.phash or not self._hashes:
            return None
        if len(self._table) != len(self._hashes):
            self._table = np.fromiter(self._hashes, np.uint64)
        distance = np.bitwise_count(self._table ^ np.uint64(int(item.phash, 16)))
        nearest = int(distance.argmin())
        return (self._hashes[int(self._table[nearest])], "phash") if distance[nearest] <= _BITS else None
