"""The Prefect and MLflow servers of a working copy: starting them for people, finding them for runs, and their rules.

Whatever we serve is started by `launch.started` and stands behind `guard.Guard`.
"""

from flows.servers.find import own_prefect, running_servers, use_prefect_of, use_server
from flows.servers.launch import ServerError, Servers, serve

__all__ = ["ServerError", "Servers", "own_prefect", "running_servers", "serve", "use_prefect_of", "use_server"]
