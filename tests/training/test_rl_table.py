"""Tables of rollouts: worst prompts first, each answer with its own ratio, kept as they are."""

from pathlib import Path

import pytest

from simpleseg_core.training.rl_table import read_rollouts, write_rollouts
from tests.training.rollouts import table


def test_the_worst_prompt_is_first_and_its_best_answer() -> None:
    groups = table().groups
    assert [group.prompt["sample"] for group in groups] == ["p2", "p1", "p0"]
    assert [answer.reward for answer in groups[2].answers] == [1.0, 0.5, 0.0]


def test_every_answer_has_its_own_ratio_and_those_not_learned_from_have_none() -> None:
    """Answers are counted over the groups that teach; they come back from the trainer in any order."""
    found = {group.prompt["sample"]: {a.tokens: a.ratio for a in group.answers} for group in table().groups}
    assert found["p0"] == {5: 1.0, 6: 1.1, 7: 1.2}
    assert found["p1"] == {5: None, 6: None, 7: None}
    assert found["p2"] == {5: 1.3, 6: 1.4, 7: 1.5}


def test_what_is_wrong_with_an_answer_is_told() -> None:
    answers = {answer.tokens: answer for answer in table().groups[0].answers}
    assert (answers[5].error, answers[5].finished) == (None, True)
    assert answers[6].error
    assert not answers[6].finished


def test_a_kept_table_is_read_as_it_was_and_a_missing_one_names_those_there_are(tmp_path: Path) -> None:
    write_rollouts(table(), tmp_path)
    assert read_rollouts(tmp_path, 7) == table()
    with pytest.raises(ValueError, match=r"no rollouts of step 8 are kept \(rl.table_every\); there are those of: 7"):
        read_rollouts(tmp_path, 8)
