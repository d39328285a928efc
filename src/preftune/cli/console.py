"""The terminal: who writes to it, which messages of other libraries get through, and how errors look."""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from preftune.cli.bug_report import BUG, bug_message, trouble_message, write_bug_report
from preftune.errors import ConfigError, DataError, ModelError, OutputError, PreftuneError, TokenizerError, names_flags
from preftune.files.terminal import PlainConsole

SICK = 3
"""Exit code of a run that `--stop-on-sick` ended."""

INTERRUPTED = 130
"""Exit code of what a signal ended, as shells have it."""

_WRONG_INPUT = (ConfigError, DataError, ModelError, OutputError, TokenizerError)
_TRACEBACK, _OUTPUT = "preftune.traceback", "preftune.output"


def exit_code(error: PreftuneError) -> int:
    """2 for what was asked for wrongly, 1 for what failed on the way.

    >>> exit_code(ConfigError(["beta = -1: must be above 0."])), exit_code(PreftuneError("no space left"))
    (2, 1)
    """
    return 2 if isinstance(error, _WRONG_INPUT) else 1


def ask_for_traceback(context: click.Context, _option: click.Parameter, value: bool) -> None:
    """Callback of the option `--traceback`."""
    context.meta[_TRACEBACK] = value


class ReportingGroup(click.RichGroup):
    """A group whose subcommands may raise anything. Every error becomes a message and an exit code."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        token = names_flags.set(True)
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            from preftune.settings.foreign import foreign_hint  # its package takes seconds to import

            hint = foreign_hint(error.option_name, lambda own: "--" + own.replace("_", "-"))
            if not hint:
                raise
            _report(ConfigError([f"{error.option_name}: there is no such option. {hint}"]), with_traceback=False)
            ctx.exit(2)
        except PreftuneError as error:
            _report(error, with_traceback=ctx.meta.get(_TRACEBACK, False))
            ctx.exit(exit_code(error))
        except (click.ClickException, Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            ctx.exit(_report_unexpected(error, ctx))
        except KeyboardInterrupt:
            _console().print("Stopped.", style="bold yellow")
            ctx.exit(INTERRUPTED)
        finally:
            names_flags.reset(token)


def _report(error: PreftuneError, *, with_traceback: bool) -> None:
    # What is asked for wrongly all processes of a run find out; what fails on the way may be seen by one alone.
    if not is_main_process() and (error.is_of_main or exit_code(error) == 2):
        return
    if with_traceback:
        traceback.print_exception(error)
    _console().print(Text.assemble((f"{process_name()}Error: ", "bold red"), (str(error), "red")), soft_wrap=True)


def note_output(context: click.Context, output: object) -> None:
    """Note the output folder of a command, for the report of a bug in it."""
    context.meta[_OUTPUT] = Path(output) if isinstance(output, str) else None


def _report_unexpected(error: Exception, context: click.Context) -> int:
    """Report trouble of the machine, or a bug with a file of its details. Returns the exit code."""
    output = context.meta.get(_OUTPUT)
    if context.meta.get(_TRACEBACK, False):
        traceback.print_exception(error)
    trouble = trouble_message(error, output)
    message = trouble or bug_message(error, write_bug_report(error, output), output)
    _console().print(Text.assemble((f"{process_name()}Error: ", "bold red"), (message, "red")), soft_wrap=True)
    return BUG if trouble is None else 1


def _console() -> Console:
    return PlainConsole(stderr=True, highlight=False)


def is_main_process() -> bool:
    """True in the first or only process of a run, which writes to the terminal."""
    return os.environ.get("RANK", "0") == "0"


def process_name() -> str:
    """Prefix of messages of a process that is not the first."""
    return "" if is_main_process() else f"process {os.environ['RANK']}: "


def main_console() -> Console:
    """Standard output in the main process, silence in others."""
    return PlainConsole(quiet=not is_main_process())


@contextmanager
def loading() -> Iterator[None]:
    """Names the import of heavy libraries, which takes seconds, on standard error of the main process.

    A terminal shows it while it lasts. Other outputs get a line, once.
    """
    if "transformers" in sys.modules or not is_main_process():
        yield
        return
    console = _console()
    text = "loading libraries ..."
    if console.is_terminal:
        with console.status(text):
            yield
        return
    if "torch" not in sys.modules:
        console.print(text)
    yield


_LOGGERS = ("accelerate", "datasets", "huggingface_hub", "peft", "torch", "transformers")


@contextmanager
def quiet_libraries(*, verbose: bool) -> Iterator[None]:
    """Only errors get through, and progress bars of downloads from the hub."""
    if verbose:
        yield
        return
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    hub_shows_progress = not are_progress_bars_disabled()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    shows_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    if hub_shows_progress:
        enable_progress_bars()
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if shows_progress:
            transformers_logging.enable_progress_bar()
