"""The enumerable world as models that the estimators can run: a table of log-probs behind the usual seams."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin, Pair
from preftune.model.forward.head.token_values import Distributions, TokenExtra, TokenValues
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.generation.completions import Generation
from preftune.planning.sizes import Layout
from studies.enumerable import World
from studies.enumerable.feedback import Pairs

__all__ = ["TableForward", "TableModel", "draw_pairs", "draw_prompts", "draw_samples"]


class TableModel(nn.Module):
    """Log-probs of completions of one token, by the last token of the prompt."""

    def __init__(self, logps: Tensor) -> None:
        super().__init__()
        self.logps = nn.Parameter(logps, requires_grad=False)


@dataclass(frozen=True, slots=True)
class TableForward:
    """Looks log-probs up."""

    layout: Layout = "packed"

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        return self.token_values(model, batch).logps

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        assert isinstance(model, TableModel)
        rows = model.logps[batch.token_ids[batch.predictors]]
        return TokenValues(rows.gather(1, batch.targets[:, None])[:, 0], entropy=-(rows.exp() * rows).sum(1))

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        raise NotImplementedError


def draw_pairs(world: World, count: int, seed: int) -> list[TokenGroup]:
    """Pairs as the world gives them, each after a prompt of its own."""
    pairs = Pairs.of(world)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.multinomial(pairs.weights, count, replacement=True, generator=generator).tolist()
    return [
        TokenGroup(
            prompt=_prompt(serial, int(pairs.prompts[row])),
            completions=(_ids(int(pairs.chosen[row])), _ids(int(pairs.rejected[row]))),
            pairs=(Pair(0, 1, float(pairs.margins[row])),),
            origin=Origin("world", serial + 1),
        )
        for serial, row in enumerate(rows)
    ]


def draw_prompts(world: World, count: int, seed: int) -> list[int]:
    """Kinds of prompts, equally likely."""
    found: list[int] = np.random.default_rng(seed).integers(len(world.reference), size=count).tolist()
    return found


def draw_samples(logps: Tensor, kinds: Sequence[int], num_samples: int, seed: int) -> list[list[Generation]]:
    """Samples of a policy, by prompt."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(logps.exp()[list(kinds)], num_samples, replacement=True, generator=generator).tolist()
    return [
        [Generation(_prompt(serial, kind), _ids(completion), str(completion), True) for completion in completions]
        for serial, (kind, completions) in enumerate(zip(kinds, drawn, strict=True))
    ]


def _prompt(serial: int, kind: int) -> np.ndarray:
    return _ids(serial + 1000, kind)


def _ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)
