"""`preftune train`: tune a model by any method."""

from preftune.cli.tuning import tuning_command

__all__ = ["command"]

command = tuning_command(
    "train",
    """Tune a model by any method on preference data.

    preftune train --model MODEL --data prefs.jsonl --output run

    All settings can stand in a YAML file, under the names of the flags with _ for -. Every run writes its own,
    config.yaml in the output folder, which repeats it.
    """,
)
