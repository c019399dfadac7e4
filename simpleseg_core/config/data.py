"""Where images and referring expressions come from, and how web images are fetched."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from simpleseg_core.config._base import Operational, Section
from simpleseg_core.config.refshapes import RefShapesConfig

Source = Literal["refshapes", "coco", "web"]
ReferringDataset = Literal["refcoco", "refcoco+", "refcocog", "refclef", "grefcoco", "refcocom", "reasonseg"]
SplitBy = Literal["unc", "umd", "google", "berkeley"]
MetadataSchema = Literal["laion", "laion_coco", "coyo", "datacomp", "generic"]

_HOST_PORT = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")


class CocoConfig(Section):
    """A COCO-format folder: images beside an instances.json."""

    root: Path | None = None
    """Folder that holds the images (or `images/`) and the annotation file; needed when `data.source` is `coco`."""
    annotations: str = "instances.json"
    """Annotation file, relative to `root`."""
    max_images: int | None = Field(None, gt=0)
    """Read at most this many images; all when unset."""
    holdout: float = Field(0.2, gt=0, lt=1)
    """Share of the images kept out of training, as the benchmark `coco/val`."""


SPLITS_BY: dict[ReferringDataset, tuple[SplitBy, ...]] = {
    "refcoco": ("unc", "google"),
    "refcoco+": ("unc",),
    "refcocog": ("umd", "google"),
    "refclef": ("unc", "berkeley"),
    "grefcoco": ("unc",),
}
"""Who split each set, the usual one first; the others come in one division."""


class ReferringConfig(Section):
    """A set of referring expressions in its original files (docs/datasets.md says where to get them)."""

    dataset: ReferringDataset
    root: Path
    """Folder of the set's own files, such as `refs(unc).p` and `instances.json`."""
    split_by: SplitBy | None = None
    """Who divided the set; unset: as papers report it (unc, for refCOCOg umd)."""
    images: Path | None = None
    """Folder of the images; unset: looked for where the sets' own loaders expect it."""
    benchmarks: tuple[str, ...] | None = None
    """Splits to evaluate on; unset: all but `train`. Images of the others are kept out of training all the same."""
    max_images: int | None = Field(None, gt=0)
    """Read at most this many images of each split; all when unset."""

    @model_validator(mode="after")
    def _split_exists(self) -> "ReferringConfig":
        known = SPLITS_BY.get(self.dataset, ())
        if self.split_by is not None and self.split_by not in known:
            choice = f"one of {', '.join(known)}" if known else "nothing: it comes in one division"
            raise ValueError(f"{self.dataset} has no split by {self.split_by}: set split_by to {choice}")
        return self

    @property
    def division(self) -> SplitBy | None:
        """Who divided the set, the usual one where nothing is said."""
        return self.split_by or next(iter(SPLITS_BY.get(self.dataset, ())), None)

    @property
    def name(self) -> str:
        """What benchmarks and tables call it: `refcocog`, and `refcocog-google` where the division is not the usual."""
        usual = next(iter(SPLITS_BY.get(self.dataset, ())), None)
        return self.dataset if self.division == usual else f"{self.dataset}-{self.division}"


class FilterConfig(Section):
    """Rows worth fetching, judged by metadata alone; where a threshold is set, a row without the value is refused."""

    min_side: int | None = Field(None, gt=0)
    """Shorter side in pixels, as the table states it; the real one is checked after the download."""
    max_aspect: float | None = Field(None, ge=1)
    min_similarity: float | None = Field(None, ge=-1, le=1)
    """Cosine of image and caption under the CLIP model of the table."""
    max_punsafe: Annotated[float, Field(ge=0, le=1)] | Literal["off"] | None = None
    """Highest probability of unsafe content; web sources must give a number or, on purpose, `off`."""
    max_watermark: float | None = Field(None, ge=0, le=1)
    min_text_length: int | None = Field(None, gt=0)
    """Characters of the caption."""
    max_text_length: int | None = Field(None, gt=0)
    languages: tuple[str, ...] = ()
    """Language codes to keep; all when empty."""
    licenses: tuple[str, ...] = ()
    """Licences to keep, as the table writes them; all when empty."""

    @field_validator("max_punsafe", mode="wrap")
    @classmethod
    def _probability_or_off(cls, value: object, validate: ValidatorFunctionWrapHandler) -> object:
        try:
            return validate(value)
        except ValidationError:  # one for each type that it could be
            raise ValueError(f"is {value!r}: expected a probability from 0 to 1, or `off`") from None

    @model_validator(mode="after")
    def _lengths_are_ordered(self) -> "FilterConfig":
        if self.min_text_length and self.max_text_length and self.min_text_length > self.max_text_length:
            raise ValueError("min_text_length is above max_text_length, which leaves no row: swap them")
        return self


class WebConfig(Section):
    """A table of image URLs."""

    metadata: str | None = None
    """Parquet file or folder (local or any fsspec URL); needed when `data.source` is `web`."""
    schema_name: MetadataSchema = "laion"
    """Which column names the table uses."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Common name -> column of the table (`url: image_link`); required for `generic`, overrides the others."""
    filters: FilterConfig = FilterConfig()
    max_images: int | None = Field(None, gt=0)
    """Take at most this many rows of the table; all when unset."""


