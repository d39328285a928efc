"""Reference log-probs that are computed before training, and those of rows that come later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from preftune.compat.sizes import most_tokens, with_mismatched_groups
from preftune.compat.tuning_config import TuningConfig
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import ConfigError
from preftune.files.terminal import PlainConsole
from preftune.model.forward.forward import Forward, evaluating
from preftune.model.load.load_model import Policy
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import AdapterOff, FrozenCopy
from preftune.runs.reference import cache_reference


def precomputed(policy: Policy, forward: Forward, groups: Sequence[TokenGroup], config: TuningConfig) -> Policy:
    """The policy with the reference model replaced by its log-probs for all groups."""
    groups = with_mismatched_groups(groups)
    at_once = config.reference_plan.num_at_once
    assert at_once is not None, "called only if log-probs are precomputed"
    return cache_reference(
        policy,
        forward,
        groups,
        config,
        max_tokens=most_tokens(groups, forward.layout, config.method.counted, at_once),
        console=PlainConsole(stderr=True, quiet=bool(config.disable_tqdm)),
        per_token=config.method.needs("reference_token_logps") or any(group.weights for group in groups),
    )


@dataclass(frozen=True, slots=True)
class LaterRows:
    """Reference log-probs of rows that come after the precomputation.

    Args:
        policy: The policy with a reference that needs no memory of its own: the policy without its adapter, or the
            policy itself, which is the reference until training starts. None if the reference was another model.
    """

    policy: Policy | None

    @staticmethod
    def of(policy: Policy) -> "LaterRows":
        """Those of a policy before the precomputation."""
        if isinstance(policy.reference, AdapterOff):
            return LaterRows(policy)
        itself = replace(policy, reference=FrozenCopy(policy.model))
        return LaterRows(itself if policy.starts_at_reference else None)

    def joined(
        self, known: Cached, forward: Forward, groups: Sequence[TokenGroup], config: TuningConfig, *, has_trained: bool
    ) -> Cached:
        """The table with the log-probs of further groups.

        Raises:
            ConfigError: some are not in the table yet, and the reference is gone.
        """
        if all(key in known.table for group in with_mismatched_groups(groups) for key in group.keys):
            return known
        if self.policy is None or (has_trained and isinstance(self.policy.reference, FrozenCopy)):
            raise ConfigError(
                [
                    "eval_dataset: the reference left memory when its log-probs were computed, and other rows have "
                    "none. Give them to the constructor, evaluate them before training, or set "
                    "precompute_ref_log_probs=False."
                ]
            )
        with evaluating(self.policy.model):
            found = precomputed(self.policy, forward, groups, config).reference
        assert isinstance(found, Cached), type(found).__name__
        return known.joined(found)
