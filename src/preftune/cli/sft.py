"""`preftune sft`: tune a model to imitate completions."""

from preftune.cli.tuning import tuning_command

__all__ = ["command"]

command = tuning_command(
    "sft",
    """Tune a model to imitate completions (supervised fine-tuning).

    preftune sft --model MODEL --data demonstrations.jsonl --output run

    Of preference data, the chosen completions are imitated. Only completions are learned, not prompts.
    """,
    method="sft",
)
