"""The mix of a model and its reference that an evaluation asks for."""

from dataclasses import replace

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.errors import ConfigError, ModelError, TokenizerError
from preftune.model.generation.realigned import Realignment
from preftune.model.load.load_model import load_tokenizer
from preftune.model.reference.reference import AdapterOff, FrozenCopy, Reference
from preftune.settings import ModelSettings

__all__ = ["realignment_with"]


def realignment_with(
    reference: Reference,
    strength: float,
    policy: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: ModelSettings,
) -> Realignment:
    """Mix a policy with its reference, if their tokens are the same.

    Args:
        reference: As `find_reference` gives it.
        strength: 0: the reference, 1: the policy, more: beyond.
        policy: In evaluation mode.
        tokenizer: The policy's.
        settings: How the policy was loaded.
    Raises:
        ConfigError: there is no reference, or the strength is out of its range.
        ModelError: the two models give probabilities to different tokens.
    """
    if not isinstance(reference, FrozenCopy | AdapterOff):
        raise ConfigError(
            [
                f"strength = {strength:g}: mixes the model with its reference, and {settings.model} is neither a run "
                "nor an adapter, so it has none. Name the model that it was tuned from with --reference."
            ]
        )
    mix = Realignment(reference, strength)
    try:
        mix.check(policy)
        if isinstance(reference, FrozenCopy):
            name = str(reference.model.config.name_or_path)
            _check_tokenizers(tokenizer, replace(settings, model=name, revision=None, chat_template=None))
    except ModelError as error:
        raise ModelError(f"strength = {strength:g}: {error}") from None
    return mix


def _check_tokenizers(tokenizer: PreTrainedTokenizerBase, of_reference: ModelSettings) -> None:
    """Make sure that a token that both know has one id; a reference without tokenizer is believed.

    Raises:
        ModelError: some have two.
    """
    try:
        other = load_tokenizer(of_reference).get_vocab()
    except TokenizerError:
        return
    own = tokenizer.get_vocab()
    unlike = [token for token, number in own.items() if other.get(token, number) != number]
    if unlike:
        token = unlike[0]
        raise ModelError(
            f"the tokenizers of the model and of its reference, {of_reference.model}, differ in {len(unlike):,} "
            f"tokens: {token!r} is {own[token]} in one and {other[token]} in the other. Such models cannot be mixed. "
            "Name the model that this one was tuned from."
        )
