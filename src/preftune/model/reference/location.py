"""Where log-probs are kept."""

import os
from pathlib import Path

import platformdirs

__all__ = ["FOLDER_VARIABLE", "store_path"]

FOLDER_VARIABLE = "PREFTUNE_CACHE"
"""Environment variable that names another folder than the user's cache."""
_FILE = "reference-logps.sqlite"


def store_path() -> Path:
    """The file of reference log-probs of this user. It need not be there."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder).expanduser() if folder else platformdirs.user_cache_path("preftune", appauthor=False)) / _FILE
