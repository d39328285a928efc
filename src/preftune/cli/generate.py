"""`preftune generate`: completions of prompts by a model."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from preftune.cli.console import loading, main_console, quiet_libraries
from preftune.cli.options import Place, chosen_model, given_values, model_flags, output_flags, setting_flags
from preftune.errors import ConfigError, SaveError
from preftune.evaluation.prompts import read_prompts
from preftune.files.outputs import check_output
from preftune.files.terminal import printable
from preftune.groups import Prompt
from preftune.settings import ModelSettings, TrainConfig, build_section, settings_of
from preftune.settings.config import expanded
from preftune.settings.evaluation_config import chat_of, run_of
from preftune.settings.evaluation_sections import MemorySettings
from preftune.settings.sampling import Sampling, strength_problems
from preftune.settings.setting import settings_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from preftune.model.generation.completions import Generation

_PROMPTS, _RESULT = "Prompts", "Result"


@click.command("generate")
@click.option(
    "--compare",
    type=Place(),
    metavar="MODEL",
    panel="Model",
    help="Second model to show side by side: hub id or folder.",
)
@click.option(
    "--strength",
    type=float,
    panel="Model",
    help="Sample from a mix of reference and model: 0 is the reference, 1 the model, above 1 extrapolates.",
)
@click.option(
    "--reference",
    type=Place(),
    metavar="MODEL",
    panel="Model",
    help="Reference model for --strength. Default: the starting model of a run, the base model of an adapter.",
)
@click.option("--prompt", multiple=True, panel=_PROMPTS, help="Prompt to complete. May be repeated.")
@click.option(
    "--prompts",
    type=Place(),
    metavar="FILE",
    panel=_PROMPTS,
    help="File of prompts: .txt with one per line, or a data file whose rows have a prompt.",
)
@click.option(
    "--output",
    type=Place(),
    metavar="FILE.jsonl",
    panel=_RESULT,
    help="Write completions to this file, one JSON object per line, instead of printing them.",
)
@click.option(
    "--overwrite/--no-overwrite", default=False, panel=_RESULT, help="Replace an existing output file. Default: off."
)
@click.pass_context
def command(context: click.RichContext, /, **values: Any) -> None:
    """Generate completions of prompts.

    preftune generate --model run --prompt "The film was" --compare gpt2

    preftune generate --model run --prompt "The film was" --strength 0.5
    """
    model, sampling, mix, prompts = _checked(context, values)
    with quiet_libraries(verbose=values["verbose"]):
        from preftune.data.tokens.chat import ChatFormat
        from preftune.model.load.load_model import load_other_tokenizer, load_tokenizer

        output = Path(values["output"]) if values["output"] is not None else None
        if output is not None:
            check_output("output", output, overwrite=values["overwrite"])
        tokenizer = load_tokenizer(model)
        chat = ChatFormat.of(tokenizer, model.chat_choice).line(prompt.text for prompt in prompts)
        _say(chat)
        is_given = given_values(context, ["max_new_tokens"])
        fitting = partial(_continue, shorten=None if is_given else _say, batch_tokens=values["batch_tokens"])
        found = [fitting(model, tokenizer, prompts, sampling, mix=mix)]
        if values["compare"] is not None:
            other = replace(model, model=values["compare"], revision=None)
            of_other = load_other_tokenizer(other, tokenizer)
            found.append(fitting(other, of_other, prompts, sampling))
        if output is None:
            show(main_console(), prompts, found)
        else:
            count = write(output, prompts, found)
            main_console().print(f"{output}: {count:,} completions", highlight=False, markup=False, soft_wrap=True)


_DEFAULTS = {"max_new_tokens": 128}
"""Defaults of this command that differ from those of `Sampling`."""

_SAMPLING = [replace(item, default=_DEFAULTS.get(item.name, item.default)) for item in settings_of(Sampling)]
_MEMORY = settings_for("generate", MemorySettings)
command.params = [
    *model_flags("generate"),
    *command.params,
    *setting_flags([*_SAMPLING, *_MEMORY], panel=Sampling.title),
    *output_flags(),
]


@dataclass(frozen=True, slots=True)
class _Mix:
    """The mix of `--strength`. `run` holds the settings of the run that trained the model; None if no run did."""

    strength: float
    reference: str | None
    run: TrainConfig | None


def _checked(
    context: click.Context, values: dict[str, Any]
) -> tuple[ModelSettings, Sampling, _Mix | None, list[Prompt]]:
    """Model, sampling, mix and prompts, all checked before a model is loaded."""
    problems: list[str] = []
    run, chat = _run_of(values, problems)
    model = chosen_model(context, problems, chat)
    problems += check_prompt_sources(values["prompt"], values["prompts"])
    sampling = build_section(Sampling, values, problems)
    build_section(MemorySettings, given_values(context, [item.name for item in _MEMORY]), problems)
    mix = _checked_mix(values, run, problems)
    if problems or model is None:
        raise ConfigError(problems)
    return model, sampling, mix, list(map(Prompt, values["prompt"])) or read_prompts(values["prompts"])


def _run_of(values: dict[str, Any], problems: list[str]) -> tuple[TrainConfig | None, dict[str, Any]]:
    """The settings of the run that the model is of, and the chat settings that it was trained with.

    Messages about what cannot work are added to `problems`.
    """
    place = str(expanded(values["model"] or ""))
    try:
        return run_of(place), chat_of(place)
    except ConfigError as error:
        problems += error.problems
        return None, {}


def _checked_mix(values: dict[str, Any], run: TrainConfig | None, problems: list[str]) -> _Mix | None:
    """The mix, or None. Messages about what cannot work are added to `problems`."""
    strength, reference = values["strength"], values["reference"]
    if strength is None:
        if reference is not None:
            problems.append(f"reference = {reference}: is what --strength mixes in. Set that, or leave it out.")
        return None
    problems += strength_problems(strength)
    if reference == "none":
        problems.append(f"strength = {strength:g}: mixes in the reference, and reference is none. Leave one out.")
    return _Mix(strength, reference, run)


def _say(line: str) -> None:
    main_console().print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def _continue(
    settings: ModelSettings,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    batch_tokens: int,
    mix: _Mix | None = None,
    shorten: Callable[[str], None] | None,
) -> "ModelCompletions":
    import torch

    with loading():
        from preftune.model.forward.arithmetic import Arithmetic
        from preftune.model.generation.completions import generate
        from preftune.model.load.evaluated_models import find_reference, realignment_with
        from preftune.model.load.load_model import load_causal_lm

    model = load_causal_lm(settings)
    arithmetic = Arithmetic.of(settings)
    torch.nn.Module.to(model, arithmetic.device)
    realignment = None
    if mix is not None:
        reference, _ = find_reference(model, settings, mix.run, mix.reference, arithmetic)
        realignment = realignment_with(reference, mix.strength, model, tokenizer, settings)
    console = main_console()
    shows = len(prompts) > 1 and console.is_terminal and not console.quiet
    generations = generate(
        model,
        tokenizer,
        prompts,
        chat=settings.chat_choice,
        **asdict(sampling),
        batch_tokens=batch_tokens,
        realignment=realignment,
        show_progress=shows,
        shorten=shorten,
    )
    return ModelCompletions(settings.model, generations, None if mix is None else mix.strength)


@dataclass(frozen=True, slots=True)
class ModelCompletions:
    """Completions of one model, by prompt.

    Args:
        model: Hub id or folder.
        generations: By prompt, then by sample.
        strength: They are of the mix of the model's reference (0) and the model (1); None: of the model.
    """

    model: str
    generations: "Sequence[Sequence[Generation]]"
    strength: float | None = None

    def __str__(self) -> str:
        return self.model if self.strength is None else f"{self.model}, strength {self.strength:g}"


def show(console: Console, prompts: Sequence[Prompt], models: Sequence[ModelCompletions]) -> None:
    """Print the completions: of one model below each prompt, of two side by side."""
    if len(models) == 1:
        _show_one(console, prompts, models[0])
    else:
        console.print(_side_by_side(prompts, models))


def write(path: Path, prompts: Sequence[Prompt], models: Sequence[ModelCompletions]) -> int:
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


def _lines(prompts: Sequence[Prompt], models: Sequence[ModelCompletions]) -> Iterator[dict[str, Any]]:
    for index, prompt in enumerate(item.text for item in prompts):
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


def _show_one(console: Console, prompts: Sequence[Prompt], model: ModelCompletions) -> None:
    from preftune.model.generation.prompts import text_of

    for prompt, generations in zip(prompts, model.generations, strict=True):
        console.print(RichText(printable(text_of(prompt.text)), style="bold"), soft_wrap=True)
        for generation in generations:
            console.print(_completion(generation), soft_wrap=True)
            console.print()


def _side_by_side(prompts: Sequence[Prompt], models: Sequence[ModelCompletions]) -> Table:
    from preftune.model.generation.prompts import text_of

    table = Table(show_lines=True, expand=True, header_style="bold")
    table.add_column("prompt", overflow="fold", ratio=1)
    for model in models:
        table.add_column(RichText(printable(str(model))), overflow="fold", ratio=2)
    for index, prompt in enumerate(prompts):
        for sample in range(len(models[0].generations[index])):
            first = RichText(printable(text_of(prompt.text)) if sample == 0 else "")
            table.add_row(first, *(_completion(model.generations[index][sample]) for model in models))
    return table


def _completion(generation: "Generation") -> RichText:
    from preftune.model.generation.prompts import note_on_empty

    if note := note_on_empty(generation.text, finished=generation.finished):
        return RichText(note, style="dim")
    return RichText.assemble(printable(generation.text.strip("\n")), ("" if generation.finished else " ...", "dim"))


def check_prompt_sources(prompts: Sequence[str], file: str | None) -> Iterator[str]:
    """Messages about the source of the prompts: exactly one of both must be given."""
    if prompts and file is not None:
        yield "prompt and prompts: both say what to continue. Give one of them."
    if not prompts and file is None:
        yield "prompt: is not given. Give a text with --prompt or a file with --prompts."
    if any(not prompt for prompt in prompts):
        yield "prompt: is empty. Give some text to continue."
