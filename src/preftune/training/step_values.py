"""Values of a micro-batch or a whole step, and the inputs of losses made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from preftune.losses import Argument, Loss, Method, Part, PolicyLogps, ReferencedLogps, TokenLogps
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.token_values import TokenExtra
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.reference.reference import Reference

_DIFFERENTIABLE = ("policy", "token_policy", "token_kl")
_FEEDBACK = ("scores", "desirable", "margins")
"""Fields that are NaN where the data does not give them."""


@dataclass(frozen=True, slots=True, eq=False)
class StepValues:
    """Log-probs and feedback of some completions. Dimensions: (completion,), (pair,) and (token,).

    Args:
        policy, reference: Log-prob of each completion, its tokens weighted as the data says; of a reward model, the
            reward as `policy`. Shape: (completion,).
        num_tokens: Length, or the sum of the weights of its tokens. Shape: (completion,).
        prompts, scores, desirable, auxiliary: As in `PackedBatch`. Shape: (completion,).
        pairs, margins: As in `PackedBatch`. Shape: (pair, 2), (pair,).
        pair_weights, completion_weights, prompt_weights: As in `PackedBatch`. Shape: (pair,), (completion,), (prompt,).
        entropy: Of the policy's next token, summed over the tokens, without gradient. Shape: (completion,).
        owners: Index of the completion that each token belongs to, ascending. Shape: (token,).
        token_policy, token_reference: Log-prob of each token. Shape: (token,).
        token_weights: Weight of each token; None if all are 1. Shape: (token,).
        token_kl: KL(reference || policy) of the next token. Shape: (token,).
        token_log_collision: log of sum_v p(v)^2 under the policy, without gradient. Shape: (token,).

    Fields that the method does not need are None.
    """

    policy: Tensor
    reference: Tensor | None
    num_tokens: Tensor
    prompts: Tensor
    scores: Tensor
    desirable: Tensor
    auxiliary: Tensor
    pairs: Tensor
    margins: Tensor
    pair_weights: Tensor
    completion_weights: Tensor
    prompt_weights: Tensor
    entropy: Tensor | None = None
    owners: Tensor | None = None
    token_policy: Tensor | None = None
    token_reference: Tensor | None = None
    token_weights: Tensor | None = None
    token_kl: Tensor | None = None
    token_log_collision: Tensor | None = None

    @property
    def differentiable(self) -> dict[str, Tensor]:
        """Fields that gradients flow through, by name."""
        return {name: tensor for name, tensor in self._tensors().items() if name in _DIFFERENTIABLE}

    @property
    def logps(self) -> PolicyLogps | ReferencedLogps:
        """Log-probs of all completions."""
        if self.reference is None:
            return PolicyLogps(self.policy, self.num_tokens)
        return ReferencedLogps(self.policy, self.reference, self.num_tokens)

    @property
    def is_finite(self) -> bool:
        """True if no value that the models gave is NaN or infinite."""
        found = {name: tensor for name, tensor in self._tensors().items() if name not in _FEEDBACK}
        return all(bool(tensor.isfinite().all()) for tensor in found.values())

    def detached(self) -> "StepValues":
        """The same values on the CPU and without a graph, to be sent to other ranks."""
        return self._changed(lambda tensor: tensor.detach().cpu())

    def to(self, device: torch.device) -> "StepValues":
        """The same values on `device`."""
        return self._changed(lambda tensor: tensor.to(device))

    def as_leaves(self) -> "StepValues":
        """The same values; those that are differentiable are leaves that collect gradients."""
        leaves: dict[str, Any] = {
            name: tensor.detach().clone().requires_grad_() for name, tensor in self.differentiable.items()
        }
        return replace(self, **leaves)

    def at_reference(self, logps: Tensor) -> "StepValues":
        """The values of a step whose reference is its policy, except that the policy's log-probs have moved to `logps`.

        With d = logps - policy of a completion, each of its tokens moves by d / num_tokens, so that the tokens still
        add up to the completion.

        Args:
            logps: Shape: (completion,). Unit: nats.
        """
        reference = self.policy.detach()
        same = replace(self, policy=logps, reference=reference)
        if self.token_policy is None or self.owners is None:
            return same
        tokens = self.token_policy.detach()
        change = (logps - reference) / torch.where(self.num_tokens > 0, self.num_tokens, 1)
        return replace(
            same,
            token_policy=tokens + change[self.owners],
            token_reference=tokens,
            token_kl=None if self.token_kl is None else torch.zeros_like(self.token_kl),
        )

    def _tensors(self) -> dict[str, Tensor]:
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "StepValues":
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in self._tensors().items()}
        return replace(self, **changed)

    @staticmethod
    def joined(parts: Sequence["StepValues"]) -> "StepValues":
        """The values of several micro-batches as those of one; indices count over all."""
        shifted = []
        num_completions = num_prompts = 0
        for part in parts:
            owners = None if part.owners is None else part.owners + num_completions
            prompts = part.prompts + num_prompts
            shifted.append(replace(part, pairs=part.pairs + num_completions, prompts=prompts, owners=owners))
            num_completions += len(part.policy)
            num_prompts += int(part.prompts.max()) + 1
        tensors = [part._tensors() for part in shifted]
        joined: dict[str, Any] = {name: torch.cat([part[name] for part in tensors]) for name in tensors[0]}
        return replace(parts[0], **joined)

    def arguments(
        self, part: Part, *, mismatched: ReferencedLogps | None = None, state: Tensor | None = None
    ) -> dict[Argument, Any]:
        """Inputs of a part of the method, by name, in order."""
        of_step = {"mismatched": mismatched, "state": state}
        logps = self._logps_for(part)
        arguments = {
            name: of_step[name] if name in of_step else _COMPUTED[name](self, logps) for name in part.loss.takes
        }
        missing = [name for name, value in arguments.items() if value is None]
        assert not missing, f"{part.name}: no {', '.join(missing)}"
        return arguments

    def row_weights(self, loss: Loss) -> Tensor:
        """Weight of each row of a loss. Shape: (row,), which is that of pairs, completions, prompts or tokens."""
        if "tokens" not in loss.takes:
            return self._unit_weights(loss)
        assert self.owners is not None, "the loss takes tokens"
        return self.completion_weights[self.owners]

    def _unit_weights(self, loss: Loss) -> Tensor:
        """Shape: that of pairs, completions or prompts."""
        if loss.unit == "prompt":
            return self.prompt_weights
        return self.pair_weights if loss.feedback == "pairs" else self.completion_weights

    def num_units(self, loss: Loss) -> Tensor:
        """Weight of the units that the mean of a loss is over; their number if all weights are 1. Shape: ()."""
        weights = self._unit_weights(loss)
        if loss.unit == "token":
            tokens = self.num_tokens[self.pairs[:, 0]] if loss.feedback == "pairs" else self.num_tokens
            weights = weights * tokens
        return weights.sum()

    def _logps_for(self, part: Part) -> PolicyLogps | ReferencedLogps:
        """Log-probs as the part sees them.

        A further reward a, weighted already, tilts the reference: pi_ref' ~ pi_ref exp(a / beta) has the optimum of
        reward + a (MODPO, arXiv:2310.03708, Eq. 6), so that every margin becomes beta * logratio - a. The factor that
        normalises pi_ref' is the prompt's, and falls out of margins.
        """
        if self.reference is None or not part.loss.needs_reference:
            return PolicyLogps(self.policy, self.num_tokens)
        tilt = self.auxiliary.to(self.reference.dtype) / part.reward_scale
        return ReferencedLogps(self.policy, self.reference + tilt, self.num_tokens)

    # --- values of tokens -------------------------------------------------------------------------------------

    def _sum(self, token_values: Tensor) -> Tensor:
        """Weighted sum over the tokens of each completion. Shape: (token,) -> (completion,)."""
        assert self.owners is not None, "the method needs no values of tokens"
        return torch.zeros_like(self.policy).index_add(0, self.owners, self._weighted(token_values))

    def _weighted(self, token_values: Tensor) -> Tensor:
        weighted = token_values if self.token_weights is None else token_values * self.token_weights
        return weighted.to(self.policy.dtype)

    def _of_side(self, side: int, completion_values: Tensor) -> Tensor:
        """Values of the chosen (0) or rejected (1) completion of each pair. Shape: (completion,) -> (pair,)."""
        return completion_values[self.pairs[:, side]]

    def _kl(self, side: int) -> Tensor:
        assert self.token_kl is not None, "the reference gave no distributions"
        return self._of_side(side, self._sum(self.token_kl))

    def _alignment(self, side: int) -> Tensor:
        assert self.token_policy is not None, "the method needs no values of tokens"
        assert self.token_log_collision is not None, "log_collision was not measured"
        sums = self._sum(self.token_policy.detach() - self.token_log_collision)
        return self._of_side(side, sums / self.num_tokens.clamp_min(1))

    def _shared(self, side: int) -> ReferencedLogps:
        """Log-probs of the first tokens of one side, as many as the shorter completion of the pair has.

        The sum over tokens start .. start + n - 1 is the difference of two entries of the running sum over all tokens.
        """
        assert self.owners is not None, "the method needs no values of tokens"
        assert self.token_policy is not None, "the method needs no values of tokens"
        assert self.token_reference is not None, "the reference gave no log-probs of tokens"
        lengths = self.owners.bincount(minlength=len(self.policy))
        num_shared = lengths[self.pairs].amin(1)
        start = self._of_side(side, lengths.cumsum(0) - lengths)
        policy, reference = (
            nn.functional.pad(self._weighted(values).cumsum(0), (1, 0))
            for values in (self.token_policy, self.token_reference)
        )
        end = start + num_shared
        return ReferencedLogps(policy[end] - policy[start], reference[end] - reference[start], num_shared)

    def _token_logps(self) -> TokenLogps:
        assert self.owners is not None, "the method needs no values of tokens"
        assert self.token_policy is not None, "the method needs no values of tokens"
        weights = torch.ones_like(self.token_policy) if self.token_weights is None else self.token_weights
        return TokenLogps(self.token_policy, self.token_reference, self.owners, weights)


_COMPUTED: Mapping[Argument, Callable[[StepValues, PolicyLogps | ReferencedLogps], Any]] = {
    "chosen": lambda values, logps: logps[values.pairs[:, 0]],
    "rejected": lambda values, logps: logps[values.pairs[:, 1]],
    "margins": lambda values, _: values.margins,
    "chosen_kl": lambda values, _: values._kl(0),
    "rejected_kl": lambda values, _: values._kl(1),
    "chosen_alignment": lambda values, _: values._alignment(0),
    "rejected_alignment": lambda values, _: values._alignment(1),
    "chosen_shared": lambda values, _: values._shared(0),
    "rejected_shared": lambda values, _: values._shared(1),
    "completions": lambda _, logps: logps,
    "chosen_rewards": lambda values, _: values.policy[values.pairs[:, 0]],
    "rejected_rewards": lambda values, _: values.policy[values.pairs[:, 1]],
    "rewards": lambda values, _: values.policy,
    "desirable": lambda values, _: values.desirable == 1.0,
    "scores": lambda values, _: values.scores,
    "prompts": lambda values, _: values.prompts,
    "tokens": lambda values, _: values._token_logps(),
}
"""Each row of `preftune.losses.INPUTS`, made of the values of a step; those of the whole step are handed in."""


def measure(
    method: Method,
    reference: Reference,
    forward: Forward,
    model: nn.Module,
    batch: PackedBatch,
    *,
    with_entropy: bool = False,
) -> StepValues:
    """Run the policy on a micro-batch, and the reference if its log-probs are not known yet.

    Args:
        with_entropy: Measure the entropy too, which no loss needs.
    """
    # The reference goes first: without a gradient it leaves nothing behind in memory.
    of_reference = _of_reference(method, reference, forward, model, batch)
    needs_distributions = method.needs("reference_distributions")
    distributions = reference.distributions(forward, model, batch) if needs_distributions else None
    wanted: dict[TokenExtra, bool] = {"log_collision": method.needs("log_collision"), "entropy": with_entropy}
    extras = frozenset(extra for extra, is_wanted in wanted.items() if is_wanted)
    tokens = forward.token_values(model, batch, extras=extras, reference=distributions)
    values = StepValues(
        policy=batch.sum_by_completion(tokens.logps) if method.needs("rewards") else _sum(batch, tokens.logps),
        reference=None if of_reference is None else of_reference["sums"].to(batch.sum_dtype),
        num_tokens=batch.num_tokens if batch.weights is None else batch.sum_by_completion(batch.weights),
        prompts=batch.prompts,
        scores=batch.scores,
        desirable=batch.desirable,
        auxiliary=batch.auxiliary,
        pairs=batch.pairs,
        margins=batch.margins,
        pair_weights=batch.pair_weights,
        completion_weights=batch.completion_weights,
        prompt_weights=batch.prompt_weights,
        entropy=None if tokens.entropy is None else _sum(batch, tokens.entropy),
    )
    if not method.needs("token_logps"):
        return values
    return replace(
        values,
        owners=batch.owners,
        token_policy=tokens.logps,
        token_reference=None if of_reference is None else of_reference.get("tokens"),
        token_weights=batch.weights,
        token_kl=tokens.kl,
        token_log_collision=tokens.log_collision,
    )


def _of_reference(
    method: Method, reference: Reference, forward: Forward, model: nn.Module, batch: PackedBatch
) -> Mapping[str, Tensor] | None:
    """Log-probs under the reference: `sums` per completion, and `tokens` if the method or the weights need them."""
    if not method.needs("reference_token_logps") and batch.weights is None:
        sums = reference.logps(forward, model, batch)
        return None if sums is None else {"sums": sums}
    tokens = reference.token_logps(forward, model, batch)
    return None if tokens is None else {"sums": _sum(batch, tokens), "tokens": tokens}


def _sum(batch: PackedBatch, token_values: Tensor) -> Tensor:
    """Values per target, weighted and added up over each completion. Shape: (target,) -> (completion,)."""
    return batch.sum_by_completion(token_values if batch.weights is None else token_values * batch.weights)
