import json
from pathlib import Path

import pytest

from preftune.cli import report as module
from preftune.errors import TrainingError
from tests.cli.command_line import call, error_of, tune
from tests.report.html_links import asks_for_nothing
from tests.report.run_folders import write_run


@pytest.fixture(scope="module")
def run_folder(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = call(*tune(model_folder, pairs_file, folder, "--eval-fraction", "0.5", "--eval-samples", "2"))
    assert result.exit_code == 0, result.output
    assert f"report: {folder / 'report.html'}" in result.stdout
    assert f"preftune eval --model {folder} --samples 1" in result.stdout
    return folder


def test_a_run_ends_with_its_report(run_folder: Path) -> None:
    page = (run_folder / "report.html").read_text()
    assert asks_for_nothing(page)
    for text in ("Finished: 1 step", "Loss", "Before", "After 1 steps", "Data check"):
        assert text in page
    assert (run_folder / "plots" / "loss.png").is_file()


def test_an_evaluation_of_a_run_renews_its_report(run_folder: Path) -> None:
    result = call("eval", "--model", run_folder, "--resamples", "50")
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith(f"report: {run_folder / 'report.html'}")
    assert "expected calibration error" in (run_folder / "report.html").read_text()


def test_a_report_that_fails_does_not_fail_the_run(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no more\nink")

    monkeypatch.setattr("preftune.report.run_page.report_run", fail)
    result = call(*tune(model_folder, pairs_file, tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert f"report: not written. no more ink `preftune report {tmp_path / 'run'}` tries again." in result.stdout
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_run_that_fails_on_the_way_has_a_report(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def fail(*_: object, **__: object) -> None:
        write_run(folder, without=["summary.json"])
        raise TrainingError("NaN at step 4")

    monkeypatch.setattr("preftune.runs.run.train", fail)
    result = call(*tune(model_folder, pairs_file, folder))
    assert result.exit_code == 1
    assert "Unfinished: still training, or killed" in (folder / "report.html").read_text()


def test_one_run_gets_its_page_and_plots_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert call("report", run).stdout == f"report: {run / 'report.html'}\n"
    (run / "report.html").write_text("old")
    assert call("report", run).exit_code == 0
    assert asks_for_nothing((run / "report.html").read_text())
    assert (run / "plots" / "loss.svg").is_file()


def test_with_output_nothing_is_written_into_the_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert call("report", run, "--output", tmp_path / "page.html").exit_code == 0
    assert asks_for_nothing((tmp_path / "page.html").read_text())
    assert not (run / "report.html").exists()
    assert not (run / "plots").exists()


def test_several_runs_are_compared_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    assert call("report", "a", "b").stdout == "report: report.html\n"
    assert "2 runs compared" in Path("report.html").read_text()
    assert call("report", "b", "a").exit_code == 0


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "thesis.html").write_text("years of work")
    assert "so it is not replaced" in error_of("report", run, "--output", tmp_path / "thesis.html")
    assert (tmp_path / "thesis.html").read_text() == "years of work"
    assert "is a folder" in error_of("report", run, "--output", tmp_path)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in error_of("report", run, "--output", tmp_path / "file" / "page.html")


def test_a_folder_that_cannot_be_reported_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "checkpoint-4").mkdir()
    assert "is a checkpoint" in error_of("report", run / "checkpoint-4")
    assert "there is no such folder" in error_of("report", tmp_path / "nothing")
    assert "is named twice" in error_of("report", run, run)
    (run / "summary.json").write_text(json.dumps([1]))
    assert "summary.json: must hold an object" in error_of("report", run)
    assert module.command.name == "report"
