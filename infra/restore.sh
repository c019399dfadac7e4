#!/usr/bin/env bash
# Bring back what infra/backup.sh has saved: infra/restore.sh FOLDER/TIME. What is there now is replaced.
set -euo pipefail

from=$(realpath "${1:?usage: infra/restore.sh FOLDER/TIME}")
cd "$(dirname "${BASH_SOURCE[0]}")"
compose() { docker compose --file compose.yaml "$@"; }

(cd "$from" && sha256sum --check --quiet SHA256SUMS)
compose stop worker prefect mlflow grafana
compose up --detach --wait postgres s3
for database in prefect mlflow mlflow_accounts; do
    compose exec -T postgres pg_restore --username postgres --clean --if-exists --exit-on-error --single-transaction \
        --dbname "$database" <"$from/$database.dump"
done
compose exec -T s3 sh -c 'rm -rf /data/* && tar -C /data -xf -' <"$from/s3.tar"
compose up --detach --wait
