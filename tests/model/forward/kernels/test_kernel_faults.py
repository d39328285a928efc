"""What is wrong with kernels that are wrong, and that nothing is with those that are right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from preftune.model.forward.kernels.kernel_faults import attention_fault, logp_fault
from preftune.model.forward.kernels.kernels import AttentionLayer, LogpTask
from tests.model.forward import stand_ins
from tests.model.forward.stand_ins import CceOnCpu, FlashOnCpu, linear_cross_entropy, varlen_attn

CPU = torch.device("cpu")
DTYPES = [torch.bfloat16, torch.float16, torch.float32]
LAYER = AttentionLayer(CPU, torch.bfloat16, 4, 2, 16, 16, 0.25)
TASK = LogpTask(CPU, torch.bfloat16, torch.bfloat16, 38, 32, 300)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 1, 40, 4096])
@pytest.mark.parametrize("takes_groups", [True, False])
def test_right_attention_has_no_fault_in_any_dtype(dtype: torch.dtype, window: int | None, takes_groups: bool) -> None:
    layer = replace(LAYER, dtype=dtype, window=window)
    assert attention_fault(FlashOnCpu(takes_groups=takes_groups), layer) is None


def one_key_short(*arguments: Any, window_size: tuple[int, int], **options: Any) -> Tensor:
    """Wrong: a window of W positions that leaves out the last of them."""
    left, right = window_size
    return varlen_attn(*arguments, window_size=(max(left - 1, -1), right), **options)


def scaled(name: str, factor: float) -> Callable[..., Tensor]:
    """Right but for one gradient, which is a little too large."""

    def wrong(*arguments: Any, **options: Any) -> Tensor:
        place = ("query", "key", "value").index(name)
        tensor = arguments[place]
        changed = list(arguments)
        changed[place] = tensor * factor - (tensor * (factor - 1)).detach()
        return varlen_attn(*changed, **options)

    return wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "window", "fault"),
    [
        (stand_ins.aligned_top_left, None, "output off by "),
        (one_key_short, 50, "output off by "),
        (stand_ins.without_gradient_by_key, None, "gradient by key off by 1.0e+00 of its size"),
        (scaled("query", 1.1), None, "gradient by query off by 1.0e-01 of its size"),
        (scaled("value", 1.1), 20, "gradient by value off by 1.0e-01 of its size"),
        (stand_ins.refusing, None, "RuntimeError: FlashAttention only supports Ampere GPUs or newer."),
        (lambda *arguments, **options: varlen_attn(*arguments, **options) * torch.nan, None, "output off by nan"),
        (
            lambda *arguments, **options: varlen_attn(*arguments, **options)[:9],
            None,
            "output of shape (4, 9, 16), not (",
        ),
    ],
)
def test_wrong_attention_is_found_out_in_any_dtype(
    function: Callable[..., Tensor], window: int | None, fault: str, dtype: torch.dtype
) -> None:
    found = attention_fault(FlashOnCpu(function), replace(LAYER, dtype=dtype, window=window))
    assert found is not None
    assert found.startswith(fault)


def test_a_window_longer_than_the_problem_is_tried_with_one_that_hides_something() -> None:
    windows = []

    def seeing(*arguments: Any, window_size: tuple[int, int], **options: Any) -> Tensor:
        windows.append(window_size)
        return varlen_attn(*arguments, window_size=window_size, **options)

    assert attention_fault(FlashOnCpu(seeing), replace(LAYER, window=4096)) is None
    assert windows == [(60, 0)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wide_weights", [False, True])
@pytest.mark.parametrize(("has_bias", "scale", "softcap"), [(False, 1.0, None), (True, 0.25, 5.0)])
def test_right_log_probs_have_no_fault_in_any_dtype(
    dtype: torch.dtype, wide_weights: bool, has_bias: bool, scale: float, softcap: float | None
) -> None:
    weight_dtype = torch.float32 if wide_weights else dtype
    task = replace(TASK, dtype=dtype, weight_dtype=weight_dtype, has_bias=has_bias, scale=scale, softcap=softcap)
    assert logp_fault(CceOnCpu(), task) is None


def filtered(e: Tensor, c: Tensor, targets: Tensor, **options: Any) -> Tensor:
    """Wrong: weights of tokens that are no target get no gradient."""
    is_target = torch.zeros(len(c), 1, dtype=torch.bool)
    is_target[targets] = True
    return linear_cross_entropy(e, torch.where(is_target, c, c.detach()), targets, **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (lambda e, c, targets, **options: linear_cross_entropy(e, c, targets.flip(0), **options), "output off by "),
        (
            lambda *arguments, **options: linear_cross_entropy(*arguments, **options).mean(),
            "output of shape (), not (130,)",
        ),
        (lambda e, *others, **options: linear_cross_entropy(e.detach() + 0 * e, *others, **options), "gradient by hid"),
        (filtered, "gradient by weight off by "),
        (stand_ins.refusing, "RuntimeError: FlashAttention only"),
    ],
)
def test_wrong_log_probs_are_found_out(function: Callable[..., Tensor], fault: str, dtype: torch.dtype) -> None:
    found = logp_fault(CceOnCpu(function), replace(TASK, dtype=dtype, weight_dtype=dtype))
    assert found is not None
    assert found.startswith(fault)


def test_a_bias_without_gradient_is_found_out() -> None:
    def without(e: Tensor, c: Tensor, targets: Tensor, *, bias: Tensor, **options: Any) -> Tensor:
        return linear_cross_entropy(e, c, targets, bias.detach() + 0 * bias, **options)

    found = logp_fault(CceOnCpu(without), replace(TASK, has_bias=True))
    assert found is not None
    assert found.startswith("gradient by bias off by 1.0e+00")


def test_the_problem_for_log_probs_stays_small_for_a_large_vocabulary() -> None:
    shapes = []

    def seeing(e: Tensor, c: Tensor, *others: Any, **options: Any) -> Tensor:
        shapes.append((tuple(e.shape), tuple(c.shape)))
        return linear_cross_entropy(e, c, *others, **options)

    assert logp_fault(CceOnCpu(seeing), replace(TASK, vocabulary_size=150_000, num_targets=9000)) is None
    assert shapes == [((130, 32), (5003, 32))]


def test_trying_leaves_autocast_and_gradients_as_they_were() -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        assert attention_fault(FlashOnCpu(), LAYER) is None
        assert logp_fault(CceOnCpu(), TASK) is None
        assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
