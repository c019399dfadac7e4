"""Steps over the shards of a folder, here or on Ray: finished shards are marked, and skipped when nothing changed."""
