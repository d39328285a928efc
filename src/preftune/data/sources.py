"""Sources of rows: files, folders, and data sets on the hub."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from preftune.data.presets import PRESETS, Preset, find_preset
from preftune.data.rows import BadRow, Row
from preftune.data.tables import numbered, read_parquet, rows_of_dataset
from preftune.data.text_files import COMPRESSIONS, TEXT_READERS, data_suffix, read_text_file
from preftune.errors import DataError

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_saved_dataset(folder: Path) -> bool:
    """True if the folder was written by `datasets` with `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_saved_dataset(folder: Path, source: str, split: str | None) -> Iterator[Row | BadRow]:
    """Rows of a Dataset, or of one split of a DatasetDict, written by `save_to_disk`. Origins count rows."""
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: the saved data set cannot be read: {error}. Save it again.") from error
    if isinstance(saved, datasets.DatasetDict):
        name = _only_split(source, list(saved), split)
        yield from numbered(rows_of_dataset(saved[name]), f"{source}[{name}]")
        return
    if split is not None and str(saved.split) != split:
        raise DataError(
            f"{source}: there is no split '{split}', the folder holds a single data set without splits. "
            "Leave --split out."
        )
    yield from numbered(rows_of_dataset(saved), source)


def is_hub_name(source: str) -> bool:
    """True if this could be the name of a data set on the hub.

    >>> is_hub_name("Anthropic/hh-rlhf"), is_hub_name("./prefs"), is_hub_name("data/prefs/train")
    (True, False, False)
    """
    return _HUB_NAME.fullmatch(source) is not None


def read_hub_dataset(name: str, split: str | None, preset: Preset | None = None) -> Iterator[Row | BadRow]:
    """Rows of one split of a data set on the hub, or of its only split. Origins count rows.

    Args:
        split: Name of the split. Default: that of the preset, or the only one.
    Raises:
        DataError: it cannot be loaded, or has several splits and none was chosen.
    """
    import datasets

    chosen = split or (preset.split if preset else None)
    try:
        if chosen is None:
            chosen = _only_split(name, datasets.get_dataset_split_names(name), split)
        rows = datasets.load_dataset(name, split=chosen, **_where_on_hub(preset))
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().rstrip(".")
        missing = "" if preset else "no file or folder here has this path, and "
        raise DataError(
            f"{name}: {missing}as a data set of the hub it cannot be loaded: {reason}. "
            "Correct the path, or check the name, the split and the connection to huggingface.co."
        ) from error
    yield from numbered(rows_of_dataset(rows), f"{name}[{chosen}]")


def _where_on_hub(preset: Preset | None) -> dict[str, str]:
    if preset is None:
        return {}
    places = {"name": preset.config, "data_dir": preset.folder, "revision": preset.revision}
    return {key: value for key, value in places.items() if value is not None}


def _only_split(source: str, names: list[str], split: str | None) -> str:
    if split is None and len(names) == 1:
        return names[0]
    known = ", ".join(names)
    if split is None:
        raise DataError(f"{source}: the data set has {len(names)} splits: {known}. Name one of them with --split.")
    if split not in names:
        raise DataError(
            f"{source}: there is no split '{split}'. The splits are: {known}. Name one of them with --split."
        )
    return split


OpenRows = Callable[[], Iterator[Row | BadRow]]
"""Opens the rows of one file or data set; each call starts at the first row."""


def read_rows(source: str, *, split: str | None = None) -> Iterator[Row | BadRow]:
    """Rows of a source, in order.

    Args:
        source: A file (.json, .jsonl, .ndjson, .csv, .tsv, these also with .gz, .bz2, .xz or .zst; .parquet); a
            folder of such files or one written by `datasets` with `save_to_disk`; a preset, such as `hh` or
            `preset:hh`; or the name of a data set on the hub. An existing path takes precedence over presets and the
            hub.
        split: The split of a data set that has splits. In a folder of files: those with this word in their path,
            required if they name several splits.
            Default for presets: their own split.
    Returns:
        Rows with their origin: the line of a text file, or the number of the row, from 1. A malformed row is a
        `BadRow` and does not end the stream.
    Raises:
        DataError: a source that cannot be found or read, or that has no rows.
    """
    return chain.from_iterable(part() for part in parts_of(source, split=split))


def parts_of(source: str, *, split: str | None = None) -> list[OpenRows]:
    """Parts of a source that each have one format and can be read more than once: the files of a folder, or the source.

    Raises:
        DataError: a source that cannot be found. Opening a part raises it where that cannot be read or has no rows.
    """
    preset = find_preset(source)
    if preset is not None:
        return [partial(_checked, partial(read_hub_dataset, preset.hub_id, split, preset), source)]
    path = Path(source).expanduser()
    if path.is_dir() and not is_saved_dataset(path):
        files = _files_of(path, source, split)
        return [partial(_checked, partial(_rows_at, file, str(file), None), str(file)) for file in files]
    return [partial(_checked, partial(_rows_at, path, source, split), source)]


def _checked(rows: OpenRows, source: str) -> Iterator[Row | BadRow]:
    is_empty = True
    for row in rows():
        is_empty = False
        yield row
    if is_empty:
        raise DataError(f"{source}: there are no rows. Nothing can be learned from it. Check that it is the right one.")


def _rows_at(path: Path, source: str, split: str | None) -> Iterator[Row | BadRow]:
    if path.is_dir():
        return read_saved_dataset(path, source, split)
    if path.is_file():
        if split is not None:
            raise DataError(
                f"{source}: a single file has no split '{split}'. Leave --split out, or name the right file."
            )
        return _read_file(path, source)
    check_source(source)
    return read_hub_dataset(source, split)


def check_source(source: str) -> None:
    """Check that a source exists, or may be a preset or a data set on the hub.

    Raises:
        DataError: a path without a file or folder.
    """
    path = Path(source).expanduser()
    if find_preset(source) is None and not path.exists() and (not is_hub_name(source) or _is_data_file(path)):
        raise DataError(
            f"{source}: there is no such file or folder. Correct the path; it is looked up from {Path.cwd()}. "
            f"Public data sets with a short name: {', '.join(PRESETS)}."
        )


def _read_file(path: Path, source: str) -> Iterator[Row | BadRow]:
    suffix = data_suffix(path)
    if path.suffix.lower() == ".parquet":
        return read_parquet(path, source)
    if suffix in TEXT_READERS:
        return read_text_file(path, source, suffix)
    raise DataError(
        f"{source}: the file name does not say which kind of file it is. {_known_files()} Rename or convert it."
    )


_METADATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "croissant.json")
"""Files of a data set's repository that hold no rows."""

_SPLIT_WORDS = frozenset(
    ("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation", "holdout")
)


def _files_of(folder: Path, source: str, split: str | None) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _is_data_file(path))
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    files = [path for path in files if path.name not in _METADATA]
    if not files:
        raise DataError(f"{source}: the folder has no data files. {_known_files()}")
    names = {path: _tokens(path.relative_to(folder)) for path in files}
    if split is None:
        return _of_one_split(files, names, source)
    chosen = [path for path in files if split in names[path]]
    chosen = chosen or [path for path in files if split in (_split_of(names[path]) or "").split("_")]
    if not chosen:
        raise DataError(
            f"{source}: no file of the folder has the split '{split}' in its name. The files are: "
            f"{', '.join(str(path.relative_to(folder)) for path in files)}. Leave --split out to read all of them, or "
            "name the file."
        )
    return chosen


def _of_one_split(files: list[Path], names: Mapping[Path, list[str]], source: str) -> list[Path]:
    """The files, unless their names say that they belong to several splits."""
    splits = list(dict.fromkeys(found for path in files if (found := _split_of(names[path])) is not None))
    if len(splits) > 1:
        raise DataError(
            f"{source}: the folder has files of {len(splits)} splits: {', '.join(splits)}. Name one of them with "
            "--split, or name the files."
        )
    return files


def _tokens(path: Path) -> list[str]:
    """
    >>> _tokens(Path("data/train_prefs-00000-of-00001.parquet"))
    ['data', 'train_prefs', '00000', 'of', '00001', 'parquet']
    """
    return re.split(r"[^A-Za-z0-9_]+", str(path))


def _split_of(tokens: Sequence[str]) -> str | None:
    """The part of a file's path that names its split: that of the file before those of folders."""
    named = (token for token in reversed(tokens) if _SPLIT_WORDS.intersection(token.lower().split("_")))
    return next(named, None)


def _is_data_file(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" or data_suffix(path) in TEXT_READERS


def _known_files() -> str:
    return f"Supported are {', '.join(TEXT_READERS)} (also with {', '.join(COMPRESSIONS)}) and .parquet."
