"""The scheduled refresh: new metadata -> new images -> annotations of new shards -> a new version of the dataset."""

import base64
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows import markdown
from flows.deployments import Served
from flows.pipeline import PipelineParams, pipeline
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.fetch import count_rows, finished_shards
from simpleseg_core.viz import contact_sheet
from tasks.graph import StageName
from tasks.runs.lineage import locked_hashes
from tasks.runs.lock import alone
from tasks.runs.workspace import Workspace

_CELL = 112


class RefreshParams(BaseModel):
    """What to refresh."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    until: StageName = "dataset"
    """Last stage; later ones are left as they are."""
    retry_failed: bool = False
    """Also fetch again the rows of finished shards whose failure may pass; params.yaml says so from then on."""
    examples: int = Field(24, gt=0)
    """Pictures on the contact sheet."""


@dataclass(frozen=True, slots=True)
class Images:
    """What the image folder holds: rows of each status, images of each licence, and which shards there are."""

    status: Counter[str]
    license: Counter[str]
    shards: tuple[Path, ...]


@flow(name="refresh", log_prints=False, persist_result=False)
def refresh(params: RefreshParams = RefreshParams()) -> dict[str, int]:  # noqa: B008 (the default is immutable in use)
    """Fetch what is new in the metadata, annotate it, and make the next version of the dataset.

    Returns:
        Rows that came new, by status.

    Raises:
        BusyError: another refresh or pipeline is going on in this working copy.
    """
    workspace = Workspace.find()
    folder = workspace.root / "data" / "images"
    with alone(workspace.refresh_lock, "a refresh"):
        before = look_at(folder)
        retry = ["ingest.retry_failed=true"] if params.retry_failed else []
        pipeline(PipelineParams(from_stage="ingest", until="ingest", overrides=retry, again=True))
        after = look_at(folder)
        if params.until != "ingest":
            pipeline(PipelineParams(until=params.until))
    page = summary(before, after, locked_hashes(workspace, params.until), params.examples)
    create_markdown_artifact(page, key="refresh", description="What is new")
    return dict(after.status - before.status)


def look_at(folder: Path) -> Images:
    """What an image folder holds now; nothing if it is not there yet."""
    shards = tuple(finished_shards(folder))
    status: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    for shard in shards:
        rows, images, _ = count_rows(shard)
        status += rows
        licenses += images
    return Images(status, licenses, shards)


def summary(before: Images, after: Images, versions: Mapping[str, str], examples: int) -> str:
    """The refresh as markdown: images added, failures by reason, duplicates, the licence mix, and examples.

    Args:
        before, after: what the image folder held.
        versions: path -> DVC hash of what was made of it.
        examples: how many pictures to show.
    """
    new = after.status - before.status
    shards = [shard for shard in after.shards if shard not in before.shards]
    failed = {name: count for name, count in new.items() if name != "ok"}
    versioned = [(markdown.text(path), markdown.code(version)) for path, version in versions.items()]
    parts = [
        f"**{new['ok']} images added** in {len(shards)} new shards, {after.status['ok']} in all; "
        f"{new['near_duplicate']} near duplicates.",
        _counts("rows without an image", failed),
        _counts("licence of the new images", after.license - before.license),
        markdown.table(["version", ""], versioned) if versioned else "",
        _examples(shards, examples),
    ]
    return "\n\n".join(part for part in parts if part)


def _counts(title: str, counts: Mapping[str, int]) -> str:
    rows = [(name, str(count)) for name, count in markdown.leading(counts).items()]
    return markdown.table([title, ""], rows) if rows else ""


def _examples(shards: list[Path], count: int) -> str:
    pictures = []
    for image in _first_images(shards, count):
        image.thumbnail((_CELL, _CELL))
        pictures.append(np.asarray(image))
    if not pictures:
        return ""
    buffer = BytesIO()
    Image.fromarray(contact_sheet(pictures, columns=8)).save(buffer, format="JPEG", quality=80)
    return f"![examples](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def _first_images(shards: list[Path], count: int) -> Iterator[Image.Image]:
    for shard in shards:
        store = ImageStore(shard.parent)
        for key in store.keys(f"{shard.stem}.tar"):
            if count == 0:
                return
            count -= 1
            yield store.read(f"{shard.stem}.tar", key)


def served(cron: str | None, params: RefreshParams) -> Served:
    """The refresh as a deployment; a run that would overlap another one is cancelled."""
    return Served(refresh, params, cron, once=True)
