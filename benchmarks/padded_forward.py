"""Forward of a careful padded trainer: rows padded to the longest, log-probs without logits."""

from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.model.forward.head.head import find_head
from preftune.model.forward.head.linear_logp import linear_logp
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.head.token_values import Distributions, TokenExtra, TokenValues
from preftune.model.forward.packed_batch import PackedBatch
from preftune.planning.sizes import Layout

__all__ = ["PaddedFused"]


@dataclass(frozen=True, slots=True)
class PaddedFused:
    """Padded rows as in `SequencesForward`, with fused log-probs on the completion tokens: not part of the package."""

    layout: Layout = "sequences"

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`."""
        language_model = model.get_base_model() if isinstance(model, PeftModel) else model
        assert isinstance(language_model, PreTrainedModel)
        head = find_head(language_model, language_model)
        assert head is not None
        rows = [
            torch.cat([batch.token_ids[slice(*group.prompt)], batch.token_ids[slice(*completion)]])
            for group in batch.spans
            for completion in group.completions
        ]
        token_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=token_ids.device)
        mask = torch.arange(token_ids.shape[1], device=token_ids.device) < lengths[:, None]
        decoder = language_model.get_decoder()
        hidden = decoder(input_ids=token_ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
        predicting = hidden[batch.owners, batch.position_ids[batch.predictors]]
        return linear_logp(predicting, head.linear.weight, batch.targets, tiles=Tiles.on(predicting.device))

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        """See `Forward.token_values`; log-probs alone are measured."""
        assert not extras, "log-probs alone are measured"
        assert reference is None, "log-probs alone are measured"
        return TokenValues(self.token_logps(model, batch))

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """See `Forward.distributions`; not measured."""
        raise NotImplementedError
