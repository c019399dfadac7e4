#!/usr/bin/env bash
# Back up what compose.yaml keeps: infra/backup.sh FOLDER. The databases are dumped while they run; the S3 store is
# copied after them, so that every artifact that a dump names is there. infra/.env is not in it: keep it elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

folder=${1:?usage: infra/backup.sh FOLDER}
to=$folder/$(date -u +%Y%m%dT%H%M%SZ)
compose() { docker compose --file compose.yaml "$@"; }

umask 077
mkdir -p "$to.partial"
for database in prefect mlflow mlflow_accounts; do
    compose exec -T postgres pg_dump --username postgres --format custom "$database" >"$to.partial/$database.dump"
done
compose exec -T s3 tar -C /data -cf - . >"$to.partial/s3.tar"
(cd "$to.partial" && sha256sum -- *.dump s3.tar >SHA256SUMS)
mv "$to.partial" "$to"
echo "$to"
