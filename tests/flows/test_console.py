"""How commands speak: what is the user's to cure is one message, without a traceback."""

import errno

import pytest
import typer

from flows.cli.console import bad_input


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("--set [b]: no"), "error: --set [b]: no"),
        (FileNotFoundError("none.jpg: no such file"), "error: none.jpg: no such file"),
        (PermissionError(errno.EACCES, "Permission denied", "out[v2]"), "error: out[v2]: Permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "error: a/b: Not a directory"),
    ],
)
def test_what_the_user_can_cure_is_one_line(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, bad_input():
        raise error
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err.strip() == said


def test_other_errors_pass() -> None:
    with pytest.raises(BrokenPipeError), bad_input():
        raise BrokenPipeError
