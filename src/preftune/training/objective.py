"""From a micro-batch to its loss and metrics: the one place where log-probs meet the method."""

from dataclasses import dataclass

from torch import Tensor, nn

from preftune.losses import Method, PolicyLogps, ReferencedLogps
from preftune.metrics import MetricSums, preference_metrics
from preftune.policy.forward import Forward, completion_logps
from preftune.policy.packed_batch import PackedBatch
from preftune.reference import Reference

__all__ = ["Objective"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a run optimises.

    Args:
        method: The loss and its options.
        reference: Where reference log-probs come from.
        forward: How log-probs are computed.
    """

    method: Method
    reference: Reference
    forward: Forward

    def __call__(self, model: nn.Module, batch: PackedBatch) -> tuple[Tensor, MetricSums]:
        """Loss of a micro-batch, summed over its units, and the sums of its metrics.

        Args:
            model: The policy, as the trainer wraps it.
            batch: A micro-batch; with weight 0 it gives a loss of 0 that still reaches every parameter.
        Returns:
            The sum of the loss (shape: ()), to be divided by the units of the whole step, and the metrics.
        """
        logps = self._logps(model, batch)
        rows = (logps[batch.pairs[:, 0]], logps[batch.pairs[:, 1]]) if self._is_pairwise else (logps,)
        losses = self.method(*rows)
        metrics = MetricSums()
        metrics.add("loss", losses, count=self._num_units(batch), weight=batch.weight)
        self._add_metrics(metrics, rows, batch.weight)
        return losses.sum() * batch.weight, metrics

    @property
    def _is_pairwise(self) -> bool:
        return self.method.loss.feedback == "pairs"

    def _logps(self, model: nn.Module, batch: PackedBatch) -> PolicyLogps | ReferencedLogps:
        # The reference goes first: without a gradient it leaves nothing behind in memory.
        reference = self.reference.logps(self.forward, model, batch)
        policy = completion_logps(self.forward, model, batch)
        if reference is None:
            return PolicyLogps(policy, batch.num_tokens)
        return ReferencedLogps(policy, reference.to(policy.dtype), batch.num_tokens)

    def _num_units(self, batch: PackedBatch) -> int:
        counts = {"pair": len(batch.pairs), "completion": batch.num_completions, "token": len(batch.targets)}
        return counts[self.method.loss.unit]

    def _add_metrics(self, metrics: MetricSums, rows: tuple[PolicyLogps | ReferencedLogps, ...], weight: float) -> None:
        scale = self.method.reward_scale
        match rows:
            case (ReferencedLogps() as chosen, ReferencedLogps() as rejected) if scale is not None:
                values = preference_metrics(
                    chosen_logratio=chosen.logratio,
                    rejected_logratio=rejected.logratio,
                    chosen_logps=chosen.policy,
                    rejected_logps=rejected.policy,
                    scale=scale,
                )
                for name, value in values.items():
                    metrics.add(name, value, weight=weight)
            case (completions,):
                metrics.add("logps/completions", completions.policy, weight=weight)
