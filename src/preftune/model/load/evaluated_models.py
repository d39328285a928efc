"""The models of an evaluation: the one that is evaluated, its reference, and how they are run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary
from preftune.errors import ConfigError, ModelError, TokenizerError
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.model_size import num_embeddings
from preftune.model.forward.realigned import RealignedForward
from preftune.model.generation.realigned import Realignment
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import load_frozen, load_other_tokenizer, load_tokenizer, trains_biases
from preftune.model.load.places import is_same_place
from preftune.model.reference.logps import Runner, policy_logps, referenced_logps
from preftune.model.reference.reference import AdapterOff, ComputedBy, FrozenCopy, NoReference, Reference
from preftune.model.reference.reference_pass import ReferencePass
from preftune.model.reference.store import OptionalStore, store_path
from preftune.settings import ModelSettings, TrainConfig
from preftune.settings.evaluation_config import EvaluationConfig

DEFAULT_BETA = 0.1
"""Beta of a model that is not a run. It scales margins, and with them confidence; it never turns a preference."""


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The models of an evaluation.

    Args:
        policy: The model that is evaluated, in evaluation mode on its device.
        reference: Model that it is compared with; `NoReference` for none.
        reference_name: Name of the reference for people; None for none.
        reward: The implicit reward; None if it needs a reference and there is none.
        realignment: The evaluated distribution is this mix of policy and reference; None: the policy.
        policy_runner: Runs the evaluated distribution, given the policy.
    """

    tokenizer: PreTrainedTokenizerBase
    policy: PreTrainedModel | PeftModel
    reference: Reference
    reference_name: str | None
    reward: ImplicitReward | None
    runner: Runner
    reason: str
    realignment: Realignment | None = None
    policy_runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        runner, mix = self.runner, self.realignment
        if mix is not None:
            runner = replace(runner, forward=RealignedForward(runner.forward, mix.reference, mix.strength))
        object.__setattr__(self, "policy_runner", runner)

    @property
    def reference_beside(self) -> Reference:
        """The reference as `policy_runner` needs it: computed by a forward that does not mix."""
        return self.reference if self.realignment is None else ComputedBy(self.runner.forward, self.reference)

    @property
    def has_reference(self) -> bool:
        """True if there is a model to compare with."""
        return not isinstance(self.reference, NoReference)

    def logps(self, groups: Sequence[TokenGroup], *, with_reference: bool) -> PolicyLogps | ReferencedLogps:
        """Log-probs of all completions under the evaluated distribution, and under its reference if asked for."""
        if with_reference:
            return referenced_logps(self.policy, self.reference_beside, groups, self.policy_runner)
        return policy_logps(self.policy, groups, self.policy_runner)

    def kept_logps(self, groups: Sequence[TokenGroup], say: Callable[[str], None]) -> PolicyLogps | ReferencedLogps:
        """Like `logps`, with a reference if there is one, whose log-probs come from the cache and are kept there.

        Args:
            groups: Data whose log-probs are worth keeping.
        """
        if not self.has_reference:
            return self.logps(groups, with_reference=False)
        runner, store = self.runner, OptionalStore(store_path(), say)
        assert runner.arithmetic is not None, "load_models sets it"
        found = ReferencePass(
            self.reference, self.policy, runner.forward, runner.arithmetic, runner.max_tokens, runner.show_progress
        ).run(groups, store)
        store.close()
        say(f"reference: {found.num_computed:,} log-probs computed, {found.num_kept:,} kept from earlier")
        return referenced_logps(self.policy, found.reference, groups, self.policy_runner)

    def check_fits(self, groups: Sequence[TokenGroup]) -> None:
        """Make sure that both models have an embedding for each token."""
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
        """The reference as a model to draw from, inside the context."""
        if isinstance(self.reference, FrozenCopy):
            yield self.reference.model
            return
        assert isinstance(self.reference, AdapterOff), "there is no reference"
        assert isinstance(self.policy, PeftModel), type(self.policy).__name__
        with self.policy.disable_adapter():
            yield self.policy


def load_models(config: EvaluationConfig, arithmetic: Arithmetic, *, show_progress: bool = False) -> Models:
    """Load policy and reference, and choose the forward that computes their log-probs."""
    tokenizer = load_tokenizer(config.model)
    ChatFormat.of(tokenizer, config.model.chat_choice)  # its errors come before a model is loaded
    policy = load_frozen(config.model, arithmetic.device)
    reference, name = find_reference(policy, config.model, config.run, config.reference.reference, arithmetic)
    strength = config.reference.strength
    mix = None if strength is None else realignment_with(reference, strength, policy, tokenizer, config.model)
    choice = choose_forward_for(policy, reference, arithmetic)
    reward: ImplicitReward | None = _reward(config)
    if reward is not None and reward.needs_reference and isinstance(reference, NoReference):
        reward = None
    return Models(
        tokenizer,
        policy,
        reference,
        name,
        reward,
        Runner(choice.forward, arithmetic, config.memory.max_tokens, show_progress),
        choice.reason,
        None if mix is None or mix.is_policy else mix,
    )


def load_other(
    config: EvaluationConfig, name: str, arithmetic: Arithmetic
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Another model to compare samples with, and its own tokenizer; see `load_other_tokenizer`."""
    settings = replace(config.model, model=name, revision=None)
    return load_frozen(settings, arithmetic.device), load_other_tokenizer(settings, load_tokenizer(config.model))


def find_reference(
    policy: PreTrainedModel | PeftModel,
    settings: ModelSettings,
    run: TrainConfig | None,
    wanted: str | None,
    arithmetic: Arithmetic,
) -> tuple[Reference, str | None]:
    """Reference of a finished model, and its name.

    Args:
        wanted: Hub id or folder of the reference, or `none`. Default: of a run the model that it began from, of an
            adapter its base, otherwise none.
    """
    revision = settings.revision
    base = _base_of(policy)
    if wanted == "none":
        return NoReference(), None
    if wanted is None and run is not None:
        wanted, revision = run.model.reference_model or run.model.model, run.model.revision
    if wanted is None and base is None:
        return NoReference(), None
    name = wanted or base
    assert name is not None, "one of them is there"
    if base is not None and is_same_place(name, base) and not trains_biases(policy):
        return AdapterOff(), f"{name} (adapter off)"
    try:
        other = load_frozen(replace(settings, model=name, revision=revision), arithmetic.device)
    except ModelError as error:
        raise ModelError(
            f"reference: {error} Name another one with --reference; none where nothing is mixed."
        ) from error
    return FrozenCopy(other), name


def realignment_with(
    reference: Reference,
    strength: float,
    policy: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: ModelSettings,
) -> Realignment:
    """Mix of a policy and its reference, whose tokens must be the same.

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
    """Make sure that no token has two ids; a reference without a tokenizer is taken to share the policy's."""
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


def _reward(config: EvaluationConfig) -> ImplicitReward:
    """Implicit reward of the run's method; the logratio if the method has none, or the model is not a run.

    A mix of strength s approximates training with beta / s, whose reward has that scale.
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