class DataConfig(Section):
    """What the run learns from."""

    source: Source = "refshapes"
    refshapes: RefShapesConfig = RefShapesConfig()
    coco: CocoConfig = CocoConfig()
    web: WebConfig = WebConfig()
    referring: tuple[ReferringConfig, ...] = ()
    """Sets that SFT, RL and the benchmarks are made of, in place of RefShapes or COCO."""
    web_images: int = Field(300, gt=0)
    """RefShapes images put on the local web server for `ingest` to download."""
    train_images: int = Field(2000, gt=0)
    """RefShapes images of the train split, for SFT."""
    rl_images: int = Field(800, gt=0)
    """Images whose queries become RL prompts: scenes of RefShapes, random training images of the other sources."""
    benchmark_queries: dict[str, Annotated[int, Field(ge=0)]] = {"val": 600, "testA": 200, "testB": 200}
    """RefShapes benchmark queries of each split."""

    @field_validator("referring")
    @classmethod
    def _sets_differ(cls, sets: tuple[ReferringConfig, ...]) -> tuple[ReferringConfig, ...]:
        names = [each.name for each in sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"data.referring names {', '.join(twice)} twice: leave one of them out")
        return sets

    @model_validator(mode="after")
    def _source_is_complete(self) -> "DataConfig":
        if self.source == "coco" and self.coco.root is None:
            raise ValueError("data.source is `coco` but data.coco.root is not set: add `--set data.coco.root=FOLDER`")
        if self.source == "web" and self.web.metadata is None:
            raise ValueError("data.source is `web` but data.web.metadata is not set: name a parquet file or folder")
        if self.source == "web" and self.web.filters.max_punsafe is None:
            raise ValueError("data.web.filters.max_punsafe is not decided: set a probability such as 0.1, or `off`")
        return self


class IngestConfig(Section):
    """The downloader: limits first, speed second."""

    engine: Operational[Literal["local", "ray"]] = "local"
    """`local` fetches in this process, `ray` spreads shards over workers, local or of a cluster (`ray.address`)."""
    workers: Operational[int] = Field(1, gt=0, le=10_000)
    """`local`: decoder processes. `ray`: workers, each with its own connections, one decoder process, and its share of
    the limits that follow."""
    concurrency: Operational[int] = Field(32, gt=0, le=100_000)
    """Images in flight at once, from the request to the decoded picture; bounds memory with `max_bytes`."""
    per_host: Operational[int] = Field(8, gt=0, le=100_000)
    """Requests in flight to one host."""
    rate: Operational[float | None] = Field(None, gt=0)
    """Requests a second over all hosts; unlimited when unset."""
    timeout_s: Operational[float] = Field(10.0, gt=0, le=604_800)
    """Seconds for one image, redirects included."""
    retries: Operational[int] = Field(2, ge=0, le=100)
    """Further tries after a timeout, a lost connection, a 429 or a 5xx."""
    backoff_s: Operational[float] = Field(0.5, gt=0, le=604_800)
    """Longest pause before the first retry; it doubles with each."""
    max_retry_after_s: Operational[float] = Field(30.0, ge=0, le=604_800)
    """A server that asks for a longer pause than this is given up on."""
    max_redirects: int = Field(5, ge=0, le=50)
    max_bytes: int = Field(20_000_000, gt=0)
    max_pixels: int = Field(50_000_000, gt=0)
    min_side: int = Field(32, gt=0)
    """Images with a shorter side in pixels are refused."""
    max_aspect: float = Field(4.0, ge=1)
    honour_noai: bool = True
    """Refuse images whose server answers `X-Robots-Tag: noai` or `noimageai`, or reserves text and data mining."""
    honour_robots: bool = True
    """Refuse images that the host's robots.txt closes to `user_agent`."""
    user_agent: Operational[str] = "simpleseg-ingest/1.0"
    allowed_private_hosts: Operational[tuple[str, ...]] = ()
    """host:port pairs that may be fetched although they are loopback or private (tests, intranets)."""
    shard_size: int = Field(100, gt=0)
    """Rows of metadata in a shard."""
    resize: Literal["keep", "longest", "border"] = "keep"
    """`longest` shrinks the longer side to `image_size`, `border` also pads to a white square; nothing is enlarged."""
    image_size: int = Field(1024, gt=0)
    """Pixels for `resize`."""
    jpeg_quality: int = Field(92, ge=1, le=100)
    """Quality of images that have to be encoded again."""
    decode_timeout_s: Operational[float] = Field(20.0, gt=0, le=604_800)
    """CPU seconds for one image in the decoder."""
    decode_memory_mib: Operational[int] = Field(2048, ge=256)
    """Address space of a decoder process, on top of what it starts with."""
    max_hash_distance: int = Field(10, ge=0, le=32)
    """Bits in which an image may differ from the perceptual hash its table promises; other hashes must be equal."""
    near_duplicate_bits: int | None = Field(4, ge=0, le=16)
    """Images whose 64-bit perceptual hashes differ in at most this many bits are one image; unset keeps them all."""
    sink: Operational[str | None] = None
    """fsspec URL that every shard is sent to when it is finished, such as `s3://bucket/images`; a lost folder of images
    is brought back from there."""
    retry_failed: Operational[bool] = False
    """Fetch again the rows of finished shards whose failure may pass."""

    @field_validator("user_agent")
    @classmethod
    def _agent_is_a_header(cls, agent: str) -> str:
        if not (agent.isascii() and agent.isprintable() and agent.strip() == agent != ""):
            raise ValueError("is no value of a header: use visible ASCII characters, such as my-crawler/1.0")
        return agent

    @field_validator("allowed_private_hosts")
    @classmethod
    def _hosts_have_ports(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            found = _HOST_PORT.fullmatch(host)
            if found is None or not 0 < int(found["port"]) < 65536:
                raise ValueError(f"{host!r} is not host:port; write for example 127.0.0.1:8080, without wildcards")
        return hosts
