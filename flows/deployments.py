"""What a working copy serves on a Prefect server: flows that people start in its page or by its API, or a schedule.

A run executes the flow of the process that serves it: what its deployment's record says of code, steps, commands, work
pools and environment is for other runners, and anyone who has the server's key may rewrite it (docs/decisions/0085).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType
from pydantic import BaseModel

from tasks.runs.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Served:
    """A flow with the parameters that its form starts from, and when it runs by itself."""

    flow: Flow[Any, Any]
    params: BaseModel
    cron: str | None = None
    """Five fields, UTC; none: when somebody asks for it."""
    once: bool = False
    """Whether a run that is due while another one goes on is cancelled, instead of waiting for it."""


def serve(workspace: Workspace, flows: Sequence[Served]) -> None:
    """Serve flows, one run at a time, under the name of the folder of the working copy, until it is interrupted.

    The Prefect server must be a lasting one: a temporary one keeps no schedules.
    """
    asyncio.run(_serve(workspace, flows))


async def _serve(workspace: Workspace, flows: Sequence[Served]) -> None:
    runner = Runner(limit=1)  # a working copy takes one run; others wait in the server
    for each in flows:
        await register(runner, workspace, each)
    await runner.start()


async def register(runner: Runner, workspace: Workspace, served: Served) -> UUID:
    """Make a deployment; the id is Prefect's."""
    # Who waits, waits for the runner: a limit of the server that enqueues looks again every half minute only.
    alone = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    return await runner.aadd_flow(
        served.flow,
        name=workspace.root.name,
        cron=served.cron,
        parameters={"params": served.params.model_dump()},
        description=served.flow.description,
        concurrency_limit=alone if served.once else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
