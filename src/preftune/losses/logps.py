"""Log-probs as losses see them, per completion or per token."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PolicyLogps:
    """Log-probs of completions under the policy alone.

    Args:
        policy: Log-prob of each completion, summed over its tokens. Shape: (completion,). Unit: nats.
        num_tokens: Length of each completion. Shape: (completion,).
    """

    policy: Tensor
    num_tokens: Tensor

    @property
    def mean_logp(self) -> Tensor:
        """Log-prob under the policy, mean over the tokens of a completion. Shape: (completion,). Unit: nats."""
        return self.policy / self.num_tokens

    def __getitem__(self, index: Tensor) -> "PolicyLogps":
        """The rows that `index` names. Shape of all fields after: that of `index`."""
        return PolicyLogps(self.policy[index], self.num_tokens[index])


@dataclass(frozen=True, slots=True, eq=False)
class ReferencedLogps:
    """Log-probs of completions under the policy and under the reference.

    Args:
        policy, reference: Log-prob of each completion, summed over its tokens. Shape: (completion,). Unit: nats.
        num_tokens: Length of each completion. Shape: (completion,).
    """

    policy: Tensor
    reference: Tensor
    num_tokens: Tensor

    @property
    def logratio(self) -> Tensor:
        """Policy minus reference: how much likelier the completion became. Shape: (completion,). Unit: nats."""
        return self.policy - self.reference

    @property
    def mean_logratio(self) -> Tensor:
        """Policy minus reference, mean over the tokens of a completion. Shape: (completion,). Unit: nats."""
        return self.logratio / self.num_tokens

    @property
    def mean_logp(self) -> Tensor:
        """Log-prob under the policy, mean over the tokens of a completion. Shape: (completion,). Unit: nats."""
        return self.policy / self.num_tokens

    def __getitem__(self, index: Tensor) -> "ReferencedLogps":
        """The rows that `index` names. Shape of all fields after: that of `index`."""
        return ReferencedLogps(self.policy[index], self.reference[index], self.num_tokens[index])


@dataclass(frozen=True, slots=True, eq=False)
class TokenLogps:
    """Log-probs of the tokens of completions.

    Args:
        policy: Log-prob of each token under the policy. Shape: (token,). Unit: nats.
        reference: The same under the reference; None for a loss without one. Shape: (token,).
        owners: Index of the completion that a token belongs to, ascending. Shape: (token,).
        weights: Weight of each token in its completion's sums; 1 unless the data says otherwise. Shape: (token,).
    """

    policy: Tensor
    reference: Tensor | None
    owners: Tensor
    weights: Tensor

    @property
    def logratio(self) -> Tensor:
        """Policy minus reference. Shape: (token,). Unit: nats."""
        assert self.reference is not None, "the loss has no reference"
        return self.policy - self.reference
