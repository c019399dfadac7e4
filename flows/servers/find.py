"""Which Prefect server a run reports to."""

import atexit
import os
import sys
from contextlib import ExitStack
from threading import Event

from flows.servers.access import Access
from flows.servers.launch import LOOPBACK, Servers, answers, listen, started, temporary_prefect
from simpleseg_core.files import read_state
from tasks.runs.processes import is_alive
from tasks.runs.workspace import Workspace

_OWN_PREFECT = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def use_prefect_of(workspace: Workspace, *, lasting: bool = False) -> str | None:
    """Choose the Prefect server of this process, before Prefect is imported; returns its address if it has one.

    The user's own if one is configured, else that of `simpleseg ui`, else a temporary one on the same database, which
    ends with this process.

    Args:
        workspace: whose runs are to be reported.
        lasting: a temporary server will not do; without another one nothing is chosen.

    Raises:
        ServerError: the temporary server ended, or did not answer in two minutes.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the terminal has its own display
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    if own_prefect():
        if configured := _configured_server():
            return configured
    else:
        os.environ["PREFECT_HOME"] = str(workspace.prefect_home)
        if servers := running_servers(workspace):
            use_server(servers.access, servers.prefect)
            return servers.prefect
    if not lasting:
        _start_temporary(workspace)
    return None


def own_prefect() -> bool:
    """Whether the environment says which Prefect to use; only before `use_prefect_of` has chosen one."""
    return any(variable in os.environ for variable in _OWN_PREFECT)


def use_server(access: Access, url: str) -> None:
    """Let Prefect's clients, of this process and its children, use a server of ours."""
    os.environ.update(access.for_prefect_clients(url))
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()  # it has read its address before


def running_servers(workspace: Workspace) -> Servers | None:
    """The servers that `simpleseg ui` has started here, if they answer."""
    state = read_state(workspace.ui_state)
    try:
        servers = Servers(str(state["prefect"]), str(state["mlflow"]), Access(str(state["key"])))
        alive = is_alive(int(state["pid"]))
    except (KeyError, TypeError, ValueError):
        return None
    return servers if alive and answers(f"{servers.prefect}/api/health", servers.access) else None


def _configured_server() -> str | None:
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _start_temporary(workspace: Workspace) -> None:
    opened, access, stack = listen(LOOPBACK, 0), Access.new(), ExitStack()
    page = temporary_prefect(opened)
    use_server(access, page.url)
    stack.enter_context(started(workspace, access, (page,), Event()))
    atexit.register(stack.close)
