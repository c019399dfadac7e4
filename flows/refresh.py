"""The scheduled refresh: new metadata -> new images -> annotations of new shards -> a new version of the dataset."""

import base64
import fcntl
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import prefect
from PIL import Image
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType
from pydantic import BaseModel, ConfigDict, Field

from flows.pipeline import BusyError, PipelineParams, StageName, pipeline
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.data.web import count_rows, finished_shards
from simpleseg_core.viz import contact_sheet
from tasks.lineage import locked_hashes
from tasks.workspace import Workspace

_CELL = 112


class RefreshParams(BaseModel):
    """What to refresh."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

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
    with _alone(workspace):
        before = look_at(folder)
        retry = ["ingest.retry_failed=true"] if params.retry_failed else []
        pipeline(PipelineParams(from_stage="ingest", until="ingest", overrides=retry, force=True))
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
    failed = {name: count for name, count in new.most_common() if name != "ok"}
    parts = [
        f"**{new['ok']} images added** in {len(shards)} new shards, {after.status['ok']} in all; "
        f"{new['near_duplicate']} near duplicates.",
        _table("rows without an image", failed),
        _table("licence of the new images", dict((after.license - before.license).most_common())),
        _table("version", {path: f"`{version}`" for path, version in versions.items()}),
        _examples(shards, examples),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(title: str, counts: Mapping[str, object]) -> str:
    if not counts:
        return ""
    rows = "\n".join(f"| {name.replace('|', '/')} | {count} |" for name, count in counts.items())
    return f"| {title} | |\n|---|---:|\n{rows}"


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


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Hold the refresh lock of the working copy; the operating system frees it when this process dies."""
    lock_file = workspace.state / "refresh.lock"
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"a refresh already runs in {workspace.root}: wait for it, or stop it") from None
        yield


def deployment(workspace: Workspace, cron: str, params: RefreshParams) -> RunnerDeployment:
    """The refresh on a schedule, named after the folder of the working copy; a run that would overlap is cancelled."""
    return RunnerDeployment.from_flow(
        refresh,
        name=workspace.root.name,
        cron=cron,
        parameters={"params": params.model_dump()},
        description=refresh.description,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def serve(workspace: Workspace, cron: str, params: RefreshParams) -> None:
    """Serve the deployment until it is interrupted.

    The Prefect server must be a lasting one: a temporary one keeps no schedules.
    """
    prefect.serve(deployment(workspace, cron, params), limit=1, print_starting_message=False)
