"""Places of models: local folders and hub ids, and what is wrong with one that cannot be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preftune.errors import ModelError, PreftuneError, first_line
from preftune.files.exhausted import exhausted

_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 1024
"""Git LFS pointers are smaller."""
_ADVICE = "Give a folder with config.json and weights, or a hub id of a model that transformers can load."


def check_place(name: str, setting: str = "model") -> None:
    """Check that a folder exists if `name` is a path, and that its files are not pointers of Git LFS.

    Args:
        name: Local folder or hub id.
        setting: Name of the setting, for the message.
    Raises:
        ModelError: there is no such folder, or its files were never fetched.
    """
    folder = Path(name)
    if not folder.exists():
        if _is_path(name):
            raise ModelError(f"{setting} = {name}: there is no such folder. Correct the path{_looked_up(folder)}.")
        return
    if not folder.is_dir():
        raise ModelError(f"{setting} = {name}: is a file. Name the folder that holds the model.")
    pointers = [path.name for path in sorted(folder.iterdir()) if _is_pointer(path)]
    if pointers:
        raise ModelError(
            f"{setting} = {name}: {pointers[0]} is a pointer of Git LFS, not the file itself. Fetch the files with "
            f"`git lfs pull` in that folder."
        )


@contextmanager
def loading(name: str, setting: str = "model", *, what: str = "causal language model") -> Iterator[None]:
    """Turn whatever a library raises while it loads a model into a `ModelError`.

    Raises:
        ModelError: it cannot be loaded.
    """
    try:
        check_place(name, setting)
        yield
    except PreftuneError:
        raise
    except Exception as error:  # files of any kind are read, and code of any model may run
        raise not_loadable(name, error, setting, what=what) from error


def not_loadable(
    name: str, error: Exception, setting: str = "model", *, what: str = "causal language model"
) -> ModelError:
    """The error of a model that exists, but cannot be loaded; or that may be on the hub, but cannot be found there."""
    if exhausted(error) == "memory":
        return ModelError(
            f"{setting} = {name}: there is not enough memory to load it ({first_line(error)}). Free some memory, load "
            "it with --weights-dtype bfloat16, or use a smaller model."
        )
    if Path(name).exists():
        return ModelError(f"{setting} = {name}: no {what} could be loaded from it ({first_line(error)}). {_ADVICE}")
    return ModelError(
        f"{setting} = {name}: there is no such folder here, and no {what} of this name could be loaded from the hub "
        f"({first_line(error)}). Correct the path, or check the hub id and the connection to huggingface.co."
    )


def lasting_name(name: str) -> str:
    """The name under which a model is found from every folder: absolute for a local one."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def is_same_place(one: str, other: str) -> bool:
    """True if two names mean one folder or hub id."""
    return lasting_name(one) == lasting_name(other)


def _is_path(name: str) -> bool:
    """True if a name cannot be a hub id, which is NAME or OWNER/NAME."""
    return name.startswith((".", "~", "/")) or name.count("/") > 1 or name.endswith("/") or "\\" in name


def _looked_up(folder: Path) -> str:
    return "" if folder.is_absolute() else f"; it is looked up from {Path.cwd()}"


def _is_pointer(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > _POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER
