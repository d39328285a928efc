"""Reference log-probs that were computed before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from preftune.errors import CacheError
from preftune.policy.forward import Forward
from preftune.policy.packed_batch import PackedBatch

__all__ = ["Cached"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """A table of log-probs; no model is run, so none needs to be in memory.

    Args:
        table: Log-prob by `TokenGroup.keys`. Unit: nats.
    """

    table: Mapping[bytes, float]

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:  # noqa: ARG002
        """See `Reference.logps`.

        Raises:
            CacheError: a completion that is not in the table.
        """
        try:
            values = [self.table[key] for key in batch.keys]
        except KeyError:
            num_missing = sum(key not in self.table for key in batch.keys)
            raise CacheError(
                f"{num_missing} of the {batch.num_completions} completions of a micro-batch have no reference "
                "log-prob: they were not among the groups that it was computed for, and the model that could compute "
                "it has left memory. Name all groups, held-out ones too, when the log-probs are computed."
            ) from None
        return torch.tensor(values, dtype=batch.sum_dtype, device=batch.token_ids.device)
