"""One padded row per completion: the plain forward that every causal LM can do."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preftune.planning import Layout
from preftune.policy.packed_batch import PackedBatch

__all__ = ["SequencesForward"]


@dataclass(frozen=True, slots=True)
class SequencesForward:
    """Runs each completion behind its own copy of the prompt, padded on the right to the longest of the batch.

    Right padding comes after all that counts, so a causal model cannot see it, and one that carries state from left
    to right (Mamba) is right as well. The attention mask is passed on for models that want it.
    """

    layout: Layout = "sequences"

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`."""
        sequences = _unpack(batch)
        logits: Tensor = model(
            input_ids=sequences.token_ids,
            attention_mask=sequences.mask,
            use_cache=False,
        ).logits
        predicting = logits[sequences.predictor_rows, sequences.predictor_columns]
        at_least_float32 = predicting.to(torch.promote_types(predicting.dtype, torch.float32))
        return at_least_float32.log_softmax(-1).gather(1, batch.targets[:, None])[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class _Sequences:
    """(sequence, token) tensors, and where the (target,) predictions are among them."""

    token_ids: Tensor
    mask: Tensor
    predictor_rows: Tensor
    predictor_columns: Tensor


def _unpack(batch: PackedBatch) -> _Sequences:
    device = batch.token_ids.device
    rows = [
        torch.cat([batch.token_ids[slice(*group.prompt)], batch.token_ids[slice(*completion)]])
        for group in batch.spans
        for completion in group.completions
    ]
    token_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    columns = torch.arange(token_ids.shape[1], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return _Sequences(
        token_ids=token_ids,
        mask=(columns < lengths[:, None]).long(),
        predictor_rows=batch.owners,
        # A target's column is its position, and so is its predictor's in the row of this completion.
        predictor_columns=batch.position_ids[batch.predictors],
    )
