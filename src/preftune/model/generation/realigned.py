"""Decoding-time realignment: sampling from a mix of a policy and its reference, token by token."""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, final

import torch
from peft import PeftModel
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

from preftune.errors import ConfigError
from preftune.model.forward.realigned import check_mixable, mixed_logits
from preftune.model.reference.reference import AdapterOff, FrozenCopy
from preftune.settings.sampling import strength_problems

Mixer = Callable[[Tensor], LogitsProcessor]
"""Makes the logits processor of a batch from its attention mask. Shape: (row, token)."""

_CACHE_NAMES = frozenset({"cache", "past_key_values", "cache_params", "state"})
"""Names of the generation state in outputs of transformers models: `cache` since transformers 5.24."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Realignment:
    """Mix of a policy and its reference.

    pi(token) = softmax((1 - strength) * reference logits + strength * policy logits)

    Args:
        reference: A model of its own on the policy's device, or the policy with its adapter switched off.
        strength: 0: the reference, 1: the policy, above 1: extrapolation.
    Raises:
        ConfigError: a strength that is negative, NaN or infinite.
    Source: Liu et al. 2024, arXiv:2402.02992.
    """

    reference: FrozenCopy | AdapterOff
    strength: float

    def __post_init__(self) -> None:
        problems = list(strength_problems(self.strength))
        if problems:
            raise ConfigError(problems)

    @property
    def is_policy(self) -> bool:
        """True if the mix is the policy itself, so that the reference need not run."""
        return self.strength == 1

    @contextmanager
    def mixer(self, policy: PreTrainedModel | PeftModel) -> Iterator[Mixer]:
        """Inside the context, a maker of logits processors that mix the reference in."""
        if isinstance(self.reference, FrozenCopy):
            yield partial(MixInReference, self.reference.model, self.strength)
            return
        assert isinstance(policy, PeftModel), f"expected a model with adapters, got {type(policy).__name__}"
        with _without_adapter(policy) as model:
            yield partial(MixInReference, model, self.strength)

    def check(self, policy: PreTrainedModel | PeftModel) -> None:
        """Make sure that policy and reference give probabilities to the same tokens."""
        if isinstance(self.reference, FrozenCopy):
            check_mixable(*(model.config.get_text_config().vocab_size for model in (policy, self.reference.model)))


@contextmanager
def _without_adapter(model: PeftModel) -> Iterator[PeftModel]:
    """The model with its adapter off, as a second model that shares the weights.

    peft goes through all modules to switch an adapter. Once per token, that would take as long as the forward of a
    model with some billions of parameters on a GPU.
    """
    tensors = list(chain(model.parameters(), model.buffers()))
    wants_gradient = [tensor.requires_grad for tensor in tensors]
    other = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    try:
        with other.disable_adapter():
            yield other
    finally:
        for tensor, wanted in zip(tensors, wants_gradient, strict=True):
            tensor.requires_grad_(wanted)  # peft changes it when it switches the adapter


@final
class MixInReference(LogitsProcessor):
    """Replaces the policy's logits by those of the mix, for one batch of `generate`.

    It runs before temperature, top-k and top-p, so these apply to the mix. The reference keeps its own cache and
    processes one new token per row and step, like the policy.

    Args:
        mask: 1 for tokens of the prompts, 0 for padding, which is on the left. Shape: (row, token).
    """

    def __init__(self, reference: PreTrainedModel | PeftModel, strength: float, mask: Tensor) -> None:
        self._reference = reference
        self._strength = strength
        self._mask = mask
        self._state: dict[str, Any] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits of the mix for the next token. Shape: (row, token), (row, vocabulary) -> (row, vocabulary)."""
        num_new = input_ids.shape[1] - self._mask.shape[1]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), num_new)], dim=1)
        return mixed_logits(scores, self._next_logits(input_ids).to(scores.device), self._strength)

    def _next_logits(self, input_ids: Tensor) -> Tensor:
        """The reference's logits for the next token. Shape: (row, vocabulary)."""
        model = self._reference
        language_model: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        inputs = language_model.prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=1 if self._state else None,
            is_first_iteration=not self._state,
            attention_mask=self._mask,
            use_cache=True,
            **self._state,
            **_known(language_model, position_ids=_positions(self._mask), logits_to_keep=1),
        )
        output = model(**inputs, return_dict=True)
        # Take the keys of the output as they are: older names still work but warn.
        self._state = {name: output[name] for name in output.keys() & _CACHE_NAMES}
        logits: Tensor = output.logits[:, -1]
        return logits


def _known(model: PreTrainedModel, **inputs: Any) -> dict[str, Any]:
    """The inputs that the model's forward accepts."""
    names = inspect.signature(model.forward).parameters
    return {name: value for name, value in inputs.items() if name in names}


def _positions(mask: Tensor) -> Tensor:
    """Position ids of left-padded rows.

    >>> _positions(torch.tensor([[0, 0, 1, 1]]))
    tensor([[0, 0, 0, 1]])
    """
    return (mask.cumsum(-1) - 1).clamp_min(0)
