"""The dashboard asks what the tables of Prefect and MLflow hold: on a real Postgres, as Grafana's own role."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

_PASSWORDS = {f"{name}_DB_PASSWORD": f"{name.lower()}-secret" for name in ("PREFECT", "MLFLOW", "GRAFANA")}
_MACROS = {
    r"\$__timeFilter\(([\w.]+)\)": r"\1 BETWEEN now() - interval '1 day' AND now()",
    r"\$__unixEpochFrom\(\)": "0",
    r"\$__unixEpochTo\(\)": "2000000000",
}


@pytest.fixture(scope="module")
def dashboard(infra: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((infra / "grafana" / "dashboards" / "simpleseg.json").read_text())
    return content


@pytest.fixture(scope="module")
def postgres(infra: Path) -> Iterator[int]:
    """The port of a Postgres that the script of the image has set up."""
    if not all(map(shutil.which, ("initdb", "pg_ctl", "psql"))):
        pytest.skip("no Postgres here: put initdb, pg_ctl and psql into PATH")
    with TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as opened:
        folder, port = Path(name), opened.getsockname()[1]
        control = [*_as_other_user(folder), "pg_ctl", "-D", name + "/data"]
        _run([*control, "-o", "-U postgres -A trust", "initdb"])
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={name} -c fsync=off"
        opened.close()
        _run([*control, "-w", "-l", name + "/log", "-o", options, "start"])
        try:
            reach = {"PGHOST": "127.0.0.1", "PGPORT": str(port), **_PASSWORDS}
            _run([str(infra / "postgres" / "10-databases.sh")], **reach)
            yield port
        finally:
            _run([*control, "-w", "-m", "immediate", "stop"])


def _run(command: list[str], **environment: str) -> None:
    # Not through pipes: the server inherits them, and the reader would wait for it.
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0, command


def _as_other_user(folder: Path) -> list[str]:
    """How to run a command as somebody else, whose the folder becomes: Postgres refuses to run as root."""
    if os.getuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("Postgres does not run as root, and setpriv is not here")
    os.chown(folder, 65534, 65534)
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


async def _make_tables(port: int) -> None:
    from mlflow.store.tracking.dbmodels import models
    from prefect.server.database.orm_models import Base
    from sqlalchemy import CheckConstraint, MetaData
    from sqlalchemy.ext.asyncio import create_async_engine

    prefect = MetaData()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(prefect).indexes.clear()  # some are as only Prefect's migrations make them
    mlflow = MetaData()
    for model in (models.SqlExperiment, models.SqlRun, models.SqlMetric):
        table = model.__table__.to_metadata(mlflow)
        # MLflow's migrations add their checks to these very tables, once more for each store that a process has made.
        table.constraints -= {each for each in table.constraints if isinstance(each, CheckConstraint)}
    for name, tables in (("prefect", prefect), ("mlflow", mlflow)):
        engine = create_async_engine(f"postgresql+asyncpg://{name}:secret@127.0.0.1:{port}/{name}")
        async with engine.begin() as connection:
            await connection.run_sync(tables.create_all)
        await engine.dispose()


async def _ask(port: int, asked: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Question -> the names of the columns of its answer."""
    import asyncpg

    columns = {}
    for database, question in asked:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user="grafana", password="secret", database=database
        )
        statement = await connection.prepare(question)
        await statement.fetch()
        columns[question] = [each.name for each in statement.get_attributes()]
        await connection.close()
    return columns


def _questions(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    targets = [target for panel in dashboard["panels"] for target in panel["targets"] if "rawSql" in target]
    questions = [(target["datasource"]["uid"], target["rawSql"]) for target in targets]
    for macro, meaning in _MACROS.items():
        questions = [(database, re.sub(macro, meaning, text)) for database, text in questions]
    return questions


def test_every_question_is_answered_by_the_tables(postgres: int, dashboard: dict[str, Any]) -> None:
    questions = _questions(dashboard)
    assert len(questions) >= 8
    assert "$__" not in "".join(text for _, text in questions)
    asyncio.run(_make_tables(postgres))
    columns = asyncio.run(_ask(postgres, questions))
    series = [columns[text] for _, text in questions if "to_timestamp" in text]
    assert series
    assert all(names == ["time", "metric", "value"] for names in series)


def test_grafana_reads_no_accounts_and_writes_nothing(postgres: int) -> None:
    import asyncpg

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asyncio.run(_ask(postgres, [("mlflow_accounts", "SELECT 1")]))
    with pytest.raises(asyncpg.PostgresError):
        asyncio.run(_ask(postgres, [("mlflow", "CREATE TABLE mine (a int)")]))


def test_panels_name_sources_that_are_provisioned(infra: Path, dashboard: dict[str, Any]) -> None:
    file = infra / "grafana" / "provisioning" / "datasources" / "simpleseg.yaml"
    sources = {each["uid"]: each["type"] for each in yaml.safe_load(file.read_text())["datasources"]}
    used = {each["uid"]: each["type"] for panel in dashboard["panels"] for each in [panel["datasource"]]}
    assert used == sources
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_curves_on_the_dashboard_are_ones_that_stages_draw(repository: Path, dashboard: dict[str, Any]) -> None:
    code = "".join(
        file.read_text() for name in ("simpleseg_core", "tasks") for file in (repository / name).rglob("*.py")
    )
    keys = set(re.findall(r"m\.key LIKE '(\w+)'", json.dumps(dashboard)))
    assert len(keys) >= 8
    drawn = {key: key.removesuffix("_idle") for key in keys}  # those of waiting are made of the names of who waits
    assert [key for key, name in drawn.items() if f'"{name}"' not in code and f"{name}=" not in code] == []
