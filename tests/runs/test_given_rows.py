import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

import preftune
from preftune.errors import ConfigError, DataError, OutputError
from preftune.runs.given_rows import is_rows, rows_to_file
from preftune.settings import TrainConfig

pd: Any = pytest.importorskip("pandas")

ROWS = [
    {"prompt": f"{number} + 1 =", "chosen": f" {number + 1}", "rejected": f" {number + 2}"} for number in range(1, 9)
]


def trained(model: Path, output: Path, data: Any, **settings: Any) -> Path:
    preftune.train(
        model=str(model),
        data=data,
        output=str(output),
        max_steps=1,
        batch_size=4,
        report_to="none",
        eval_samples=0,
        **{"quiet": True, **settings},
    )
    return output


@pytest.mark.parametrize(
    "rows",
    [ROWS, tuple(ROWS), iter(ROWS), Dataset.from_list(ROWS), pd.DataFrame(ROWS)],
    ids=lambda rows: type(rows).__name__,
)
def test_a_run_learns_from_rows_in_memory_as_from_the_same_file(tmp_path: Path, rows: Any) -> None:
    rows_to_file(rows, tmp_path / "run-data.jsonl", overwrite=False)
    assert [json.loads(line) for line in (tmp_path / "run-data.jsonl").read_text().splitlines()] == ROWS


def test_train_takes_keywords_and_rows_and_its_config_repeats_the_run(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained(model_folder, tmp_path / "run", ROWS, quiet=False, eval_data=ROWS[:2], method="ipo")
    assert "train: 8 prompts" in capsys.readouterr().out
    config = TrainConfig.read(folder / "config.yaml", output=str(tmp_path / "again"))
    assert config.data.data == [str(tmp_path / "run-data.jsonl")]
    assert config.data.eval_data == [str(tmp_path / "run-eval_data.jsonl")]
    preftune.train(config, quiet=True)
    assert capsys.readouterr().out == ""
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_resumed_run_must_have_the_same_rows(model_folder: Path, tmp_path: Path) -> None:
    folder = trained(model_folder, tmp_path / "run", ROWS)
    trained(model_folder, folder, ROWS, resume=True)
    with pytest.raises(OutputError, match=r"run-data\.jsonl: holds the rows of an earlier run"):
        trained(model_folder, folder, ROWS[:4], resume=True)
    trained(model_folder, folder, ROWS[:4], overwrite=True)


def test_missing_values_of_a_data_frame_are_null(tmp_path: Path) -> None:
    frame = pd.DataFrame([{"prompt": "a", "score": 1.0}, {"prompt": "b"}])
    rows: Any = frame
    rows_to_file(rows, tmp_path / "rows.jsonl", overwrite=False)
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == [
        {"prompt": "a", "score": 1.0},
        {"prompt": "b", "score": None},
    ]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([{"prompt": date(2026, 1, 1)}], DataError, "row 1 holds what a line of JSON cannot"),
        ([ROWS[0], 3], DataError, "row 2 is of type int"),
        ({"prompt": ["a"]}, ConfigError, "data: is a dict. Give files"),
        (7, ConfigError, "data: is a int. Give files"),
    ],
)
def test_what_is_no_row_is_refused(
    model_folder: Path, tmp_path: Path, rows: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        trained(model_folder, tmp_path / "run", rows)
    assert list(tmp_path.iterdir()) == []


def test_a_config_and_keywords_exclude_each_other() -> None:
    config = TrainConfig.of(model="m", data="d", output="o")
    with pytest.raises(ConfigError, match="beta: the config has it"):
        preftune.train(config, beta=0.5)


@pytest.mark.parametrize("names", ["a.jsonl", Path("a.jsonl"), ["a.jsonl", Path("b.jsonl")], [], None])
def test_names_are_no_rows(names: object) -> None:
    assert not is_rows(names)
