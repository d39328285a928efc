"""Other libraries' progress bars, warnings and log lines, kept off the console."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_libraries"]

_LOGGERS = ("accelerate", "datasets", "huggingface_hub", "peft", "torch", "transformers")


@contextmanager
def quiet_libraries(*, verbose: bool) -> Iterator[None]:
    """Only errors get through, and progress bars of downloads from the hub.

    Args:
        verbose: Let everything through.
    """
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
