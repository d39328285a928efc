"""The models of an evaluation: the one that is evaluated, what it is compared with, and how they are run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary
from preftune.errors import ModelError, TokenizerError
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.model_size import num_embeddings
from preftune.model.forward.realigned import RealignedForward
from preftune.model.forward.self_check import ForwardChoice
from preftune.model.generation.realigned import Realignment
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import load_causal_lm, load_tokenizer
from preftune.model.load.realignment import realignment_with
from preftune.model.reference.computed_by import ComputedBy
from preftune.model.reference.reference import AdapterOff, FrozenCopy, NoReference, Reference
from preftune.settings import ModelSettings, TrainConfig
from preftune.settings.evaluation_config import EvaluationConfig

__all__ = ["DEFAULT_BETA", "Models", "find_reference", "load_models", "load_other"]

DEFAULT_BETA = 0.1
"""Of a model that is no run. It scales margins, and with them how sure the model is; it never turns a preference."""


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What an evaluation runs.

    Args:
        tokenizer: The policy's.
        policy: The model that is evaluated, in evaluation mode on its device.
        reference: What it is compared with; `NoReference` for nothing.
        reference_name: What the reference is, for people; None for nothing.
        reward: The implicit reward; None where it would need a reference and there is none.
        forward: How log-probs of either model are computed, and why so.
        arithmetic: Device and precision.
        realignment: What is evaluated is this mix of policy and reference; None: the policy.
        policy_forward: Computes log-probs of what is evaluated, given the policy.
    """

    tokenizer: PreTrainedTokenizerBase
    policy: PreTrainedModel | PeftModel
    reference: Reference
    reference_name: str | None
    reward: ImplicitReward | None
    forward: ForwardChoice
    arithmetic: Arithmetic
    realignment: Realignment | None = None
    policy_forward: Forward = field(init=False)

    def __post_init__(self) -> None:
        plain, mix = self.forward.forward, self.realignment
        forward = plain if mix is None else RealignedForward(plain, mix.reference, mix.strength)
        object.__setattr__(self, "policy_forward", forward)

    @property
    def reference_beside(self) -> Reference:
        """The reference, to be computed beside what is evaluated: by a forward that does not mix."""
        return self.reference if self.realignment is None else ComputedBy(self.forward.forward, self.reference)

    @property
    def has_reference(self) -> bool:
        """Whether there is something to compare with."""
        return not isinstance(self.reference, NoReference)

    def check_fits(self, groups: Sequence[TokenGroup]) -> None:
        """Make sure that both models have an embedding for each token.

        Raises:
            TokenizerError: the policy has not.
            ModelError: the reference has not.
        """
        check_vocabulary(groups, num_embeddings(self.policy))
        if isinstance(self.reference, FrozenCopy):
            try:
                check_vocabulary(groups, num_embeddings(self.reference.model))
            except TokenizerError as error:
                raise ModelError(
                    f"reference = {self.reference_name}: does not share the policy's tokenizer. {error}"
                ) from None

    @contextmanager
    def reference_model(self) -> Iterator[PreTrainedModel | PeftModel]:
        """The reference as a model to draw from, while this is on."""
        if isinstance(self.reference, FrozenCopy):
            yield self.reference.model
            return
        assert isinstance(self.reference, AdapterOff), "there is no reference"
        assert isinstance(self.policy, PeftModel), type(self.policy).__name__
        with self.policy.disable_adapter():
            yield self.policy


def load_models(config: EvaluationConfig, arithmetic: Arithmetic) -> Models:
    """Load policy and reference, and find out how to compute their log-probs.

    Raises:
        ModelError, TokenizerError: what cannot be loaded.
        ConfigError: there is no reference to mix in.
    """
    tokenizer = load_tokenizer(config.model)
    policy = _held(load_causal_lm(config.model), arithmetic)
    reference, name = find_reference(policy, config.model, config.run, config.reference.reference, arithmetic)
    strength = config.reference.strength
    mix = None if strength is None else realignment_with(reference, strength, policy, tokenizer, config.model)
    forward = choose_forward_for(policy, reference, arithmetic)
    reward = _reward(config)
    if reward is not None and reward.needs_reference and isinstance(reference, NoReference):
        reward = None
    return Models(
        tokenizer, policy, reference, name, reward, forward, arithmetic, None if mix is None or mix.is_policy else mix
    )


def load_other(
    config: EvaluationConfig, name: str, arithmetic: Arithmetic
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Another model to compare samples with, and its own tokenizer.

    Raises:
        ModelError, TokenizerError: it cannot be loaded.
    """
    settings = replace(config.model, model=name, revision=None)
    return _held(load_causal_lm(settings), arithmetic), load_tokenizer(settings)


def find_reference(
    policy: PreTrainedModel | PeftModel,
    settings: ModelSettings,
    run: TrainConfig | None,
    wanted: str | None,
    arithmetic: Arithmetic,
) -> tuple[Reference, str | None]:
    """What a model is compared or mixed with, and its name.

    Args:
        policy: The model.
        settings: How it was loaded.
        run: The run that it is of; None for a model that is no run.
        wanted: The model to take, or `none`; None: of a run the one that it began from, of an adapter its base, else
            nothing.
        arithmetic: Says the device.
    Raises:
        ModelError: it cannot be loaded.
    """
    revision = settings.revision
    base = _base_of(policy)
    if wanted == "none":
        return NoReference(), None
    if wanted is None and run is not None:
        wanted, revision = run.model.reference_model or run.model.model, run.model.revision
    if wanted is None and base is None:
        return NoReference(), None
    if wanted is None or wanted == base:
        return AdapterOff(), f"{base} (adapter off)"
    try:
        other = load_causal_lm(replace(settings, model=wanted, revision=revision))
        return FrozenCopy(_held(other, arithmetic)), wanted
    except ModelError as error:
        raise ModelError(
            f"reference: {error} Name another one with --reference; none where nothing is mixed."
        ) from error


def _reward(config: EvaluationConfig) -> ImplicitReward | None:
    """The reward that the run was tuned by; of a run by a method without one, or of another model, the logratio.

    The mix of strength s is taken for what training with beta / s gives, whose reward has that scale.
    """
    beta, strength = config.reference.beta, config.reference.strength
    own = None if config.run is None else ImplicitReward.of_method(config.run.method, beta)
    reward = own or ImplicitReward("logratio", beta or DEFAULT_BETA)
    if not strength or beta is not None or not reward.needs_reference:
        return reward
    return ImplicitReward(reward.kind, reward.beta / strength)


def _base_of(model: PreTrainedModel | PeftModel) -> str | None:
    """Name of the base model of an adapter."""
    if not isinstance(model, PeftModel):
        return None
    return str(model.peft_config[model.active_adapter].base_model_name_or_path)


def _held(model: PreTrainedModel | PeftModel, arithmetic: Arithmetic) -> PreTrainedModel | PeftModel:
    nn.Module.to(model, arithmetic.device)
    model.requires_grad_(False)
    model.eval()
    return model
