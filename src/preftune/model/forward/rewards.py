"""Rewards of completions: the output of a reward model at the last token of each, all completions in one row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.head.token_values import Distributions, TokenExtra, TokenValues
from preftune.model.forward.kernels.kernels import PLAIN, Kernels
from preftune.model.forward.packed import language_model_of, output_of_packed
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.forward.sequences import unpacked
from preftune.planning.sizes import Layout


@dataclass(frozen=True, slots=True)
class RewardForward:
    """A `Forward` of reward models, so that they train as policies do.

    The value of a target is the reward of its completion if it is the last one, else 0: sums over completions, which
    are log-probs of a policy, are rewards here.

    Args:
        layout: All completions in one packed row, or a row per completion.
        kernels: As in `PackedForward`; only those of attention are used.
    """

    layout: Layout = "packed"
    kernels: Kernels = PLAIN

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """The reward of each completion at its last target, else 0. Shape: (target,)."""
        ends = batch.num_tokens.cumsum(0) - 1
        rewards = self.rewards(model, batch)
        return rewards.new_zeros(len(batch.targets)).index_put((ends,), rewards)

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        """As `token_logps`; a reward model has no distributions, so the extras stay None."""
        del extras, reference
        return TokenValues(self.token_logps(model, batch))

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """Not available.

        Raises:
            ModelError: always.
        """
        del model, batch
        raise ModelError("a reward model has no next-token distributions. Use a method that trains a language model.")

    def rewards(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """The reward of each completion, in float32 or better. Shape: (completion,).

        Raises:
            ModelError: the model has no head with one output, or cannot work on packed rows; the message says why.
        """
        last = batch.num_tokens.cumsum(0) - 1
        if self.layout == "packed":
            # A target follows its predictor in the row, except the first of a completion, which its own span begins.
            ends = torch.tensor(
                [stop - 1 for group in batch.spans for _, stop in group.completions], device=batch.token_ids.device
            )
            with _read_at(model, (torch.zeros_like(ends), ends)):
                output = output_of_packed(model, batch, self.kernels.attention)
        else:
            sequences = unpacked(batch)
            rows = torch.arange(len(last), device=last.device)
            with _read_at(model, (rows, sequences.predictor_columns[last] + 1)):
                output = model(input_ids=sequences.token_ids, attention_mask=sequences.mask, use_cache=False).logits
        return output[0].to(torch.promote_types(output.dtype, torch.float32))


def is_reward_model(model: nn.Module) -> bool:
    """True if transformers reads one number from a row of tokens, not logits of words at each."""
    return _head(language_model_of(model)) is not None


def reward_head_of(model: nn.Module) -> nn.Module:
    """The linear layer that makes the reward of a hidden state, or the wrapper that peft puts around it.

    Raises:
        ModelError: there is none, or it has several outputs.
    """
    language_model = language_model_of(model)
    head = _head(language_model)
    if head is None:
        raise ModelError(
            f"{type(language_model).__name__}: is no reward model with a linear layer of one output. Name a causal "
            "language model, from which transformers can make one, or a reward model."
        )
    return head


def _head(model: PreTrainedModel) -> nn.Module | None:
    head = getattr(model, "score", None)
    has_one_output = model.config.get_text_config().num_labels == 1
    return head if isinstance(head, nn.Module) and has_one_output else None


@contextmanager
def _read_at(model: nn.Module, places: tuple[Tensor, Tensor]) -> Iterator[None]:
    """Inside the context, the `logits` of a reward model are the rewards at some places of its input.

    transformers picks one token of each row for the output. Here, the head is given the hidden states of the wanted
    places only, and its outputs stand at every token, so that each pick has all of them.

    Args:
        places: Row and column of each. Shape of both: (completion,).
    """
    shapes: list[torch.Size] = []

    def at_head(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shapes.append(inputs[0].shape)
        return (inputs[0][places], *inputs[1:])

    def after_head(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        num_rows, num_columns, _ = shapes.pop()
        return output[:, 0].expand(num_rows, num_columns, -1)

    head = reward_head_of(model)
    hooks = [head.register_forward_pre_hook(at_head), head.register_forward_hook(after_head)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
