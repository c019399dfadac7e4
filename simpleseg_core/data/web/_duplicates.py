"""Near-duplicate images: found by perceptual hash over all finished shards, taken out of all but the first."""

import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from simpleseg_core.data.records import INGEST
from simpleseg_core.data.shards import write_shard
from simpleseg_core.data.web._files import fingerprint_of, finished_shards, write_rows
from simpleseg_core.data.web._status import Status

_BITS = 64
_PAIRS_AT_ONCE = 4_000_000


def earlier_twins(hashes: np.ndarray, bits: int) -> np.ndarray:
    """For each 64-bit hash the index of the first earlier one that is kept and differs in at most `bits` bits, else -1.

    Hashes are visited in order; one that has a twin is dropped and is nobody's twin itself. Two hashes that differ in
    at most `bits` bits agree in one of `bits` + 1 blocks or more, so only hashes that share a block are compared.
    """
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    found = np.full(len(unique), -1)
    kept = np.ones(len(unique), bool)
    for earlier, later in _close_pairs(unique[order], bits):
        if kept[earlier] and kept[later]:
            kept[later], found[later] = False, first[order[earlier]]
    rank = np.empty(len(unique), int)
    rank[order] = np.arange(len(unique))
    twins: np.ndarray = found[rank[inverse]]
    repeats = (first[inverse] != np.arange(len(hashes))) & (twins < 0)
    twins[repeats] = first[inverse][repeats]
    return twins


def _close_pairs(hashes: np.ndarray, bits: int) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of distinct hashes that differ in at most `bits` bits, by later, then earlier."""
    edges = np.linspace(0, _BITS, bits + 2).astype(np.uint64)
    pairs: set[tuple[int, int]] = set()
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        blocks = (hashes >> low) & mask if high - low < _BITS else hashes
        for left, right in _pairs_in_groups(blocks):
            close = np.bitwise_count(hashes[left] ^ hashes[right]) <= bits
            pairs.update(zip(left[close].tolist(), right[close].tolist(), strict=True))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def _pairs_in_groups(blocks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All index pairs (smaller, larger) with equal block, in arrays of bounded length, nearest places first."""
    order = np.argsort(blocks, kind="stable")
    ordered = blocks[order]
    for start in range(0, len(order), _PAIRS_AT_ONCE):
        left = np.arange(start, min(start + _PAIRS_AT_ONCE, len(order)))
        distance = 1
        while len(left):
            left = left[left + distance < len(order)]
            left = left[ordered[left] == ordered[left + distance]]
            yield order[left], order[left + distance]
            distance += 1


def drop_near_duplicates(output: Path, bits: int) -> int:
    """Take every image with an earlier twin out of its shard; its row says whose twin it is.

    A shard is rewritten rows first: a run that is killed in between leaves an image that no row names, and the next run
    takes it out.

    Returns:
        How many images were taken out.
    """
    shards = finished_shards(output)
    keys: list[str] = []
    hashes: list[int] = []
    for shard in shards:
        for batch in pq.ParquetFile(shard).iter_batches(columns=["image", "phash"]):
            for image, phash in zip(batch["image"].to_pylist(), batch["phash"].to_pylist(), strict=True):
                if image is not None:
                    keys.append(image)
                    hashes.append(int(phash, 16))
    twins = earlier_twins(np.array(hashes, np.uint64), bits)
    doubles = {keys[index]: keys[twin] for index, twin in enumerate(twins) if twin >= 0}
    for shard in shards:
        _take_out(shard, doubles)
    return len(doubles)


def _take_out(shard: Path, doubles: dict[str, str]) -> None:
    statuses = pq.read_table(shard, columns=["image", "status"])
    images = set(statuses["image"].to_pylist()) - {None}
    if not images & doubles.keys() and str(Status.NEAR_DUPLICATE) not in statuses["status"].to_pylist():
        return
    if images & doubles.keys():
        rows = pq.read_table(shard, schema=INGEST)
        changed = [
            row | {"status": str(Status.NEAR_DUPLICATE), "detail": f"of {doubles[row['image']]}", "image": None}
            if row["image"] in doubles
            else row
            for row in rows.to_pylist()
        ]
        write_rows(changed, shard, fingerprint_of(shard) or "")
        images -= doubles.keys()
    _keep_members(shard.with_suffix(".tar"), images)


def _keep_members(path: Path, keys: set[str]) -> None:
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile()]
        if all(member.name.partition(".")[0] in keys for member in members):
            return
        kept = [member for member in members if member.name.partition(".")[0] in keys]
        write_shard(((member.name, _read(tar, member)) for member in kept), path)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""
