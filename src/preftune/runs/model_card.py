"""The model card of a model folder: README.md with YAML front matter that the hub accepts, from the run's own facts."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from preftune.files.json_files import write_whole
from preftune.files.run_files import CARD, checkpoint_step
from preftune.losses import Method
from preftune.runs.data_report import PartReport
from preftune.runs.folder import Environment, RunFolder
from preftune.runs.result import RunResult
from preftune.settings import TrainConfig
from preftune.settings.config import yaml_line
from preftune.settings.evaluation_config import run_of

_MARK = "<!-- Written by preftune, again with each save. A card without this line stays as it is. -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """A card. Local paths are shown by their last part, and are not written as names on the hub.

    Args:
        title: Name of the model.
        about: One sentence on what the model is.
        base_model: Hub id or path of the model that was tuned; empty if unknown.
        data: Names of the data.
        gives_rewards: The model is a reward model.
        is_adapter: The folder holds an adapter, not a whole model.
        tags: Tags on the hub, beside `preftune`.
        facts: Rows of the table, such as steps and options.
        result: Paragraphs on what was measured.
        command: Program and arguments; empty if there was no command.
    """

    title: str
    about: str
    base_model: str = ""
    data: Sequence[str] = ()
    gives_rewards: bool = False
    is_adapter: bool = False
    tags: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    result: Sequence[str] = ()
    command: Sequence[str] = ()

    @staticmethod
    def of_run(
        config: TrainConfig, result: RunResult | None, environment: Environment | None, *, num_steps: int
    ) -> "ModelCard":
        """The card of a run after `num_steps` steps; `result` is None for a checkpoint, which has none of its own."""
        method, is_adapter = config.method, config.adapter.lora
        rate = f"learning rate {config.learning_rate:g}"
        facts: dict[str, object] = {
            **method.options,
            "data": ", ".join(f"`{_shown(name)}`" for name in config.data.data),
            **({} if result is None else data_facts(result.data)),
            "steps": f"{num_steps:,}, batch size {config.steps.batch_size}, {rate}",
            "seed": config.steps.seed,
        }
        if environment is not None:
            facts["versions"] = versions_of(environment)
        verdict = None if result is None else result.verdict
        return ModelCard(
            title=Path(config.output.output).resolve().name,
            about=tuned_from(config.model.model, method, is_adapter=is_adapter),
            base_model=config.model.model,
            data=config.data.data,
            is_adapter=is_adapter,
            gives_rewards=method.needs("rewards"),
            tags=[topic_of(method), *(["lora"] if is_adapter else [])],
            facts=facts,
            result=() if verdict is None else [line.strip() for line in verdict.lines()],
            command=() if environment is None else environment.command,
        )

    @staticmethod
    def of_merged(adapter: str, output: Path, *, base_model: str) -> "ModelCard":
        """The card of an adapter that was merged into its base model, with the facts of its run if it has one.

        Args:
            adapter: Hub id of the adapter, or its folder, or the folder of a checkpoint.
            output: Folder of the merged model.
            base_model: Hub id or folder of the base model.
        """
        about = f"The adapter `{_shown(adapter)}`, merged into its base model `{_shown(base_model)}` by preftune."
        config, card = run_of(adapter), ModelCard(title="", about="", tags=["lora"])
        if config is not None:
            step = checkpoint_step(Path(adapter))
            run = RunFolder(Path(adapter) if step < 0 else Path(adapter).resolve().parent)
            result = run.finished() if step < 0 else None
            num_steps = step if result is None else result.num_steps
            card = ModelCard.of_run(config, result, run.environment(), num_steps=max(num_steps, 0))
            about = f"{about} The adapter was trained by the method `{config.method.name}`."
        return replace(card, title=output.resolve().name, about=about, base_model=base_model, is_adapter=False)

    def text(self) -> str:
        """The card as Markdown."""
        return "\n".join([*self._front_matter(), "", *self._body(), "", _MARK]) + "\n"

    def write(self, folder: Path) -> None:
        """Write the card into a folder. A card that somebody wrote by hand stays.

        Raises:
            SaveError: it cannot be written.
        """
        path = folder / CARD
        if not path.is_file() or _MARK in path.read_text(encoding="utf-8", errors="replace"):
            write_whole(path, self.text())

    def _front_matter(self) -> Iterator[str]:
        yield "---"
        yield f"library_name: {'peft' if self.is_adapter else 'transformers'}"
        yield f"pipeline_tag: {'text-classification' if self.gives_rewards else 'text-generation'}"
        if self.base_model and not _is_local(self.base_model):
            yield yaml_line("base_model", self.base_model)
        sources = [name for name in self.data if not _is_local(name) and name.count("/") == 1]
        if sources:
            yield yaml_line("datasets", sources)
        yield yaml_line("tags", list(dict.fromkeys(["preftune", *self.tags])))
        yield "---"

    def _body(self) -> Iterator[str]:
        yield f"# {self.title}"
        yield ""
        yield self.about
        if self.facts:
            yield from ("", "| | |", "|---|---|")
            for name, value in self.facts.items():
                yield f"| {name} | {value} |"
        if self.result:
            yield from ("", "## Result")
            for paragraph in self.result:
                yield from ("", paragraph)
        if self.command:
            program, *arguments = self.command
            yield from ("", "## Command", "")
            yield f"    {shlex.join([Path(program).name, *map(_argument, arguments)])}"


def topic_of(method: Method) -> str:
    """The tag of a method."""
    if method.needs("rewards"):
        return "reward-model"
    return "sft" if method.feedback == "demonstrations" else "preference-tuning"


def tuned_from(base_model: str, method: Method, *, is_adapter: bool) -> str:
    """The sentence on a tuned model.

    >>> tuned_from("/home/ada/sft", Method.named("dpo"), is_adapter=True)
    'A LoRA adapter for `sft`, trained with preftune by the method `dpo`.'
    """
    whole = "A reward model made of" if method.needs("rewards") else "A model tuned from"
    base = f"`{_shown(base_model)}`" if base_model else "a model without a name"
    return (
        f"{'A LoRA adapter for' if is_adapter else whole} {base}, trained with preftune by the method `{method.name}`."
    )


def data_facts(parts: Mapping[str, PartReport]) -> dict[str, str]:
    """Rows of the table on the parts of the data: prompts, pairs and tokens."""
    return {
        name: f"{part.num_prompts:,} prompts, {part.num_pairs:,} pairs, {part.num_tokens:,} tokens"
        for name, part in parts.items()
    }


def versions_of(environment: Environment) -> str:
    """The versions of Python and the main packages."""
    return ", ".join(
        [
            f"Python {environment.python}",
            *(f"{name} {found}" for name, found in environment.versions.items() if found),
        ]
    )


def _is_local(name: str) -> bool:
    with suppress(OSError):  # longer than a name of a file may be, for example
        if Path(name).exists():
            return True
    return name.startswith(("/", ".", "~"))


def _shown(name: str) -> str:
    """A name for people: of a local path, the last part."""
    return Path(name).name if _is_local(name) else name


def _argument(text: str) -> str:
    """An argument of a command, `--name=value` included, with a local path by its last part.

    >>> _argument("--model=/home/ada/sft"), _argument("/home/ada/sft"), _argument("--model=org/sft")
    ('--model=sft', 'sft', '--model=org/sft')
    """
    name, equals, value = text.partition("=")
    return f"{name}={_shown(value)}" if equals and name.startswith("--") else _shown(text)
