"""What losses can be given of a micro-batch or of a whole step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from preftune.losses import Argument, Method, Part, PolicyLogps, ReferencedLogps
from preftune.model.forward.forward import Forward, TokenExtra
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.reference.reference import Reference

__all__ = ["StepValues", "measure"]

_DIFFERENTIABLE = ("policy", "kl", "shared_policy")
_FEEDBACK = ("scores", "desirable", "margins")
"""NaN where they are not known."""


@dataclass(frozen=True, slots=True, eq=False)
class StepValues:
    """Log-probs and feedback of some completions. Dimensions: (completion,) and (pair,).

    Args:
        policy, reference: Log-prob of each completion, its tokens weighted as the data says. Shape: (completion,).
        num_tokens: Its length, or the sum of its tokens' weights. Shape: (completion,).
        prompts, scores, desirable, auxiliary: As in `PackedBatch`. Shape: (completion,).
        pairs, margins: As in `PackedBatch`. Shape: (pair, 2), (pair,).
        kl: KL(reference || policy) summed over the tokens. Shape: (completion,).
        alignment: Mean over the tokens of log p(token) - log sum_v p(v)^2, without gradient. Shape: (completion,).
        entropy: Of the policy's next token, summed over the tokens, without gradient. Shape: (completion,).
        shared_policy, shared_reference: Log-probs of the first tokens of chosen and rejected, as many as the shorter
            one has. Shape: (pair, 2).
        shared_tokens: How many these are. Shape: (pair,).

    What nobody asks for is None.
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
    kl: Tensor | None = None
    alignment: Tensor | None = None
    entropy: Tensor | None = None
    shared_policy: Tensor | None = None
    shared_reference: Tensor | None = None
    shared_tokens: Tensor | None = None

    @property
    def differentiable(self) -> dict[str, Tensor]:
        """What gradients flow through, by name."""
        found = {name: getattr(self, name) for name in _DIFFERENTIABLE}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    @property
    def logps(self) -> PolicyLogps | ReferencedLogps:
        """Log-probs of all completions."""
        if self.reference is None:
            return PolicyLogps(self.policy, self.num_tokens)
        return ReferencedLogps(self.policy, self.reference, self.num_tokens)

    @property
    def is_finite(self) -> bool:
        """Whether all log-probs, and what else the models gave, are numbers."""
        found = {name: tensor for name, tensor in self._tensors().items() if name not in _FEEDBACK}
        return all(bool(tensor.isfinite().all()) for tensor in found.values())

    def detached(self) -> "StepValues":
        """The same values in main memory and without a graph, for other ranks to see."""
        moved: dict[str, Any] = {name: tensor.detach().cpu() for name, tensor in self._tensors().items()}
        return replace(self, **moved)

    def to(self, device: torch.device) -> "StepValues":
        """The same values on `device`."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self._tensors().items()}
        return replace(self, **moved)

    def as_leaves(self) -> "StepValues":
        """The same numbers as leaves that collect gradients."""
        leaves: dict[str, Any] = {
            name: tensor.detach().clone().requires_grad_() for name, tensor in self.differentiable.items()
        }
        return replace(self, **leaves)

    def _tensors(self) -> dict[str, Tensor]:
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    @staticmethod
    def joined(parts: Sequence["StepValues"]) -> "StepValues":
        """The values of several micro-batches as those of one; indices count over all."""
        shifted = []
        num_completions = num_prompts = 0
        for part in parts:
            shifted.append(replace(part, pairs=part.pairs + num_completions, prompts=part.prompts + num_prompts))
            num_completions += len(part.policy)
            num_prompts += int(part.prompts.max()) + 1
        tensors = [part._tensors() for part in shifted]
        joined: dict[str, Any] = {name: torch.cat([part[name] for part in tensors]) for name in tensors[0]}
        return replace(parts[0], **joined)

    def arguments(
        self, part: Part, *, mismatched: ReferencedLogps | None = None, state: Tensor | None = None
    ) -> dict[Argument, Any]:
        """What a part of the method is given, by the name of its parameter, in order."""
        known = self._rows(part)
        known.update({"mismatched": mismatched, "state": state})
        arguments = {name: known[name] for name in part.loss.takes}
        missing = [name for name, value in arguments.items() if value is None]
        assert not missing, f"{part.name}: no {', '.join(missing)}"
        return arguments

    def _rows(self, part: Part) -> dict[Argument, Any]:
        logps = self._logps_for(part)
        if part.loss.feedback != "pairs":
            desirable = self.desirable == 1.0
            return {"completions": logps, "desirable": desirable, "scores": self.scores, "prompts": self.prompts}
        chosen, rejected = self.pairs.unbind(1)
        rows: dict[Argument, Any] = {"chosen": logps[chosen], "rejected": logps[rejected], "margins": self.margins}
        if self.kl is not None:
            rows.update({"chosen_kl": self.kl[chosen], "rejected_kl": self.kl[rejected]})
        if self.alignment is not None:
            rows.update({"chosen_alignment": self.alignment[chosen], "rejected_alignment": self.alignment[rejected]})
        rows.update(self._shared_rows())
        return rows

    def _shared_rows(self) -> dict[Argument, Any]:
        if self.shared_policy is None or self.shared_reference is None or self.shared_tokens is None:
            return {}
        names: tuple[Argument, Argument] = ("chosen_shared", "rejected_shared")
        return {
            name: ReferencedLogps(self.shared_policy[:, side], self.shared_reference[:, side], self.shared_tokens)
            for side, name in enumerate(names)
        }

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


def measure(
    method: Method,
    reference: Reference,
    forward: Forward,
    model: nn.Module,
    batch: PackedBatch,
    *,
    with_entropy: bool = False,
) -> StepValues:
    """Run the policy, and the reference where it is not known yet, on a micro-batch.

    Args:
        method: Says what its losses need.
        reference: Where reference log-probs come from.
        forward: How log-probs are computed.
        model: The policy, as the trainer wraps it.
        batch: The micro-batch.
        with_entropy: Whether to measure the entropy, which no loss needs.
    """
    takes = method.takes
    is_per_token = method.needs_token_logps or batch.weights is not None
    # The reference goes first: without a gradient it leaves nothing behind in memory.
    of_reference = _of_reference(reference, forward, model, batch, is_per_token=is_per_token)
    distributions = reference.distributions(forward, model, batch) if "chosen_kl" in takes else None
    wanted: dict[TokenExtra, bool] = {"log_collision": "chosen_alignment" in takes, "entropy": with_entropy}
    extras = frozenset(extra for extra, is_wanted in wanted.items() if is_wanted)
    tokens = forward.token_values(model, batch, extras=extras, reference=distributions)
    num_tokens = batch.num_tokens if batch.weights is None else batch.sum_by_completion(batch.weights)
    values = StepValues(
        policy=_sum(batch, tokens.logps),
        reference=None if of_reference is None else of_reference["sums"].to(batch.sum_dtype),
        num_tokens=num_tokens,
        prompts=batch.prompts,
        scores=batch.scores,
        desirable=batch.desirable,
        auxiliary=batch.auxiliary,
        pairs=batch.pairs,
        margins=batch.margins,
        kl=None if tokens.kl is None else _sum(batch, tokens.kl),
        entropy=None if tokens.entropy is None else _sum(batch, tokens.entropy),
    )
    if tokens.log_collision is not None:
        aligned = _sum(batch, tokens.logps.detach() - tokens.log_collision)
        values = replace(values, alignment=aligned / num_tokens.clamp_min(1))
    if method.needs_token_logps and of_reference is not None:
        shared = batch.num_tokens[batch.pairs].amin(1)
        values = replace(
            values,
            shared_policy=_first_tokens(batch, tokens.logps, shared),
            shared_reference=_first_tokens(batch, of_reference["tokens"], shared),
            shared_tokens=shared,
        )
    return values


def _of_reference(
    reference: Reference, forward: Forward, model: nn.Module, batch: PackedBatch, *, is_per_token: bool
) -> Mapping[str, Tensor] | None:
    """Log-probs under the reference: `sums` per completion, and `tokens` where each is needed."""
    if not is_per_token:
        sums = reference.logps(forward, model, batch)
        return None if sums is None else {"sums": sums}
    tokens = reference.token_logps(forward, model, batch)
    return None if tokens is None else {"sums": _sum(batch, tokens), "tokens": tokens}


def _sum(batch: PackedBatch, token_values: Tensor) -> Tensor:
    """Values per target, weighted and added up over each completion. Shape: (target,) -> (completion,)."""
    return batch.sum_by_completion(token_values if batch.weights is None else token_values * batch.weights)


def _first_tokens(batch: PackedBatch, token_logps: Tensor, num_shared: Tensor) -> Tensor:
    """Sums over the first `num_shared` tokens of chosen and rejected. Shape: (target,), (pair,) -> (pair, 2)."""
    weighted = token_logps if batch.weights is None else token_logps * batch.weights
    sums = nn.functional.pad(weighted.to(batch.sum_dtype).cumsum(0), (1, 0))
    starts = (batch.num_tokens.cumsum(0) - batch.num_tokens)[batch.pairs]
    return sums[starts + num_shared[:, None]] - sums[starts]
