"""Descriptions by a real model in a real vLLM: written, checked by grounding them back, kept or replaced."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simpleseg_core.annotate.describe_vlm import NOUN_PHRASE
from simpleseg_core.config import Config
from simpleseg_core.data.records import DESCRIPTIONS, read_rows
from tests.tasks.annotation_inputs import run_stage, write_refshapes

# A process of its own: the engine that other tests share would not survive the end of this one.
_DESCRIBE = """
import json, sys
from pathlib import Path
from simpleseg_core.config import Config
from tests.tasks.annotation_inputs import run_stage

result = run_stage("describe", Path(sys.argv[1]), Config.model_validate(json.loads(sys.argv[2])))
print(json.dumps({"metrics": result.metrics, "tables": {name: list(rows) for name, rows in result.tables.items()}}))
"""


@pytest.mark.slow
def test_a_model_describes_instances_and_only_what_leads_back_to_them_is_kept(tmp_path: Path, repository: Path) -> None:
    write_refshapes(tmp_path / "data" / "images", shards=1, per_shard=12)
    for name in ("detect", "segment", "contour"):
        run_stage(name, tmp_path, Config())
    # A question that the model was trained on; how well it answers is another matter, so both outcomes are right here.
    describe = {"engine": "vlm", "model": str(repository / "checkpoints" / "nano-base"), "prompt": "grounded_v1"}
    settings = {"describe": describe | {"dtype": "float32", "max_length": 256, "kv_cache_mib": 64}}
    command = [sys.executable, "-c", _DESCRIBE, str(tmp_path), json.dumps(settings)]
    done = subprocess.run(command, cwd=repository, check=True, stdout=subprocess.PIPE, text=True)
    reported = json.loads(done.stdout.splitlines()[-1])
    rows = read_rows(tmp_path / "data" / "descriptions", DESCRIPTIONS)
    written = [row for row in rows if row["description_source"].startswith("vlm/")]
    others = [row for row in rows if row["description_source"] in ("caption", "ambiguous")]
    assert any(row["consistency"] is not None for row in rows)
    assert len(written) + len(others) == len(rows) == reported["metrics"]["described"]
    assert all(row["consistency"] >= 0.5 and re.fullmatch(NOUN_PHRASE, row["description"]) for row in written)
    assert all(row["consistency"] is None or row["consistency"] < 0.5 for row in others)
    assert sum(row["instances"] for row in reported["tables"].get("rejected", ())) == len(others)
