#!/usr/bin/env bash
# Write infra/.env: passwords that nobody chose, for compose.yaml. An existing one is kept, for the databases know it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

file=${1:-.env}
if test -e "$file"; then
    echo "infra/$file is there already and stays; to make another one, read \"Passwords\" in docs/operations.md" >&2
    exit 0
fi

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
{
    echo "# Made by \`make infra-env\`. Keep it out of git, and a copy of it where the backups are not."
    for name in POSTGRES_PASSWORD PREFECT_DB_PASSWORD MLFLOW_DB_PASSWORD GRAFANA_DB_PASSWORD \
        PREFECT_PASSWORD MLFLOW_PASSWORD MLFLOW_SECRET_KEY GRAFANA_PASSWORD S3_SECRET_KEY; do
        echo "$name=$(secret)"
    done
    echo "S3_ACCESS_KEY=simpleseg"
    echo "# Who owns the working copy that the worker runs in."
    echo "SIMPLESEG_UID=$(id -u)"
    echo "SIMPLESEG_GID=$(id -g)"
} >"$file"
echo "infra/$file written (mode 600)"
