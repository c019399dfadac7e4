"""Keeps benchmark images out of training: by their key, and by perceptual hash for copies under other names."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from simpleseg_core.data.views import ViewedImage

_BITS = 4
"""Perceptual hashes of 64 bits that differ in no more show the same picture; different scenes hardly ever do."""


class LeakageFilter:
    """Remembers the benchmarks' images, and lets through the training images that are none of them."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._hashes = np.empty(0, np.uint64)
        self.dropped: Counter[str] = Counter()
        """Training images dropped, by reason: `key` or `phash`."""

    def remember(self, images: Iterable[ViewedImage]) -> Iterator[ViewedImage]:
        """Pass benchmark images on, to be kept out of what is filtered later."""
        hashes = set(self._hashes.tolist())
        for item in images:
            self._keys.add(item.image)
            hashes.update([int(item.phash, 16)] if item.phash else [])
            yield item
        self._hashes = np.array(sorted(hashes), np.uint64)

    def keep(self, images: Iterable[ViewedImage]) -> Iterator[ViewedImage]:
        """Pass the images on that no benchmark shows, and count the others."""
        for item in images:
            reason = self._reason(item)
            if reason is None:
                yield item
            else:
                self.dropped[reason] += 1

    def _reason(self, item: ViewedImage) -> str | None:
        if item.image in self._keys:
            return "key"
        if item.phash and len(self._hashes):
            distance = np.bitwise_count(self._hashes ^ np.uint64(int(item.phash, 16)))
            return "phash" if int(distance.min()) <= _BITS else None
        return None
