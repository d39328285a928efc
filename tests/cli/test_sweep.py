from pathlib import Path

import pytest

from preftune.sweep.result import SweepResult
from preftune.sweep.run_point import PointRunner
from tests.cli.command_line import call, error_of

QUICK = ("--eval-fraction", "0.5", "--batch-size", "3", "--precision", "fp32", "--report-to", "none")
EVALUATION = ("--max-new-tokens", "5", "--resamples", "40")


def arguments(model: Path, data: Path, output: Path, *further: str) -> list[str | Path]:
    base: list[str | Path] = ["sweep", "--model", model, "--data", data, "--output", output]
    return [*base, *QUICK, *EVALUATION, "--learning-rate", "0.01", *further]


def test_a_sweep_ends_with_a_table_a_picture_and_a_recommendation(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    given = arguments(model_folder, pairs_file, folder, "--over", "beta=0.1,0.5", "--kl-budget", "50")
    result = call(*given)
    assert result.exit_code == 0, result.output
    for text in (
        "are computed once",
        "beta=0.1,seed=0",
        "held-out accuracy",
        "Recommended: nothing. No point",
        "sweep.json",
    ):
        assert text in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "beta=0.1,seed=0", "beta=0.5,seed=0", "frontier.png", "frontier.svg", "logs", "records", "report.html",
        "sweep-settings.json", "sweep.json",
    ]  # fmt: skip
    assert (folder / "beta=0.5,seed=0" / "report.html").is_file()
    assert str(call("report", folder).stdout).strip() == f"report: {folder / 'report.html'}"
    assert SweepResult.read(folder).kl_budget == 50.0
    assert "(done earlier)" in call(*given).stdout
    error = error_of(*given, "--epochs", "3")
    assert "epochs = 3.0: the sweep began with 1.0." in error


def test_a_config_file_is_the_base(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "base.yaml"
    file.write_text("epochs: 0.5\nmethod: ipo\noutput: elsewhere\nbeta: 1\n")
    error = error_of(*arguments(model_folder, pairs_file, tmp_path / "s", "--config", str(file), "--over", "tau=1,2"))
    assert "beta: not an option of method ipo" in error
    assert "betta: there is no such setting" in error_of("sweep", "--over", "betta=1", "--output", tmp_path / "s")


def test_where_no_point_comes_to_its_end_the_exit_code_says_so(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    given = arguments(model_folder, pairs_file, tmp_path / "s", "--over", "data=missing.jsonl,missing-too.jsonl")
    result = call(*given)
    assert result.exit_code == 1
    assert "failed: DataError" in result.stdout
    assert "Recommended: nothing" in result.stdout
    assert str(tmp_path / "s" / "logs") in result.stdout.replace("\n", "")


def test_ctrl_c_says_how_to_continue(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PointRunner, "run", stopped)
    result = call(*arguments(model_folder, pairs_file, tmp_path / "s", "--over", "beta=0.1,0.5"))
    assert result.exit_code == 130
    assert "The same command continues it." in result.stdout
    assert SweepResult.read(tmp_path / "s").stopped


def test_help_has_the_flags_of_the_sweep_its_evaluations_and_its_runs() -> None:
    text = call("sweep", "--help").stdout
    for flag in ("--over", "--kl-budget", "--num-prompts", "--judge", "--method", "--learning-rate", "--lora-rank"):
        assert flag in text
    assert "--resume" not in text
