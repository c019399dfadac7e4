"""The servers themselves, as ASGI applications; imported in their own processes only."""

import os

from starlette.types import ASGIApp

MLFLOW_STORE = "SIMPLESEG_MLFLOW_STORE"
"""The variable that names MLflow's store, which may hold a password: command lines are for everybody to see."""


def prefect() -> ASGIApp:
    """Prefect's API and page; without the page and its schedules where `PREFECT__SERVER_EPHEMERAL` says so."""
    from prefect.server.api.server import create_app

    return create_app()


def mlflow() -> ASGIApp:
    """MLflow's API and page, as `mlflow server --backend-store-uri` serves them."""
    from mlflow.server import constants, handlers

    store, artifacts = os.environ[MLFLOW_STORE], "mlflow-artifacts:/"
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = "./mlartifacts"
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    handlers.initialize_backend_stores(store, store, artifacts)
    from mlflow.server.fastapi_app import app

    served: ASGIApp = app
    return served
