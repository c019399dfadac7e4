"""The refresh says what came new: images, reasons, licences, examples."""

from pathlib import Path

import pytest

from flows.pipeline import BusyError
from flows.refresh import RefreshParams, _alone, look_at, summary
from tasks.workspace import Workspace
from tests.data.web.server import Server, jpeg
from tests.data.web.test_ingest import run, table


def test_a_summary_counts_only_what_is_new(tmp_path: Path) -> None:
    with Server() as server:
        for number in range(8):
            server.image(f"/{number}.jpg", jpeg(number))
        old = [f"/{number}.jpg" for number in range(3)]
        new = ["/3.jpg", "/4.jpg", "/5.jpg", "/gone.jpg"]
        table(tmp_path / "meta" / "a.parquet", server, old, license=["CC0"] * 3)
        web = table(tmp_path / "meta" / "b.parquet", server, [], license=[])
        run(tmp_path, web, server)
        before = look_at(tmp_path / "images")
        table(tmp_path / "meta" / "b.parquet", server, new, license=["CC-BY"] * 4)
        run(tmp_path, web, server)
    page = summary(before, look_at(tmp_path / "images"), examples=5)
    assert "**3 images added** in 1 new shards, 6 in all" in page
    assert "| http_404 | 1 |" in page
    assert "| CC-BY | 3 |" in page
    assert "CC0" not in page
    assert "![examples](data:image/jpeg;base64," in page


def test_nothing_new_is_said_shortly(tmp_path: Path) -> None:
    nothing = look_at(tmp_path)
    assert summary(nothing, nothing, examples=5).startswith("**0 images added** in 0 new shards")


def test_refreshes_do_not_overlap(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with _alone(workspace):
        with pytest.raises(BusyError, match="already runs"), _alone(workspace):
            pass
    with _alone(workspace):
        pass


def test_the_form_has_no_surprises() -> None:
    assert RefreshParams().until == "dataset"
    with pytest.raises(ValueError, match="until"):
        RefreshParams.model_validate({"until": "nothing"})
