"""Where images and referring expressions come from, and how web images are fetched."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from simpleseg_core.config._base import Section
from simpleseg_core.config.refshapes import RefShapesConfig

Source = Literal["refshapes", "coco", "web"]
MetadataSchema = Literal["laion", "coyo", "datacomp", "generic"]


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


class WebConfig(Section):
    """A table of image URLs."""

    metadata: str | None = None
    """Parquet file or folder (local or any fsspec URL); needed when `data.source` is `web`."""
    schema_name: MetadataSchema = "laion"
    """Which column names the table uses."""
    max_images: int | None = Field(None, gt=0)


class DataConfig(Section):
    """What the run learns from."""

    source: Source = "refshapes"
    refshapes: RefShapesConfig = RefShapesConfig()
    coco: CocoConfig = CocoConfig()
    web: WebConfig = WebConfig()
    web_images: int = Field(300, gt=0)
    """RefShapes images put on the local web server for `ingest` to download."""
    train_images: int = Field(2000, gt=0)
    """RefShapes images of the train split, for SFT."""
    rl_images: int = Field(800, gt=0)
    """RefShapes images whose queries become RL prompts."""
    benchmark_queries: dict[str, int] = {"val": 600, "testA": 200, "testB": 200}
    """RefShapes benchmark queries of each split."""

    @model_validator(mode="after")
    def _source_is_complete(self) -> "DataConfig":
        if self.source == "coco" and self.coco.root is None:
            raise ValueError("data.source is `coco` but data.coco.root is not set: add `--set data.coco.root=FOLDER`")
        if self.source == "web" and self.web.metadata is None:
            raise ValueError("data.source is `web` but data.web.metadata is not set: name a parquet file or folder")
        return self


class IngestConfig(Section):
    """The downloader: limits first, speed second."""

    concurrency: int = Field(32, gt=0)
    """Requests in flight at once."""
    per_host: int = Field(8, gt=0)
    timeout_s: float = Field(10.0, gt=0)
    """Seconds for one image, redirects included."""
    retries: int = Field(2, ge=0)
    """Further tries after a timeout, a 429 or a 5xx."""
    max_redirects: int = Field(5, ge=0)
    max_bytes: int = Field(20_000_000, gt=0)
    max_pixels: int = Field(50_000_000, gt=0)
    min_side: int = Field(32, gt=0)
    """Images with a shorter side in pixels are refused."""
    max_aspect: float = Field(4.0, ge=1)
    min_similarity: float | None = None
    max_punsafe: float | None = None
    max_watermark: float | None = None
    honour_noai: bool = True
    allowed_private_hosts: tuple[str, ...] = ()
    """host:port pairs that may be fetched although they are loopback or private (tests, intranets)."""
    shard_size: int = Field(100, gt=0)
    """Rows of metadata in a shard."""
    jpeg_quality: int = Field(92, ge=1, le=100)
