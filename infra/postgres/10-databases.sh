#!/usr/bin/env bash
# Run once, by the Postgres image, when the database is made: a database and an owner for each server, and a reader
# for Grafana, which sees runs and metrics and not MLflow's accounts.
set -euo pipefail

psql --username "${POSTGRES_USER:-postgres}" --no-psqlrc --quiet \
    --set ON_ERROR_STOP=1 --set prefect="$PREFECT_DB_PASSWORD" --set mlflow="$MLFLOW_DB_PASSWORD" \
    --set grafana="$GRAFANA_DB_PASSWORD" <<'SQL'
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE grafana LOGIN PASSWORD :'grafana' CONNECTION LIMIT 20;
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '20s';
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_accounts OWNER mlflow;
REVOKE CONNECT ON DATABASE prefect, mlflow, mlflow_accounts FROM PUBLIC;
GRANT CONNECT ON DATABASE prefect, mlflow TO grafana;
\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
ALTER DEFAULT PRIVILEGES FOR ROLE prefect GRANT SELECT ON TABLES TO grafana;
\connect mlflow
ALTER DEFAULT PRIVILEGES FOR ROLE mlflow GRANT SELECT ON TABLES TO grafana;
SQL
