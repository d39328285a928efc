"""Saving is tried before training: all that is written beside the weights, and the sharing of the weights."""

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy

from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from preftune.errors import ModelError, first_line


def make_savable(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Correct a generation config that transformers refuses to write, and check that all else can be written.

    Configs, tokenizer and chat template are written into a temporary folder. The weights are not written: they are
    checked for tensors that share memory without being declared as tied, which safetensors refuses.

    Args:
        model: With all its weights: not sharded. Its generation settings may change.
    Returns:
        A line about each correction.
    Raises:
        ModelError: something cannot be written, so the model would be lost after training.
    """
    lines = [] if isinstance(model, PeftModel) else list(_corrected(model))
    with tempfile.TemporaryDirectory(prefix="preftune-") as folder:
        for part, write in _parts(model, tokenizer, folder):
            try:
                write()
            except Exception as error:  # any error here would end the run when it saves
                name = model.config.name_or_path or type(model).__name__
                raise ModelError(
                    f"model = {name}: its {part} cannot be saved ({first_line(error)}), so the trained model would be "
                    "lost. Correct the files of the model and start again."
                ) from error
    return lines


def _parts(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, folder: str
) -> Iterator[tuple[str, Callable[[], object]]]:
    """The parts of a saved model, and a function that tries each."""
    yield "tokenizer", lambda: tokenizer.save_pretrained(folder)
    if isinstance(model, PeftModel):
        for adapter in model.peft_config.values():
            yield "adapter config", lambda adapter=adapter: adapter.save_pretrained(folder)  # type: ignore[misc]
        return
    yield "config", lambda: model.config.save_pretrained(folder)
    if model.can_generate():
        # Saved unchanged, a config that is refused only gives a warning, but the trainer changes it.
        yield "generation config", lambda: model.generation_config.validate(strict=True)
        yield "generation config", lambda: model.generation_config.save_pretrained(folder)
    yield "weights", lambda: remove_tied_weights_from_state_dict(model.state_dict(), model)


def _corrected(model: PreTrainedModel) -> Iterator[str]:
    """Correct the generation settings of a model; a line about each change."""
    if not model.can_generate() or _problem(model.generation_config) is None:
        return
    config = model.generation_config
    sampling = deepcopy(config)
    sampling.do_sample = True
    if config.do_sample is None and _problem(sampling) is None:
        config.do_sample = True
        yield "generation config: do_sample set to true, since it holds values for sampling that need it"
        return
    unused = list(_unused(config))
    if unused:
        yield f"generation config: {_taken_out(config, unused)} left out, which transformers refuses to save"


def _problem(config: GenerationConfig) -> str | None:
    """The reason why transformers refuses to save a generation config; None if it does not."""
    try:
        config.validate(strict=True)
    except ValueError as error:
        return str(error)
    return None


def _unused(config: GenerationConfig) -> Iterator[str]:
    """Names of the values that transformers objects to: its message is shorter without them, or there is none."""
    trial = deepcopy(config)
    for name, default in vars(GenerationConfig()).items():
        before = _problem(trial)
        if before is None:
            return
        if name.startswith("_") or getattr(trial, name, None) in (None, default):
            continue
        value = getattr(trial, name)
        setattr(trial, name, default)
        after = _problem(trial)
        if after is None or len(after) < len(before):
            yield name
        else:
            setattr(trial, name, value)


def _taken_out(config: GenerationConfig, names: list[str]) -> str:
    """Reset some values of a config; the list of them for people."""
    values = ", ".join(f"{name} = {getattr(config, name)}" for name in names)
    for name in names:
        setattr(config, name, None)
    return values
