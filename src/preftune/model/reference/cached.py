"""Reference log-probs that were computed before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
import torch
from torch import Tensor, nn

from preftune.errors import CacheError
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.token_values import Distributions
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.reference.store import TokenArray

Value = TypeVar("Value")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """A table of log-probs; no model is run, so none needs to be in memory.

    Args:
        table: Log-prob by `TokenGroup.keys`. Unit: nats.
        token_table: Log-prob of each token by the same keys; None where they were not computed. Unit: nats.
    """

    table: Mapping[bytes, float]
    token_table: Mapping[bytes, TokenArray] | None = None

    def joined(self, other: "Cached") -> "Cached":
        """A table with the completions of both."""
        of_tokens = None
        if self.token_table is not None and other.token_table is not None:
            of_tokens = {**self.token_table, **other.token_table}
        return Cached({**self.table, **other.table}, of_tokens)

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:  # noqa: ARG002
        """See `Reference.logps`.

        Raises:
            CacheError: a completion that is not in the table.
        """
        values = _looked_up(self.table, batch)
        return torch.tensor(values, dtype=batch.sum_dtype, device=batch.token_ids.device)

    def token_logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:  # noqa: ARG002
        """See `Reference.token_logps`.

        Raises:
            CacheError: there is no table per token, or a completion is not in it.
        """
        if self.token_table is None:
            raise CacheError(
                "the table of reference log-probs holds one per completion, but the loss needs one per token, and the "
                "model that could compute them has left memory. Compute them per token before training, or leave the "
                "cache out with --no-reference-cache, so that the reference model stays."
            )
        whole = np.concatenate(_looked_up(self.token_table, batch))
        return torch.from_numpy(whole).to(batch.token_ids.device)

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions:  # noqa: ARG002
        """See `Reference.distributions`.

        Raises:
            CacheError: always; a probability for each token of the vocabulary is too much to keep.
        """
        raise CacheError(
            "the loss needs the whole next-token distributions of the reference, and a table holds only log-probs of "
            "the tokens in the data: the reference model must stay in memory. Leave the cache out with "
            "--no-reference-cache."
        )


def _looked_up(table: Mapping[bytes, Value], batch: PackedBatch) -> list[Value]:
    """The values of the batch's completions, in order.

    Raises:
        CacheError: a completion that is not in the table.
    """
    try:
        return [table[key] for key in batch.keys]
    except KeyError:
        num_missing = sum(key not in table for key in batch.keys)
        raise CacheError(
            f"{num_missing} of the {batch.num_completions} completions of a micro-batch have no reference "
            "log-prob: they were not among the groups that it was computed for, and the model that could compute "
            "it has left memory. Name all groups, held-out ones too, when the log-probs are computed."
        ) from None
