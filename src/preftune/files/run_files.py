"""Names of the files in a run folder, and tests for run folders and checkpoints."""

from pathlib import Path

from preftune.files.outputs import is_leftover

CARD = "README.md"
CHAT = "chat.json"
CONFIG = "config.yaml"
CONFIG_START = "# Method\n"
"""First line of a run's `config.yaml`."""
ENVIRONMENT = "run.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
DATA_CHECK = "data-check.json"
HEALTH = "health.json"
SUMMARY = "summary.json"
EVALUATION = "evaluation.json"
REPORT = "report.html"
TRAINER_STATE = "trainer_state.json"
"""The last file that the trainer writes into a checkpoint: one without it is incomplete."""

_CHECKPOINT = "checkpoint-"


def is_run(folder: Path) -> bool:
    """True if a folder belongs to a run of this package; other tools write a `config.yaml`, too, but no `run.json`."""
    return (folder / CONFIG).is_file() and (folder / ENVIRONMENT).is_file()


def is_barely_begun(folder: Path) -> bool:
    """True if a run was killed while it emptied the folder or wrote its first files, so that nothing is in it yet.

    A `config.yaml` of another tool does not count: a run's begins with its method.
    """
    if not folder.is_dir() or is_run(folder):
        return False
    inside = [path for path in folder.iterdir() if not is_leftover(path)]
    return bool(inside) and all(
        path.name == ENVIRONMENT or (path.name == CONFIG and path.is_file() and _is_config_of_run(path))
        for path in inside
    )


def _is_config_of_run(file: Path) -> bool:
    """True for a `config.yaml` of a run, or one that was not written before the kill."""
    content = file.read_bytes()
    return not content or content.startswith(CONFIG_START.encode())


def is_checkpoint(folder: Path) -> bool:
    """True if a folder has the name of a checkpoint.

    >>> is_checkpoint(Path("run/checkpoint-40")), is_checkpoint(Path("run/checkpoint-last"))
    (True, False)
    """
    return checkpoint_step(folder) >= 0


def checkpoint_step(folder: Path) -> int:
    """Optimizer steps before a checkpoint; -1 for other folders.

    >>> checkpoint_step(Path("run/checkpoint-40")), checkpoint_step(Path("run/plots"))
    (40, -1)
    """
    step = folder.name.removeprefix(_CHECKPOINT)
    return int(step) if folder.name.startswith(_CHECKPOINT) and step.isdecimal() else -1
