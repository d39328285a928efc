"""Completions of one or two models, on the console or in a file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from preftune.errors import OutputError, SaveError
from preftune.groups import Text
from preftune.model.generation.completions import Generation
from preftune.model.generation.prompt_text import text_of

__all__ = ["ModelCompletions", "check_file", "show", "write"]


@dataclass(frozen=True, slots=True)
class ModelCompletions:
    """What one model gave: per prompt its completions.

    Args:
        model: Hub id or folder.
        generations: By prompt, then by sample.
        strength: They are of the mix of the model's reference (0) and the model (1); None: of the model.
    """

    model: str
    generations: Sequence[Sequence[Generation]]
    strength: float | None = None

    def __str__(self) -> str:
        """For people."""
        return self.model if self.strength is None else f"{self.model}, strength {self.strength:g}"


def show(console: Console, prompts: Sequence[Text], models: Sequence[ModelCompletions]) -> None:
    """Print the completions: of one model below each prompt, of two side by side."""
    if len(models) == 1:
        _show_one(console, prompts, models[0])
    else:
        console.print(_side_by_side(prompts, models))


def check_file(path: Path, *, overwrite: bool) -> None:
    """Make sure that the file may be written.

    Raises:
        OutputError: it is there already and must not be overwritten, or cannot be written.
    """
    if path.exists() and not overwrite:
        raise OutputError(
            f"output = {path}: is there already. Replace it with --overwrite, or name another file with --output."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise OutputError(
            f"output = {path}: cannot be written ({error.strerror}). Name another file with --output."
        ) from None


def write(path: Path, prompts: Sequence[Text], models: Sequence[ModelCompletions]) -> int:
    """Write a JSON line per completion, prompt by prompt. Returns how many.

    Raises:
        SaveError: the disk is full, for example.
    """
    lines = [json.dumps(line, ensure_ascii=False) for line in _lines(prompts, models)]
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise SaveError(f"output = {path}: could not be written ({error.strerror}). Free some space.") from error
    return len(lines)


def _lines(prompts: Sequence[Text], models: Sequence[ModelCompletions]) -> Iterator[dict[str, Any]]:
    for index, prompt in enumerate(prompts):
        for model in models:
            for generation in model.generations[index]:
                yield {
                    "model": model.model,
                    **({} if model.strength is None else {"strength": model.strength}),
                    "prompt": prompt if isinstance(prompt, str) else [message.as_dict() for message in prompt],
                    "completion": generation.text,
                    "num_tokens": len(generation.completion_ids),
                    "finished": generation.finished,
                }


def _show_one(console: Console, prompts: Sequence[Text], model: ModelCompletions) -> None:
    for prompt, generations in zip(prompts, model.generations, strict=True):
        console.print(RichText(text_of(prompt), style="bold"), soft_wrap=True)
        for generation in generations:
            console.print(_completion(generation), soft_wrap=True)
            console.print()


def _side_by_side(prompts: Sequence[Text], models: Sequence[ModelCompletions]) -> Table:
    table = Table(show_lines=True, expand=True, header_style="bold")
    table.add_column("prompt", overflow="fold", ratio=1)
    for model in models:
        table.add_column(RichText(str(model)), overflow="fold", ratio=2)
    for index, prompt in enumerate(prompts):
        for sample in range(len(models[0].generations[index])):
            first = RichText(text_of(prompt) if sample == 0 else "")
            table.add_row(first, *(_completion(model.generations[index][sample]) for model in models))
    return table


def _completion(generation: Generation) -> RichText:
    return RichText.assemble(generation.text.strip("\n"), ("" if generation.finished else " ...", "dim"))
