"""Before the first step: is the packed forward right for this model, and with which kernels?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.errors import first_line
from preftune.groups import Origin
from preftune.model.forward.forward import Forward, evaluating
from preftune.model.forward.head.tiles import DEFAULT_TILES, Tiles
from preftune.model.forward.kernels.kernel_choice import KernelChoice, candidates_on, choose_kernels
from preftune.model.forward.kernels.kernels import PLAIN
from preftune.model.forward.packed import PackedForward, language_model_of
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.forward.rewards import RewardForward, is_reward_model
from preftune.model.forward.sequences import SequencesForward

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest difference of log-probs (root mean square), as a share of their standard deviation over the tokens.

The rounding error of a model is proportional to how much its logits vary, and so is the effect of seeing wrong tokens:
the share tells them apart in a freshly made model with flat logits as well as in a trained one. The mean, because
rounding may send single tokens to other experts.
"""

LEAK_SHARE = 0.05
"""Share of the tolerance for the change by a sibling's tokens. Little: shapes are the same, so rounding is as well."""


@dataclass(frozen=True, slots=True)
class ForwardChoice:
    """A way to compute log-probs, and one line on why it is this one."""

    forward: Forward
    reason: str


def choose_forward(
    model: nn.Module,
    *,
    groups: Sequence[TokenGroup] | None = None,
    tiles: Tiles = DEFAULT_TILES,
    compute_dtype: torch.dtype | None = None,
) -> ForwardChoice:
    """Test packed rows on small groups; use them if they are correct, else one row per completion.

    Of a reward model, rewards are compared instead of log-probs.

    Packed rows are right if their log-probs are those of one row per completion, and if those of a completion do not
    change with the tokens of its siblings: this shows state carried from one to the next (Mamba, Jamba) in any dtype.
    Then, on devices that have kernels: those that agree with plain torch on small problems of this model's shapes, in
    output and gradients, are used, if packed rows are right with them as well.

    Args:
        model: The model as it will be called, wrapped or not. Run it under the autocast of training, if any.
        groups: Test groups, best with several completions of unequal length. None for random tokens.
        tiles: For `PackedForward`.
        compute_dtype: Dtype of the matrix products, where the model switches autocast on by itself (accelerate does).
    """
    gives_rewards = is_reward_model(model)
    packed: PackedForward | RewardForward = RewardForward() if gives_rewards else PackedForward(tiles)
    plain = RewardForward("sequences") if gives_rewards else SequencesForward()
    try:
        groups = groups or _random_groups(_vocabulary_size(model))
        with torch.no_grad(), evaluating(model):
            share = _error(model, packed, plain, groups)
    except Exception as error:  # Whatever a model may raise, it means that it cannot do this.
        return ForwardChoice(plain, f"one row per completion: {first_line(error)}")
    tolerance = TOLERANCES[compute_dtype or _dtype(model)]
    values = "rewards" if gives_rewards else "log-probs"
    finding = f"{values} differ by {share:.1e} of their spread, {tolerance:.0e} allowed"
    if not share <= tolerance:
        return ForwardChoice(
            plain,
            f"one row per completion: packed {finding}; the model mixes tokens outside "
            "attention or makes positions of its own",
        )
    kernels = _right_kernels(model, packed, plain, groups, tolerance)
    if kernels is None:
        return ForwardChoice(packed, f"packed rows: {finding}")
    return ForwardChoice(replace(packed, kernels=kernels.kernels), f"packed rows: {finding}; {kernels.reason}")


def _right_kernels(
    model: nn.Module,
    packed: PackedForward | RewardForward,
    plain: Forward,
    groups: Sequence[TokenGroup],
    tolerance: float,
) -> KernelChoice | None:
    """The kernels with which this model is correct on packed rows; None if there is only plain torch."""
    device = next(model.parameters()).device
    candidates = candidates_on(device)
    if candidates is None:
        return None
    try:
        with torch.no_grad(), evaluating(model):
            choice = choose_kernels(model, pack(groups).to(device), candidates)
            share = _error(model, replace(packed, kernels=choice.kernels), plain, groups)
    except Exception as error:  # As above: plain torch is known to do.
        return KernelChoice(PLAIN, f"no kernels: {first_line(error)}")
    if not share <= tolerance:
        return KernelChoice(PLAIN, f"no kernels: with {choice.reason}, log-probs differ by {share:.1e} of their spread")
    return choice


def _error(model: nn.Module, packed: Forward, plain: Forward, groups: Sequence[TokenGroup]) -> float:
    """The difference that should not be, leaks weighted up, as a share of the log-probs' standard deviation."""
    device = next(model.parameters()).device
    batch, changed = pack(groups).to(device), pack([_with_other_first(group) for group in groups]).to(device)
    expected, found = plain.token_logps(model, batch), packed.token_logps(model, batch)
    leaked = (packed.token_logps(model, changed) - found)[_after_first(batch)]
    error = torch.maximum(_size(found - expected), _size(leaked) / LEAK_SHARE)
    return float(error / expected.std())


def _size(difference: Tensor) -> Tensor:
    """Root mean square; 0 of nothing, as where no completion has a sibling."""
    return (difference.square().sum() / max(1, difference.numel())).sqrt()


def _with_other_first(group: TokenGroup) -> TokenGroup:
    """The group with other tokens, its own ones in another order, in its first completion."""
    first = group.completions[0]
    others = np.concatenate([group.prompt, *group.completions[1:]])
    return replace(group, completions=(np.resize(others[::-1], len(first)).astype(np.int32), *group.completions[1:]))


def _after_first(batch: PackedBatch) -> Tensor:
    """True if a target belongs to another than the first completion of its group. Shape: (target,)."""
    is_first = [index == 0 for group in batch.spans for index in range(len(group.completions))]
    return ~torch.tensor(is_first, device=batch.owners.device)[batch.owners]


def _random_groups(vocabulary_size: int) -> tuple[TokenGroup, ...]:
    """Two groups with completions of unequal length."""
    random = np.random.default_rng(0)

    def tokens(length: int) -> TokenIds:
        return random.integers(min(3, vocabulary_size - 1), vocabulary_size, length).astype(np.int32)

    lengths = ((7, (5, 9, 3)), (4, (8, 2)))
    return tuple(
        TokenGroup(tokens(prompt), tuple(tokens(length) for length in completions), (), Origin("self-check", row))
        for row, (prompt, completions) in enumerate(lengths, start=1)
    )


def _vocabulary_size(model: nn.Module) -> int:
    size: int = language_model_of(model).config.get_text_config().vocab_size
    return size


def _dtype(model: nn.Module) -> torch.dtype:
    """Dtype of the matrix products, as far as it can be seen from here."""
    parameter = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    device = parameter.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parameter.dtype
