"""The curves of a stage as a table."""

from pathlib import Path

from tasks.runs.curves import Curves


def test_curves_are_one_row_a_step_and_later_values_win(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "curves" / "sft.csv")
    curves.write()
    assert curves.file.read_text() == "step\n"
    curves.add(2, {"loss": 0.5})
    curves.add(1, {"loss": 1.0, "lr": 0.001})
    curves.add(2, {"loss": 0.25, "iou": 0.5})  # again, after a crash
    curves.write()
    assert curves.file.read_text() == "step,loss,lr,iou\n1,1,0.001,\n2,0.25,,0.5\n"
