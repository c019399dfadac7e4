"""A second home of the finished shards on any file system that fsspec knows; a lost folder is brought back from it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simpleseg_core.fetch._files import fingerprint_of, finished_shards
from simpleseg_core.fetch._places import place
from simpleseg_core.files import replacing
from simpleseg_core.fingerprint import file_sum

_log = logging.getLogger(__name__)

_SUMS = ".sha256"


@dataclass(frozen=True, slots=True)
class Sums:
    """What lies at the sink of one shard: the settings it was made by, and file name -> sha256, in order of sending."""

    fingerprint: str
    files: Mapping[str, str]

    def __str__(self) -> str:
        """As `sha256sum --check` reads it."""
        return "".join([f"# {self.fingerprint}\n", *(f"{digest}  {name}\n" for name, digest in self.files.items())])

    @classmethod
    def parse(cls, text: str) -> "Sums":
        first, *lines = text.splitlines()
        pairs = (line.split("  ", 1) for line in lines)
        return cls(first.removeprefix("# "), {name: digest for digest, name in pairs})


class Sink:
    """A folder of shards behind an fsspec URL: NNNNN.tar, NNNNN.parquet, and NNNNN.sha256, which marks completion."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._system, root = place(url, "ingest.sink")
        self._root = root.rstrip("/")

    def send(self, shard: Path) -> None:
        """Send a finished shard; an older version of it is taken away first, so that nobody meets half of each.

        Every file is uploaded under another name and then moved, checksums last.
        """
        folder = shard.parent
        names = [name for name in _names(shard.stem) if (folder / name).exists()]
        for old in (f"{shard.stem}{_SUMS}", *reversed(_names(shard.stem))):
            if self._system.exists(self._at(old)):
                self._system.rm_file(self._at(old))
        for name in names:
            self._put(folder / name, name)
        sums = Sums(fingerprint_of(shard) or "", {name: file_sum(folder / name) for name in names})
        target = self._at(f"{shard.stem}{_SUMS}")
        self._system.pipe_file(f"{target}.tmp", str(sums).encode())
        self._system.mv(f"{target}.tmp", target)

    def shards(self, fingerprint: str) -> dict[str, Sums]:
        """Number of every complete shard at the sink -> its checksums.

        Raises:
            ValueError: there are shards of another table or of other settings.
        """
        there = self._read()
        if any(sums.fingerprint != fingerprint for sums in there.values()):
            raise ValueError(
                f"ingest.sink: {self._url} holds shards of another table or of other settings; "
                "name an empty place, or empty this one"
            )
        return there

    def bring_back(self, shards: Mapping[str, Sums], output: Path) -> None:
        """Fetch those of the sink's shards that are missing in `output`.

        Raises:
            ValueError: a file is not what its checksum says.
        """
        for number, sums in shards.items():
            if (output / f"{number}.parquet").exists():
                continue
            _log.info("bringing shard %s back from %s", number, self._url)
            for name in _names(number):
                if name in sums.files:
                    self._get(name, sums.files[name], output / name)

    def complete(self, output: Path) -> list[str]:
        """Send the finished shards that are not there, or there in another version, and the summary.

        Returns:
            Names of the shards that were sent.
        """
        there = self._read()
        sent = []
        for shard in finished_shards(output):
            if shard.stem not in there or there[shard.stem].files.get(shard.name) != file_sum(shard):
                self.send(shard)
                sent.append(shard.stem)
        self._put(output / "summary.json", "summary.json")
        return sent

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, file: Path, name: str) -> None:
        target = self._at(name)
        self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._system.put_file(str(file), f"{target}.tmp")
        self._system.mv(f"{target}.tmp", target)

    def _get(self, name: str, digest: str, file: Path) -> None:
        with replacing(file) as partial:
            self._system.get_file(self._at(name), str(partial))
            if file_sum(partial) != digest:
                raise ValueError(
                    f"ingest.sink: {self._url}/{name} is damaged (its sha256 is not {digest}); "
                    f"delete {Path(name).stem}{_SUMS} there, then run again to fetch its images anew"
                )

    def _read(self) -> dict[str, Sums]:
        self._system.invalidate_cache()
        files = self._system.glob(self._at(f"[0-9]*{_SUMS}"))
        texts = self._system.cat(files) if files else {}
        return {Path(name).stem: Sums.parse(text.decode()) for name, text in texts.items()}


def _names(number: str) -> tuple[str, ...]:
    """The files of a shard, rows last; the quarantine need not exist."""
    return f"{number}.tar", f"quarantine/{number}.tar", f"{number}.parquet"
