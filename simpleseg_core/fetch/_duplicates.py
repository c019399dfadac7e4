"""Near-duplicate images: found by perceptual hash over all finished shards, taken out of all but the first."""

import tarfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simpleseg_core.data.records import INGEST
from simpleseg_core.data.shards import write_shard
from simpleseg_core.fetch._files import fingerprint_of, finished_shards, write_rows
from simpleseg_core.fetch._status import Status


def drop_near_duplicates(output: Path, bits: int) -> int:
    """Take every image with an earlier twin out of its shard; its row says whose twin it is.

    A shard is rewritten rows first: a run that is killed in between leaves an image that no row names, and the next run
    takes it out.

    Returns:
        How many images were taken out.
    """
    from simpleseg_core.fetch._hamming import earlier_twins  # the decoders, which load this package, need no numba

    shards = finished_shards(output)
    images = [_images(shard) for shard in shards]
    keys = pa.chunked_array([keys for keys, _ in images], pa.string())
    twins = earlier_twins(np.concatenate([np.empty(0, np.uint64), *(hashes for _, hashes in images)]), bits)
    bounds = np.cumsum([0, *(len(keys) for keys, _ in images)])
    for shard, (start, end) in zip(shards, pairwise(bounds), strict=True):
        dropped = start + np.flatnonzero(twins[start:end] >= 0)
        _take_out(shard, {keys[int(each)].as_py(): keys[int(twins[each])].as_py() for each in dropped})
    return int((twins >= 0).sum())


def _images(shard: Path) -> tuple[pa.Array, np.ndarray]:
    """Keys and perceptual hashes (uint64) of the images of a shard."""
    table = pq.read_table(shard, columns=["image", "phash"])
    table = table.filter(pc.is_valid(table["image"])).combine_chunks()
    hashes = np.frombuffer(bytes.fromhex("".join(table["phash"].to_pylist())), ">u8").astype(np.uint64)
    return pa.concat_arrays([pa.array([], pa.string()), *table["image"].chunks]), hashes


def _take_out(shard: Path, doubles: Mapping[str, str]) -> None:
    """Drop images (key -> key of the twin), and what a killed run has left to drop."""
    tar = shard.with_suffix(".tar")
    if doubles:
        rows = [
            row | {"status": str(Status.NEAR_DUPLICATE), "detail": f"of {doubles[row['image']]}", "image": None}
            if row["image"] in doubles
            else row
            for row in pq.read_table(shard, schema=INGEST).to_pylist()
        ]
        write_rows(rows, shard, fingerprint_of(shard) or "")
    if shard.stat().st_mtime_ns < tar.stat().st_mtime_ns:
        return
    statuses = pq.read_table(shard, columns=["image", "status"])
    if str(Status.NEAR_DUPLICATE) in statuses["status"].to_pylist():
        keep_members(tar, set(statuses["image"].to_pylist()) - {None})


def keep_members(path: Path, keys: set[str]) -> None:
    """Rewrite a tar of images without those that are not named; nothing where all are."""
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile()]
        if all(member.name.partition(".")[0] in keys for member in members):
            return
        kept = [member for member in members if member.name.partition(".")[0] in keys]
        write_shard(((member.name, _read(tar, member)) for member in kept), path)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""
