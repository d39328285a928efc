"""`preftune generate`: let a model continue prompts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from preftune.cli.model_options import chosen_model, model_flags
from preftune.cli.noise import quiet_libraries
from preftune.cli.output_options import output_flags
from preftune.cli.processes import main_console
from preftune.cli.prompts import as_turn, check_prompt_sources
from preftune.errors import ConfigError
from preftune.evaluation.prompt_file import read_prompts
from preftune.groups import Text
from preftune.settings import ModelSettings, TrainConfig
from preftune.settings.evaluation_config import run_of
from preftune.settings.sampling import strength_problems

if TYPE_CHECKING:
    from preftune.cli.completions_output import ModelCompletions
    from preftune.settings.sampling import Sampling

__all__ = ["command"]

_PROMPTS, _SAMPLING, _RESULT = "Prompts", "Sampling", "Result"


@click.command("generate")
@click.option("--compare", metavar="MODEL", panel="Model", help="Another model, shown side by side; same kinds of id.")
@click.option(
    "--strength",
    type=float,
    panel="Model",
    help="Draw from a mix of reference and model: 0 is the reference, 1 the model, more goes beyond.",
)
@click.option(
    "--reference",
    metavar="MODEL",
    panel="Model",
    help="What --strength mixes in. Default: of a run the one that it began from, of an adapter its base model.",
)
@click.option("--prompt", multiple=True, panel=_PROMPTS, help="A text to continue; may be repeated.")
@click.option(
    "--prompts",
    metavar="FILE",
    panel=_PROMPTS,
    help="A .txt file with a prompt per line, or a data file whose rows hold a prompt.",
)
@click.option(
    "--chat/--no-chat",
    default=False,
    panel=_PROMPTS,
    help="Give text as a user's turn, through the chat template, rather than as it is. Default: off.",
)
@click.option(
    "--max-new-tokens", type=int, default=128, show_default=True, panel=_SAMPLING, help="Longest completion, in tokens."
)
@click.option(
    "--temperature",
    type=float,
    default=1.0,
    show_default=True,
    panel=_SAMPLING,
    help="Divides the logits; 0: the likeliest token each time.",
)
@click.option(
    "--top-p",
    type=float,
    default=1.0,
    show_default=True,
    panel=_SAMPLING,
    help="Only the likeliest tokens that make up this share of probability; 1: all.",
)
@click.option(
    "--top-k",
    type=int,
    default=0,
    show_default=True,
    panel=_SAMPLING,
    help="Only so many of the likeliest tokens; 0: all.",
)
@click.option("--num-samples", type=int, default=1, show_default=True, panel=_SAMPLING, help="Completions per prompt.")
@click.option("--seed", type=int, default=0, show_default=True, panel=_SAMPLING, help="Of the draws.")
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=16_384,
    show_default=True,
    panel=_SAMPLING,
    help="Memory budget of a batch, in tokens, those to be generated included.",
)
@click.option(
    "--output", metavar="FILE.jsonl", panel=_RESULT, help="Write a JSON line per completion instead of showing them."
)
@click.option("--overwrite/--no-overwrite", default=False, panel=_RESULT, help="Replace that file. Default: off.")
@click.pass_context
def command(context: click.RichContext, /, **values: Any) -> None:
    """Let a model continue prompts.

    preftune generate --model run --prompt "The film was" --compare gpt2

    preftune generate --model run --prompt "The film was" --strength 0.5
    """
    model, sampling, mix, prompts = _checked(context, values)
    with quiet_libraries(verbose=values["verbose"]):
        from preftune.cli.completions_output import check_file, show, write

        output = Path(values["output"]) if values["output"] is not None else None
        if output is not None:
            check_file(output, overwrite=values["overwrite"])
        found = [_continue(model, prompts, sampling, values["batch_tokens"], mix)]
        if values["compare"] is not None:
            other = replace(model, model=values["compare"], revision=None)
            found.append(_continue(other, prompts, sampling, values["batch_tokens"]))
        if output is None:
            show(main_console(), prompts, found)
        else:
            count = write(output, prompts, found)
            main_console().print(f"{output}: {count:,} completions", highlight=False, markup=False, soft_wrap=True)


command.params = [
    *model_flags("model", "revision", "weights_dtype", "attention", "chat_template", "trust_remote_code"),
    *command.params,
    *output_flags(),
]


@dataclass(frozen=True, slots=True)
class _Mix:
    """What `--strength` asks for.

    Args:
        strength: 0: the reference, 1: the model, more: beyond.
        reference: The model to mix in; None for that of the run or adapter.
        run: The run that the model is of; None for a model that is no run.
    """

    strength: float
    reference: str | None
    run: TrainConfig | None


def _checked(
    context: click.Context, values: dict[str, Any]
) -> tuple[ModelSettings, "Sampling", _Mix | None, list[Text]]:
    """What to do, checked as a whole before anything big is loaded."""
    from preftune.settings.sampling import Sampling

    problems: list[str] = []
    model = chosen_model(context, problems)
    problems += check_prompt_sources(values["prompt"], values["prompts"])
    sampling = None
    try:
        sampling = Sampling(**{name: values[name] for name in Sampling.__dataclass_fields__})
    except ConfigError as error:
        problems += error.problems
    mix = _checked_mix(values, problems)
    if problems or model is None or sampling is None:
        raise ConfigError(problems)
    prompts: list[Text] = list(values["prompt"]) or read_prompts(values["prompts"])
    return model, sampling, mix, [as_turn(prompt) for prompt in prompts] if values["chat"] else prompts


def _checked_mix(values: dict[str, Any], problems: list[str]) -> _Mix | None:
    """What to mix; None for nothing. Problems are added to the list."""
    strength, reference = values["strength"], values["reference"]
    if strength is None:
        if reference is not None:
            problems.append(f"reference = {reference}: is what --strength mixes in. Set that, or leave it out.")
        return None
    problems += strength_problems(strength)
    if reference == "none":
        problems.append(f"strength = {strength:g}: mixes in the reference, and reference is none. Leave one out.")
    try:
        return _Mix(strength, reference, run_of(values["model"] or ""))
    except ConfigError as error:
        problems += error.problems
        return None


def _continue(
    settings: ModelSettings,
    prompts: Sequence[Text],
    sampling: "Sampling",
    batch_tokens: int,
    mix: _Mix | None = None,
) -> "ModelCompletions":
    import torch

    from preftune.cli.completions_output import ModelCompletions
    from preftune.model.forward.arithmetic import Arithmetic
    from preftune.model.generation.completions import generate
    from preftune.model.load.evaluated_models import find_reference
    from preftune.model.load.load_model import load_causal_lm, load_tokenizer
    from preftune.model.load.realignment import realignment_with

    tokenizer = load_tokenizer(settings)
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
        **asdict(sampling),
        batch_tokens=batch_tokens,
        realignment=realignment,
        show_progress=shows,
    )
    return ModelCompletions(settings.model, generations, None if mix is None else mix.strength)
