"""The command line, run inside the test's own process."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from preftune.cli.bug_report import BUG
from preftune.cli.main import preftune
from preftune.report.panels import panels_of

__all__ = ["call", "call_with_bugs", "error_of", "tune"]


def call(*arguments: str | Path) -> Result:
    """What `preftune ARGUMENTS` gives. A bug fails the test."""
    result = call_with_bugs(*arguments)
    assert result.exit_code != BUG, result.stderr
    return result


def call_with_bugs(*arguments: str | Path) -> Result:
    """Like `call`, and a bug gives its message. An exception that is no message at all is raised on.

    Reports show one panel: a dozen take longer than a tiny run, and have their own tests in `tests/report`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preftune.report.pictures.panels_of", lambda logs: panels_of(logs)[:1])
        result = CliRunner().invoke(preftune, [str(argument) for argument in arguments], env={"COLUMNS": "100"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def error_of(*arguments: str | Path) -> str:
    """The message of a call that must fail because of what was asked for."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def tune(model: Path, data: Path, output: Path, *arguments: str | Path, command: str = "train") -> list[str | Path]:
    """Arguments of a run of two steps, without samples."""
    return [
        *(command, "--model", model, "--data", data, "--output", output),
        *("--batch-size", "3", "--learning-rate", "0.01", "--precision", "fp32", "--report-to", "none"),
        *("--eval-samples", "0"),
        *arguments,
    ]
