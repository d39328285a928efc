"""One padded row per completion: the plain forward that every causal LM can do."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preftune.model.forward.head.token_values import AllLogps, Distributions, TokenExtra, TokenValues, values_of_logits
from preftune.model.forward.packed_batch import PackedBatch
from preftune.planning.sizes import Layout


@dataclass(frozen=True, slots=True)
class SequencesForward:
    """Runs each completion behind its own copy of the prompt, padded on the right to the longest of the batch.

    Right padding comes after all that counts, so a causal model cannot see it, and one that carries state from left
    to right (Mamba) is right as well. The attention mask is passed on for models that want it.
    """

    layout: Layout = "sequences"

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`."""
        return self.token_values(model, batch).logps

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        """See `Forward.token_values`.

        Raises:
            ModelError: the reference does not fit.
        """
        return values_of_logits(_logits(model, batch), batch.targets, extras=extras, reference=reference)

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """See `Forward.distributions`."""
        with torch.no_grad():
            return AllLogps.of_logits(_logits(model, batch))


def _logits(model: nn.Module, batch: PackedBatch) -> Tensor:
    """The model's logits at the predictors. Shape: (target, vocabulary)."""
    sequences = unpacked(batch)
    logits: Tensor = model(
        input_ids=sequences.token_ids,
        attention_mask=sequences.mask,
        use_cache=False,
    ).logits
    return logits[sequences.predictor_rows, sequences.predictor_columns]


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """(sequence, token) tensors, and where the (target,) predictions are among them."""

    token_ids: Tensor
    mask: Tensor
    predictor_rows: Tensor
    predictor_columns: Tensor


def unpacked(batch: PackedBatch) -> Sequences:
    """The sequences of a batch: each completion behind its own copy of the prompt."""
    device = batch.token_ids.device
    rows = [
        torch.cat([batch.token_ids[slice(*group.prompt)], batch.token_ids[slice(*completion)]])
        for group in batch.spans
        for completion in group.completions
    ]
    token_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    columns = torch.arange(token_ids.shape[1], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return Sequences(
        token_ids=token_ids,
        mask=(columns < lengths[:, None]).long(),
        predictor_rows=batch.owners,
        # A target's column is its position, and so is its predictor's in the row of this completion.
        predictor_columns=batch.position_ids[batch.predictors],
    )
