import io
from pathlib import Path

from rich.console import Console

from preftune.runs.callbacks import WARNING
from preftune.sweep.run_point import logging_console


def test_a_log_repeats_warnings_on_the_console_with_the_name_of_the_run(tmp_path: Path) -> None:
    shown = io.StringIO()
    with logging_console(tmp_path, "beta=0.1", Console(file=shown)) as log:
        log.print("step 1", style="yellow")
        log.print("a cache is broken", style=WARNING)
    assert shown.getvalue() == "beta=0.1: a cache is broken\n"
    assert (tmp_path / "logs" / "beta=0.1.log").read_text() == "step 1\na cache is broken\n"
