"""The model card of a run: README.md with YAML front matter that the hub accepts, from the run's own facts."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from preftune.files.json_files import write_whole
from preftune.losses import Method
from preftune.runs.data_report import PartReport
from preftune.runs.folder import Environment
from preftune.runs.result import RunResult
from preftune.settings import TrainConfig
from preftune.settings.config import yaml_line

__all__ = ["CARD", "Card", "model_card", "write_model_card"]

CARD = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Facts of a model card.

    Args:
        title: Name of the model.
        base: Id or path of the model that was tuned; empty if it has none.
        is_lora: The model is an adapter.
        data: Ids or paths of the data.
        tags: Further tags.
        parts: Reports of the parts of the data, by name.
        batch_size: Pairs, completions or prompts of a step.
    """

    title: str
    base: str
    is_lora: bool
    method: Method
    data: Sequence[str]
    parts: Mapping[str, PartReport]
    num_steps: int
    batch_size: int
    learning_rate: float
    seed: int
    tags: Sequence[str] = ()

    def front_matter(self) -> Iterator[str]:
        """The YAML block that the hub reads. Local paths are not written as names on the hub."""
        yield "---"
        yield f"library_name: {'peft' if self.is_lora else 'transformers'}"
        gives_rewards = self.method.needs("rewards")
        yield f"pipeline_tag: {'text-classification' if gives_rewards else 'text-generation'}"
        if self.base and not _is_local(self.base):
            yield yaml_line("base_model", self.base)
        sources = [name for name in self.data if not _is_local(name) and name.count("/") == 1]
        if sources:
            yield yaml_line("datasets", sources)
        kind = "sft" if self.method.feedback == "demonstrations" else "preference-tuning"
        tags = ["preftune", "reward-model" if gives_rewards else kind, *(["lora"] if self.is_lora else []), *self.tags]
        yield yaml_line("tags", list(dict.fromkeys(tags)))
        yield "---"

    def body(self, environment: Environment) -> Iterator[str]:
        """Title, method, data, steps and versions as Markdown."""
        yield f"# {self.title}"
        yield ""
        whole = "A reward model made of" if self.method.needs("rewards") else "A model tuned from"
        kind = "A LoRA adapter for" if self.is_lora else whole
        base = f"`{_shown(self.base)}`" if self.base else "a model without a name"
        yield f"{kind} {base}, trained with preftune by the method `{self.method.name}`."
        yield ""
        yield "| | |"
        yield "|---|---|"
        for name, value in self.method.options.items():
            yield f"| {name} | {value} |"
        if self.data:
            yield f"| data | {', '.join(f'`{_shown(name)}`' for name in self.data)} |"
        for name, part in self.parts.items():
            yield f"| {name} | {part.num_prompts:,} prompts, {part.num_pairs:,} pairs, {part.num_tokens:,} tokens |"
        rate = f"learning rate {self.learning_rate:g}"
        yield f"| steps | {self.num_steps:,}, batch size {self.batch_size}, {rate} |"
        yield f"| seed | {self.seed} |"
        versions = ", ".join(f"{name} {found}" for name, found in environment.versions.items() if found)
        yield f"| versions | Python {environment.python}, {versions} |"


def write_model_card(config: TrainConfig, result: RunResult, environment: Environment) -> None:
    """Write the card into the folder of the run.

    Raises:
        SaveError: it cannot be written.
    """
    write_whole(Path(config.output.output) / CARD, model_card(config, result, environment))


def model_card(config: TrainConfig, result: RunResult, environment: Environment) -> str:
    """The card of a run as Markdown."""
    card = Card(
        title=Path(config.output.output).resolve().name,
        base=config.model.model,
        is_lora=config.adapter.lora,
        method=config.method,
        data=config.data.data,
        parts=result.data,
        num_steps=result.num_steps,
        batch_size=config.steps.batch_size,
        learning_rate=config.learning_rate,
        seed=config.steps.seed,
    )
    return "\n".join([*card.front_matter(), "", *card.body(environment), "", *_sections(result, environment)]) + "\n"


def _sections(result: RunResult, environment: Environment) -> Iterator[str]:
    yield "## Result"
    yield ""
    if result.verdict is not None:
        for line in result.verdict.lines():
            yield line.strip()
            yield ""
    yield "## Command"
    yield ""
    program, *arguments = environment.command or ("preftune",)
    yield f"    {shlex.join([Path(program).name, *map(_shown, arguments)])}"


def _is_local(name: str) -> bool:
    with suppress(OSError):  # longer than a name of a file may be, for example
        if Path(name).exists():
            return True
    return name.startswith(("/", ".", "~"))


def _shown(name: str) -> str:
    """A name for people: of a local path, the last part."""
    return Path(name).name if _is_local(name) else name
