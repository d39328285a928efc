import logging
import warnings

import pytest
from transformers.utils import logging as transformers_logging

from preftune.cli.console import quiet_libraries


def test_libraries_are_quiet_inside_and_as_they_were_outside() -> None:
    logger = logging.getLogger("transformers")
    level, shows_progress = logger.level, transformers_logging.is_progress_bar_enabled()
    with quiet_libraries(verbose=False):
        warnings.warn("nobody needs to know", stacklevel=1)
        assert not logger.isEnabledFor(logging.WARNING)
        assert not transformers_logging.is_progress_bar_enabled()
    assert (logger.level, transformers_logging.is_progress_bar_enabled()) == (level, shows_progress)


def test_verbose_lets_everything_through() -> None:
    with quiet_libraries(verbose=True), pytest.warns(UserWarning, match="good to know"):
        warnings.warn("good to know", stacklevel=1)
