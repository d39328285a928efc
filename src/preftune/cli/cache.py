"""`preftune cache`: show and clear the cache of reference log-probs."""

from pathlib import Path

import rich_click as click

from preftune.cli.console import main_console
from preftune.cli.options import output_flags
from preftune.errors import BrokenCacheError, CacheError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@click.group("cache")
def command() -> None:
    """Show or clear the cache of reference log-probs.

    The cache is one file in the user's cache folder, or in the folder set by PREFTUNE_CACHE. The reference model runs
    once on each completion; later runs on the same data read the log-probs from the cache.
    """


@command.command("info")
def info(verbose: bool) -> None:  # noqa: ARG001
    """Show the path and size of the cache, and its number of entries for each model."""
    from rich.table import Table

    from preftune.model.reference.store import LogpStore, files_of, store_path

    path, console = store_path(), main_console()
    if not path.exists():
        console.print(f"{path}: does not exist; nothing is stored", highlight=False, markup=False, soft_wrap=True)
        return
    try:
        store = LogpStore(path)
        models = store.models()
        store.close()
    except BrokenCacheError as error:
        raise BrokenCacheError(f"{error} The next run renames it; `preftune cache clear` deletes it.") from None
    total = sum(model.num_logps for model in models)
    by_token = sum(model.num_token_logps for model in models)
    counts = f"log-probs: {total:,}; models: {len(models):,}; completions with log-probs per token: {by_token:,}"
    console.print(f"{path}: {_size(files_of(path))}; {counts}", highlight=False, markup=False, soft_wrap=True)
    table = Table("model", "computed with", "log-probs", "per token", "since (UTC)")
    for model in models:
        numbers = (f"{model.num_logps:,}", f"{model.num_token_logps:,}")
        table.add_row(model.name, model.description, *numbers, model.added)
    if models:
        console.print(table)


@command.command("clear")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def clear(yes: bool, verbose: bool) -> None:  # noqa: ARG001
    """Delete the cache and any damaged copies.

    Runs in progress continue, but do not store what they compute from then on.
    """
    from preftune.model.reference.store import broken_files_of, files_of, store_path

    path, console = store_path(), main_console()
    files = [*files_of(path), *broken_files_of(path)]
    if not files:
        console.print(f"{path}: does not exist; nothing is stored", highlight=False, markup=False, soft_wrap=True)
        return
    if not yes:
        click.confirm(f"Delete {path} ({_size(files)})?", abort=True)
    try:
        for file in files:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(f"{path}: cannot be deleted ({error.strerror}).") from error
    console.print(f"{path}: deleted", highlight=False, markup=False, soft_wrap=True)


def _size(files: list[Path]) -> str:
    """Bytes for people.

    >>> _size([])
    '0 B'
    """
    size, unit = float(sum(file.stat().st_size for file in files)), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}"


for _command in (info, clear):
    _command.params += output_flags()
