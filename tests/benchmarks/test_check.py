import pytest

from benchmarks.check import main, synthetic_rows


def test_the_synthetic_file_is_the_same_for_the_same_seed_and_has_repeats() -> None:
    rows = list(synthetic_rows(2000, seed=0))
    assert rows == list(synthetic_rows(2000, seed=0))
    repeats = len(rows) - len({row["prompt"] for row in rows})
    assert 5 <= repeats <= 40


def test_it_prints_rows_per_second_and_peak_memory(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--rows", "60", "--", "--skip", "shortcuts"])
    output = capsys.readouterr().out
    assert "rows per second, peak memory" in output
