"""`preftune merge`: merge an adapter into its base model."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from preftune.cli.console import main_console, quiet_libraries
from preftune.cli.options import Place, chosen_model, model_flags, output_flags
from preftune.errors import ConfigError, ModelError, OutputError, SaveError
from preftune.files.outputs import check_folder, give_usual_mode
from preftune.files.partial import partial_path
from preftune.files.run_files import is_run
from preftune.settings import ModelSettings, TrainConfig
from preftune.settings.evaluation_config import keep_chat, run_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from preftune.runs.model_card import ModelCard

_HELP = {
    "model": "The adapter: folder of a run with --lora, or hub id of an adapter.",
    "weights_dtype": "Type that weights are saved in; auto: that of the base model.",
}


@click.command("merge")
@click.option("--output", type=Place(), metavar="FOLDER", panel="Result", help="Folder for the merged model. Required.")
@click.option(
    "--overwrite/--no-overwrite",
    default=False,
    panel="Result",
    help="Replace an existing model in the output folder. Default: off.",
)
@click.pass_context
def command(context: click.RichContext, /, output: str | None, overwrite: bool, verbose: bool, **_: object) -> None:
    """Merge an adapter into its base model. The result loads without peft.

    preftune merge --model run --output run-merged

    Weights are added in float32, then rounded once to the data type in which they are saved. Log-probs before and after
    are compared: a merged model that differs is an error.
    """
    problems: list[str] = []
    settings = chosen_model(context, problems)
    if not output:
        problems.append("output: is not given. Name the folder of the merged model with --output.")
    if problems or settings is None or not output:
        raise ConfigError(problems)
    folder = Path(output)
    with quiet_libraries(verbose=verbose):
        _check_adapter(settings)
        _check_apart(folder, Path(settings.model))
        check_folder(folder, overwrite=overwrite, kind="model", holds_kind=_holds_model)
        _merge(settings, folder)
    main_console().print(f"{folder}: merged model and tokenizer", highlight=False, markup=False, soft_wrap=True)


command.params = [
    *model_flags("merge", _HELP),
    *command.params,
    *output_flags(),
]


def _check_adapter(settings: ModelSettings) -> None:
    from preftune.model.load.places import check_place
    from preftune.model.load.pretrained import adapter_config

    check_place(settings.model)
    found = adapter_config(settings.model, settings.revision)
    if found is None:
        raise ModelError(
            f"model = {settings.model}: holds no adapter (no adapter_config.json), so there is nothing to merge. "
            "Give the folder of a run with --lora, or the hub id of an adapter."
        )


def _check_apart(output: Path, model: Path) -> None:
    inside = output.resolve()
    if model.exists() and (model.resolve() == inside or inside in model.resolve().parents):
        raise OutputError(
            f"output = {output}: holds the adapter itself. Name another folder with --output, so that it stays."
        )


def _holds_model(folder: Path) -> bool:
    """A model and nothing that took a run to make."""
    has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    return has_weights and (folder / "config.json").is_file() and not is_run(folder)


def _merge(settings: ModelSettings, folder: Path) -> None:
    import torch
    from peft import PeftModel

    from preftune.model.load.load_model import load_causal_lm, load_config, load_tokenizer
    from preftune.model.load.merging import merge_adapter
    from preftune.model.load.pretrained import adapter_config
    from preftune.model.load.reward_model import is_reward_adapter, load_reward_model, note_text, noted_text
    from preftune.model.load.savable import make_savable
    from preftune.runs.model_card import ModelCard

    tokenizer = load_tokenizer(settings)
    if is_reward_adapter(adapter_config(settings.model, settings.revision)):
        arguments = {"dtype": torch.float32, "trust_remote_code": settings.trust_remote_code}
        model = load_reward_model(settings.model, arguments, revision=settings.revision)
        if (text := noted_text(settings.model, model)) is not None:
            note_text(model, text)
    else:
        model = load_causal_lm(replace(settings, weights_dtype="float32"))
    assert isinstance(model, PeftModel), "an adapter was found"
    base_model = str(model.active_peft_config.base_model_name_or_path or "")
    try:
        merged = merge_adapter(model)
    except ModelError as error:
        raise ModelError(f"model = {settings.model}: {error}") from error
    base_dtype = load_config(settings).dtype or torch.float32
    wanted = base_dtype if settings.weights_dtype == "auto" else getattr(torch, settings.weights_dtype)
    torch.nn.Module.to(merged, wanted)
    for line in make_savable(merged, tokenizer):
        main_console().print(line, highlight=False, markup=False, soft_wrap=True)
    card = ModelCard.of_merged(settings.model, folder, base_model=base_model)
    _save(merged, tokenizer, folder, card=card, run=run_of(settings.model))


def _save(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    *,
    card: "ModelCard",
    run: TrainConfig | None,
) -> None:
    """Save beside the folder first, so that a model which is already there stays until the new one is whole."""
    partial = partial_path(folder)
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        card.write(partial)
        if run is not None:
            keep_chat(run, partial)
        for file in list(partial.iterdir()):
            give_usual_mode(file)
        shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise SaveError(f"output = {folder}: the model could not be saved ({error}). Free some space.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
