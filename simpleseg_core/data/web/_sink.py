"""A copy of the finished shards on any file system that fsspec knows: object stores, other machines."""

import json
from hashlib import file_digest
from pathlib import Path

import fsspec

from simpleseg_core.data.web._files import finished_shards

_MANIFEST = "manifest.json"
"""File name -> sha256 of what lies at the sink."""


def copy_to_sink(output: Path, sink: str) -> list[str]:
    """Bring a sink up to date with the finished shards: each tar before its parquet, the summary last.

    A file is uploaded under another name and then moved, so it is there whole or not at all; what is there already is
    not sent again.

    Returns:
        Names of the files that were sent.
    """
    system, root = fsspec.core.url_to_fs(sink)
    system.makedirs(root, exist_ok=True)
    there = _read_manifest(system, root)
    sent = []
    for file in _files(output):
        name = str(file.relative_to(output))
        with file.open("rb") as body:
            digest = file_digest(body, "sha256").hexdigest()
        if there.get(name) == digest:
            continue
        target = f"{root}/{name}"
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(file), f"{target}.tmp")
        system.mv(f"{target}.tmp", target)
        there[name] = digest
        system.pipe_file(f"{root}/{_MANIFEST}", json.dumps(there, indent=0).encode())
        sent.append(name)
    return sent


def _files(output: Path) -> list[Path]:
    shards = [file for shard in finished_shards(output) for file in (shard.with_suffix(".tar"), shard)]
    return [*shards, *sorted(output.glob("quarantine/*.tar")), output / "summary.json"]


def _read_manifest(system: fsspec.AbstractFileSystem, root: str) -> dict[str, str]:
    path = f"{root}/{_MANIFEST}"
    found: dict[str, str] = json.loads(system.cat_file(path)) if system.exists(path) else {}
    return found
