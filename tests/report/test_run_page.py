import json
import shutil
from pathlib import Path

import pytest

from preftune.errors import DataError, OutputError
from preftune.report.generations import generations_of
from preftune.report.panels import panels_of
from preftune.report.run_page import report_run
from preftune.report.run_record import RunRecord
from tests.report.html_links import asks_for_nothing, parsed
from tests.report.run_folders import FINDING, LOGS, NASTY, evaluation, write_lines, write_run

FILES = (
    "run.json",
    "summary.json",
    "health.json",
    "data-check.json",
    "evaluation.json",
    "metrics.jsonl",
    "samples.jsonl",
    "model.safetensors",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report_run(write_run(tmp_path_factory.mktemp("runs") / "good")).page()


@pytest.fixture
def _first_panel_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one panel of a page whose words are tested, because a dozen take most of the time."""
    monkeypatch.setattr("preftune.report.pictures.panels_of", lambda logs: panels_of(logs)[:1])


def page_without(folder: Path, *names: str) -> str:
    if "run.json" in names:
        names = tuple(name for name in names if name != "run.json")
    return report_run(write_run(folder, without=names)).page()


def test_it_asks_for_nothing_outside_itself(page: str) -> None:
    assert asks_for_nothing(page)


def test_texts_of_the_data_are_escaped(page: str) -> None:
    assert NASTY not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert {"script", "img"}.isdisjoint(parsed(page).tags)


def test_the_verdict_says_how_it_ended_how_healthy_it_was_and_what_changed(page: str) -> None:
    assert '<p class="headline">Better than the model you began with.</p>' in page
    assert "Finished: 4 steps in 1 min 15 s." in page
    assert "Health: no finding by 2 rules." in page
    assert "On 64 held-out pairs it is better than chance: 68.8 % (62.5 % to 75.0 %)." in page
    assert '<span class="before">50.0 % &rarr;</span> 68.8 %' in page
    assert "held out; 95% interval (62.5 % to 75.0 %)" in page
    assert "its completions are better than the reference: 75.0 %" in page
    assert "Not measured" not in page


@pytest.mark.usefixtures("_first_panel_only")
def test_the_kl_of_an_evaluation_stands_in_the_verdict_before_that_of_training(tmp_path: Path) -> None:
    logs = [*LOGS, {"step": 4, "eval_samples/kl": 5.5, "eval_samples/kl_error": 0.5}]
    page = report_run(write_run(tmp_path / "a", logs=logs)).page()
    assert '<span class="before">0 &rarr;</span> 6.125' in page
    without = report_run(write_run(tmp_path / "b", logs=logs, without=["evaluation.json"])).page()
    assert '<div class="value">5.5 ± 0.5</div>' in without
    assert '<div class="from">2 samples; ± one standard error</div>' in without


def test_it_says_what_was_run_with_formula_options_and_paper(page: str) -> None:
    for text in ("Direct Preference Optimization", "arXiv:2305.18290", "log sigmoid(margin)", "<code>a/base</code>"):
        assert text in page
    assert '<td data-heading="value">0.25</td>' in page


def test_it_says_on_what_it_ran(page: str) -> None:
    for text in ("66ebf6dd9bc5</code>, with changes", "preftune train --data &#39;my pairs.jsonl&#39;", "2.0 GiB"):
        assert text in page
    assert "peft" not in page.partition("versions</dt>")[2].partition("</dd>")[0]


def test_data_left_out_and_findings_of_the_data_check_are_there(page: str) -> None:
    assert "60 prompts were too long and were left out." in page
    assert "The first 50 of these places" in page
    assert "100 of 400 rows, spread evenly" in page
    assert "Rows that repeat an earlier row: 7" in page
    assert "<code>preftune clean --dedupe</code>" in page
    assert "Left out to save time: near-duplicates." in page
    assert "Not checked: tokens (needs --tokenizer)." in page


def test_there_is_a_picture_for_each_metric_and_of_the_evaluation(page: str) -> None:
    for label in ("Loss, nats", "Preference accuracy", "Gradient norm", "Peak memory, GiB", "Calibration"):
        assert f'aria-label="{label}"' in page
    assert 'aria-label="Win rate by temperature"' in page
    assert "Implicit rewards" not in page


def test_before_and_after_stand_side_by_side(page: str) -> None:
    section = page.partition('id="generations"')[2].partition("</section>")[0]
    assert section.index("Before") < section.index("It is before.") < section.index("It is after.")
    assert "After 4 steps: KL 2.5 nats, entropy 1.125 nats per token, 20.5 tokens, at most 32." in section
    assert "[...]" in section


def test_the_tables_are_those_of_preftune_eval(page: str) -> None:
    section = page.partition('id="evaluation"')[2].partition("</section>")[0]
    for text in ("accuracy on 64 pairs", "62.5% to 75.0%", "Parts of the pairs", "expected calibration error"):
        assert text in section


def test_files_are_listed_with_their_sizes(page: str) -> None:
    assert "model.safetensors</code>" in page
    assert "2.0 KiB" in page


@pytest.mark.usefixtures("_first_panel_only")
@pytest.mark.parametrize("missing", [name for name in FILES if name != "run.json"])
def test_a_page_comes_of_a_run_that_lacks_a_file(tmp_path: Path, missing: str) -> None:
    assert asks_for_nothing(page_without(tmp_path / "run", missing))


def test_a_bare_run_names_missing_sections_and_their_commands(tmp_path: Path) -> None:
    page = page_without(tmp_path / "run", *(name for name in FILES if name not in ("run.json", "model.safetensors")))
    assert asks_for_nothing(page)
    assert "Unfinished: still training, or killed" in page
    for command in (f"--config {tmp_path / 'run' / 'config.yaml'} --resume", "preftune check pairs.jsonl"):
        assert command in page
    assert f"preftune generate --model {tmp_path / 'run'} --compare a/base" in page
    assert "No metrics were logged yet." in page


@pytest.mark.usefixtures("_first_panel_only")
def test_missing_sections_name_the_command_that_adds_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    page = page_without(run, "evaluation.json")
    assert f'<pre class="command">preftune eval --model {run} --samples 1</pre>' in page
    assert f"preftune eval --model {run} --judge openai:MODEL --against reference" in page
    assert "held out, 16 pairs" in page


@pytest.mark.usefixtures("_first_panel_only")
def test_a_run_that_held_nothing_out_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", without=["evaluation.json"], logs=LOGS[1:4], eval_fraction=0.0)
    page = report_run(run).page()
    assert "Nothing was held out" in page
    assert f"preftune eval --model {run} --data HELD-OUT.jsonl" in page
    assert "training data" in page


@pytest.mark.usefixtures("_first_panel_only")
def test_a_run_on_demonstrations_needs_no_preferences(tmp_path: Path) -> None:
    logs = [{"step": 1, "loss": 2.0, "logps/completions": -9.0}, {"step": 2, "loss": 1.5, "logps/completions": -8.0}]
    folder = tmp_path / "sft"
    write_run(folder, without=["evaluation.json", "samples.jsonl"], logs=logs)
    (folder / "config.yaml").write_text("method: sft\nmodel: a/base\ndata: [texts.jsonl]\n")
    page = report_run(folder).page()
    assert "loss = -policy" in page
    assert "--judge" not in page
    assert "reference</dt>" not in page


@pytest.mark.usefixtures("_first_panel_only")
@pytest.mark.parametrize(
    ("summary", "text", "tone"),
    [
        ({"stopped_early": True}, "Stopped early by a signal: 4 steps", "warning"),
        ({"stopped_sick": True}, "Stopped by a health rule: 4 steps", "error"),
        ({"kept": {"metric": "loss", "value": 0.6, "at_start": 0.7, "step": 4}}, "checkpoint of step 4", "good"),
        ({"num_steps": 2}, "Unfinished: still training, or killed", "warning"),
    ],
)
def test_the_headline_says_how_it_ended(tmp_path: Path, summary: dict[str, object], text: str, tone: str) -> None:
    run = write_run(tmp_path / "run")
    before = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**before, **summary}))
    page = report_run(run).page()
    assert text in page
    assert f'class="verdict {tone}"' in page
    assert asks_for_nothing(page)


@pytest.mark.usefixtures("_first_panel_only")
def test_a_finding_has_its_step_text_advice_rows_and_meaning(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "health.json").write_text(json.dumps({"findings": [FINDING], "rules": ["margin"], "not_applied": {}}))
    page = report_run(run).page()
    for text in ("The margin runs away", "It is 12.", "Lower --epochs.", "step 2, worst at step 4", "pairs.jsonl:7"):
        assert text in page
    assert 'href="#rule-margin"' in page
    assert "Health: 1 finding (1 suspect) by 1 rule." in page
    assert asks_for_nothing(page)


def test_the_values_of_the_kept_checkpoint_are_shown_not_the_last(tmp_path: Path) -> None:
    logs = [*LOGS, {"step": 6, "eval_loss": 0.9, "eval_rewards/accuracies": 0.25}]
    run = write_run(tmp_path / "run", logs=logs, without=["evaluation.json"])
    summary = json.loads((run / "summary.json").read_text())
    kept = {"metric": "loss", "value": 0.625, "at_start": 0.6931, "step": 4}
    (run / "summary.json").write_text(json.dumps({**summary, "num_steps": 6, "kept": kept}))
    assert "&rarr;</span> 68.8 %" in report_run(run).page()


def test_an_evaluation_of_another_version_is_named_not_fatal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "evaluation.json").write_text('{"model": "run"}')
    page = report_run(run).page()
    assert "evaluation.json is of another version of preftune" in page
    assert f'<pre class="command">preftune eval --model {run}</pre>' in page


def test_evaluations_at_other_strengths_have_a_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for strength in (2.0, 0.5):
        found = evaluation(strength=strength, preferences=None)
        (run / f"evaluation-strength-{strength:g}.json").write_text(json.dumps(found.as_dict()))
    section = report_run(run).page().partition("Realigned with the reference")[2]
    heads = [section.index(f'<th scope="row">{strength}</th>') for strength in ("0.5", "1", "2")]
    assert heads == sorted(heads)


@pytest.mark.parametrize("name", ["run.json", "summary.json", "health.json", "data-check.json", "evaluation.json"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    (run / name).write_text('{"half": ')
    with pytest.raises(DataError, match=rf"{name}: is damaged\. .* recreate it with"):
        report_run(run)


def test_a_torn_last_line_is_left_out_but_not_one_in_the_middle(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(whole + '{"step": 5, "lo')
    assert len(report_run(run).run.logs) == len(LOGS)
    (run / "metrics.jsonl").write_text('{"step": 5, "lo\n' + whole)
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: is damaged"):
        report_run(run)


def test_what_is_no_run_is_refused_with_a_way_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "checkpoint-4").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for path, text in (
        (tmp_path / "missing", "there is no such folder"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "empty", r"config\.yaml and run\.json are missing"),
        (run / "checkpoint-4", rf"is a checkpoint.* Name the run: {run}\."),
    ):
        with pytest.raises(OutputError, match=text):
            report_run(path)


def test_plots_are_written_as_svg_and_png_and_replace_earlier_ones(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    report_run(run).write_plots()
    first = (run / "plots" / "loss.svg").read_bytes()
    assert first.startswith(b"<?xml")
    assert (run / "plots" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    report_run(run).write_plots()
    assert (run / "plots" / "loss.svg").read_bytes() == first
    assert not list((run / "plots").glob(".*"))


@pytest.mark.usefixtures("_first_panel_only")
def test_a_method_that_is_not_known_has_a_page_all_the_same(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "config.yaml").write_text("method: ours\nmodel: a/base\n")
    assert "Method ours, which this version of preftune does not know." in report_run(run).page()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_runs_over_the_edge_in_chromium(tmp_path: Path, width: int) -> None:
    import subprocess

    run = write_run(tmp_path / "run")
    write_lines(run / "metrics.jsonl", LOGS)
    probe = "<script>document.title='wide:'+document.documentElement.scrollWidth+'/'+window.innerWidth</script></body>"
    page = tmp_path / "page.html"
    page.write_text(report_run(run).page().replace("</body>", probe), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    shown = subprocess.run(["chromium", *flags, page.as_uri()], check=True, capture_output=True, timeout=120, text=True)
    needed, given = shown.stdout.partition("<title>wide:")[2].partition("</title>")[0].split("/")
    assert int(needed) <= int(given)


def test_greedy_completions_stand_before_those_at_temperature_1(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "samples.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for sample in line["samples"]:
            sample["greedy"] = {"text": f"the likeliest at {line['step']}", "finished": line["step"] == 0}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = generations_of(RunRecord.read(folder))
    assert found is not None
    assert found.rows[0].texts == ("the likeliest at 0", "the likeliest at 4 [...]")
    page = report_run(folder).page()
    assert "Before, greedy" in page
    assert "<summary>At temperature 1</summary>" in page
    del lines[-1]["samples"][0]["greedy"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mixed = generations_of(RunRecord.read(folder))
    assert mixed is not None
    assert (mixed.rows[0].drawn, mixed.rows[1].texts[0]) == ((), "the likeliest at 0")
