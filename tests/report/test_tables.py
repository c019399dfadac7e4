"""The counts of the data stages become tables that people read."""

from simpleseg_core.report.tables import Table, count_tables


def test_refused_and_leaked_images_are_counted() -> None:
    leak = {"source": "refcoco", "split": "refcoco/val", "by": "key", "images": 3, "training": "dropped"}
    summaries = {
        "images": {"rows": 20, "status": {"ok": 16, "http_404": 4}},
        "dataset": {"leakage": [leak], "leaked_images": {"key": 3}, "composition": []},
        "boxes": {"boxes": 30},
    }
    assert count_tables(summaries) == {
        "What became of the rows of metadata": [Table(("", ""), (("ok", 16), ("http 404", 4)))],
        "Leakage": [Table(("", ""), (("key", 3),)), Table(tuple(leak), (tuple(leak.values()),))],
    }


def test_what_was_not_counted_has_no_table() -> None:
    assert count_tables({"images": {"status": {}}, "dataset": {"leakage": [], "leaked_images": {}}}) == {}
