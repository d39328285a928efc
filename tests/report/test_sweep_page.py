from dataclasses import replace
from pathlib import Path

from preftune.metrics.intervals import Interval
from preftune.report.sweep_page import sweep_page
from preftune.sweep.result import ModelRow, PointRecord, PointRow, Realigned, Recommendation, SweepResult
from tests.report.html_links import parsed


def around(value: float) -> Interval:
    return Interval(value, value - 0.1, value + 0.1, 0.05, 100)


def model(run: str, value: float, kl: float, *, strength: float = 1.0) -> ModelRow:
    return ModelRow(run, 8, strength, around(value), around(kl), None, on_frontier=True)


def point(beta: str, *models: ModelRow) -> PointRow:
    name = f"beta={beta},seed=0"
    error = None if models else "DataError: <b>no pairs</b>"
    record = PointRecord("trained" if models else "failed", error, num_steps=8)
    return PointRow(name, f"beta={beta}", 0, record, models)


def write_sweep(folder: Path) -> SweepResult:
    result = SweepResult(
        folder=str(folder),
        value="score",
        against=None,
        confidence=0.95,
        kl_budget=4.0,
        reference_value=0.0,
        points=(
            point("0.1", model("beta=0.1,seed=0", 2.25, 3.5)),
            point("1", model("beta=1,seed=0", 1.25, 0.5)),
            point("9"),
        ),
        setups=(),
        recommendation=Recommendation(
            "beta=0.1", "beta=0.1", ("beta=0.1",), False, ("Its reward is the highest.",), ("The grid ends here.",)
        ),
        realigned=Realigned(
            "beta=0.1,seed=0",
            (model("beta=0.1,seed=0", 1.125, 0.75, strength=0.5),),
        ),
        sharing=(),
        num_computed=1234,
        stopped=False,
    )
    folder.mkdir(exist_ok=True)
    result.write()
    return result


def test_it_says_what_to_take_and_why_and_shows_every_point(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    page = sweep_page(tmp_path)
    for text in (
        "Recommended: beta=0.1.", "Its reward is the highest.", "The grid ends here.", "1,234 computed", "2.25",
        "1.125", "no pairs", "KL to the reference (nats)",
    ):  # fmt: skip
        assert text in page
    assert "<b>no pairs" not in page


def test_it_links_to_the_reports_that_are_there_and_asks_for_nothing_else(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    (tmp_path / "beta=1,seed=0").mkdir()
    (tmp_path / "beta=1,seed=0" / "report.html").write_text("")
    links = parsed(sweep_page(tmp_path))
    assert [url for url in links.urls if not url.startswith(("#", "data:"))] == ["beta%3D1%2Cseed%3D0/report.html"]
    assert not {"script", "img"} & set(links.tags)


def test_a_sweep_that_is_not_at_its_end_says_so(tmp_path: Path) -> None:
    result = write_sweep(tmp_path)
    replace(result, recommendation=None, realigned=None, points=(point("9"),)).write()
    page = sweep_page(tmp_path)
    assert "Unfinished: the same command continues it" in page
    assert "<figure" not in page


def test_where_nothing_is_recommended_the_page_is_not_green(tmp_path: Path) -> None:
    result = write_sweep(tmp_path)
    assert 'class="verdict good"' in sweep_page(tmp_path)
    found = Recommendation(None, None, (), False, ("Worse than it: beta=0.1.",), (), {"beta=0.1": "worse"})
    replace(result, recommendation=found).write()
    page = sweep_page(tmp_path)
    assert 'class="verdict warning"' in page
    assert "Recommended: nothing. Every point is worse than the model you began with." in page
