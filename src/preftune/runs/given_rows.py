"""Rows in memory as the data of a run: written to a file beside its folder, which the run then reads."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from preftune.errors import ConfigError, DataError, OutputError
from preftune.files.json_files import write_whole
from preftune.ranks import on_main
from preftune.settings import TrainConfig
from preftune.settings.keywords import TrainKeywords

Rows = Iterable[Mapping[str, Any]]
"""A list of dicts, a `datasets.Dataset`, a `pandas.DataFrame`."""


def config_of(config: TrainConfig | None, method: str | None, settings: TrainKeywords) -> TrainConfig:
    """The config of a call of `train`. Rows in memory are written to files.

    Raises:
        ConfigError: settings that cannot work, or both a config and settings.
        DataError, OutputError: rows that cannot be written.
    """
    given: dict[str, Any] = {**settings, **({} if method is None else {"method": method})}
    if config is not None:
        if given:
            raise ConfigError([f"{name}: the config has it. Give a config or keywords." for name in given])
        return config
    rows = {name: given[name] for name in ("data", "eval_data") if is_rows(given.get(name))}
    files = {name: file_of_rows(str(given.get("output") or "run"), name) for name in rows}
    config = TrainConfig.of(**{**given, **{name: str(path) for name, path in files.items()}})
    for name, path in files.items():
        on_main(partial(rows_to_file, rows[name], path, overwrite=config.output.overwrite))
    return config


def is_rows(value: object) -> bool:
    """True for rows in memory, false for names of files, folders and data sets.

    >>> is_rows([{"prompt": "2 + 2 =", "completion": " 4"}]), is_rows(["a.jsonl", "b.jsonl"]), is_rows("a.jsonl")
    (True, False, False)
    """
    if value is None or isinstance(value, (str, Path)):
        return False
    return not (isinstance(value, (list, tuple)) and all(isinstance(item, (str, Path)) for item in value))


def file_of_rows(output: str, name: str) -> Path:
    """The file for the rows of a run.

    >>> str(file_of_rows("runs/first", "eval_data"))
    'runs/first-eval_data.jsonl'
    """
    folder = Path(output).expanduser()
    return folder.with_name(f"{folder.name}-{name}.jsonl")


def rows_to_file(rows: Rows, path: Path, *, overwrite: bool) -> None:
    """Write rows as JSON lines.

    Raises:
        ConfigError: not rows.
        DataError: a row or a value that JSON cannot hold.
        OutputError: the file holds other rows and `overwrite` is false.
    """
    text = "".join(_lines(rows, path))
    if path.is_file() and not overwrite and path.read_text(encoding="utf-8") != text:
        raise OutputError(
            f"{path}: holds the rows of an earlier run, which are others. Name another output, or set overwrite=True."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


def _lines(rows: Any, path: Path) -> Iterable[str]:
    named = {"DataFrame": lambda: rows.astype(object).where(rows.notna(), None).to_dict("records")}
    plain = named.get(type(rows).__name__, lambda: rows)()
    if isinstance(plain, Mapping) or not isinstance(plain, Iterable):
        raise ConfigError(
            [f"data: is a {type(rows).__name__}. Give files, a list of dicts, a datasets.Dataset or a DataFrame."]
        )
    for number, row in enumerate(plain, start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"data: row {number} is of type {type(row).__name__}. A row is a dict of its columns.")
        try:
            yield json.dumps(row, ensure_ascii=False) + "\n"
        except (TypeError, ValueError) as error:
            raise DataError(
                f"data: row {number} holds what a line of JSON cannot ({error}). Leave such columns out, or convert "
                f"them to text. The rows of a run are kept in {path}, so that it can be repeated."
            ) from None
