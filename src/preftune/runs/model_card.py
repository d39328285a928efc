"""The model card of a run: README.md with YAML front matter that the hub accepts, from the run's own facts."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from preftune.files.json_files import write_whole
from preftune.runs.folder import Environment
from preftune.runs.result import RunResult
from preftune.settings import TrainConfig
from preftune.settings.config import yaml_line

__all__ = ["CARD", "model_card", "write_model_card"]

CARD = "README.md"


def write_model_card(config: TrainConfig, result: RunResult, environment: Environment) -> None:
    """Write the card into the folder of the run.

    Raises:
        SaveError: it cannot be written.
    """
    write_whole(Path(config.output.output) / CARD, model_card(config, result, environment))


def model_card(config: TrainConfig, result: RunResult, environment: Environment) -> str:
    """The card as Markdown. Local paths are not written as names on the hub."""
    return "\n".join([*_front_matter(config), "", *_body(config, result, environment)]) + "\n"


def _front_matter(config: TrainConfig) -> Iterator[str]:
    yield "---"
    yield f"library_name: {'peft' if config.adapter.lora else 'transformers'}"
    yield "pipeline_tag: text-generation"
    if not _is_local(config.model.model):
        yield yaml_line("base_model", config.model.model)
    sources = [name for name in config.data.data if not _is_local(name) and name.count("/") == 1]
    if sources:
        yield yaml_line("datasets", sources)
    tags = ["preftune", "sft" if config.method.feedback == "demonstrations" else "preference-tuning"]
    yield yaml_line("tags", [*tags, "lora"] if config.adapter.lora else tags)
    yield "---"


def _body(config: TrainConfig, result: RunResult, environment: Environment) -> Iterator[str]:
    method = config.method
    yield f"# {Path(config.output.output).resolve().name}"
    yield ""
    kind = "A LoRA adapter for" if config.adapter.lora else "A model tuned from"
    yield f"{kind} `{_shown(config.model.model)}`, trained with preftune by the method `{method.name}`."
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in method.options.items():
        yield f"| {name} | {value} |"
    yield f"| data | {', '.join(f'`{_shown(name)}`' for name in config.data.data)} |"
    for name, part in result.data.items():
        yield f"| {name} | {part.num_prompts:,} prompts, {part.num_pairs:,} pairs, {part.num_tokens:,} tokens |"
    rate = f"learning rate {config.learning_rate:g}"
    yield f"| steps | {result.num_steps:,}, batch size {config.steps.batch_size}, {rate} |"
    yield f"| seed | {config.steps.seed} |"
    versions = ", ".join(f"{name} {found}" for name, found in environment.versions.items() if found)
    yield f"| versions | Python {environment.python}, {versions} |"
    yield ""
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
    return Path(name).exists() or name.startswith(("/", ".", "~"))


def _shown(name: str) -> str:
    """A name for people: of a local path, the last part."""
    return Path(name).name if _is_local(name) else name
