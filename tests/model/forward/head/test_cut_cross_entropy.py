"""Log-probs by cut-cross-entropy against the tiles, with its function written out in plain torch."""

import itertools
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from preftune.model.forward.head.cut_cross_entropy import CutCrossEntropy, find_cut_cross_entropy
from preftune.model.forward.head.linear_logp import linear_logp, linear_token_values, plain_linear_logp
from preftune.model.forward.head.tiles import LinearLogits
from preftune.model.forward.head.token_values import TokenExtra
from preftune.model.forward.kernels.kernels import Kernels, LogpTask
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from tests.model.forward import stand_ins
from tests.model.forward.stand_ins import CceOnCpu
from tests.model.forward.tiny_models import (
    GROUPS,
    HonestFloat64,
    gradients,
    largest_gradient_error,
    one_by_one_logps,
    relative_error,
    tiny_model,
)

CUDA = torch.device("cuda")
TARGETS = torch.tensor([0, 10, 4, 4, 7, 9, 3])


def inputs(*, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(TARGETS), 5), (11, 5), *([(11,)] if bias else [])]
    return tuple(torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)


@pytest.mark.parametrize(
    ("bias", "scale", "softcap"), list(itertools.product([False, True], [1.0, 0.25, -2.0], [None, 2.0]))
)
def test_it_agrees_with_the_tiles_in_log_probs_and_gradients(bias: bool, scale: float, softcap: float | None) -> None:
    hidden, weight, *rest = tensors = inputs(bias=bias)
    logits = LinearLogits(hidden, weight, rest[0] if rest else None, scale, softcap)
    found = CutCrossEntropy(stand_ins.linear_cross_entropy).logps(logits, TARGETS)
    expected = linear_logp(hidden, weight, TARGETS, bias=rest[0] if rest else None, scale=scale, softcap=softcap)
    # A scaled bias is float32, as it is on GPUs.
    precision = 1e-6 if bias and scale != 1 else 1e-12
    torch.testing.assert_close(found, expected, rtol=precision, atol=precision)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), tensors),
        torch.autograd.grad(expected.square().sum(), tensors),
        rtol=precision * 10,
        atol=precision * 10,
    )


def test_weights_in_float32_are_multiplied_in_the_dtype_of_autocast() -> None:
    seen = []

    def seeing(e: Tensor, c: Tensor, *others: Any, **options: Any) -> Tensor:
        seen.append((e.dtype, c.dtype, torch.is_autocast_enabled("cpu")))
        return stand_ins.linear_cross_entropy(e, c, *others, **options)

    hidden, weight = inputs(bias=False, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = CutCrossEntropy(seeing).logps(LinearLogits(hidden, weight), TARGETS)
        expected = linear_logp(hidden, weight, TARGETS)
    assert seen == [(torch.bfloat16, torch.bfloat16, False)]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert gradient.dtype == torch.float32


def test_log_probs_are_at_most_zero() -> None:
    kernel = CutCrossEntropy(lambda *_, **__: torch.tensor([-1e-6, 0.5]))
    assert kernel.logps(LinearLogits(torch.ones(2, 1), torch.ones(1, 1)), TARGETS[:2]).tolist() == [0.0, -0.5]


FITTING = LogpTask(CUDA, torch.bfloat16, torch.bfloat16, 100, 64, 1000)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (FITTING, None),
        (replace(FITTING, weight_dtype=torch.float32), None),
        (replace(FITTING, dtype=torch.float16), None),
        (replace(FITTING, has_bias=True, softcap=30.0), None),
        (replace(FITTING, scale=0.0625), None),
        (replace(FITTING, device=torch.device("cpu")), "not on cpu"),
        (replace(FITTING, dtype=torch.float32), "no float32"),
        (replace(FITTING, has_extras=True), "log-probs only"),
        (replace(FITTING, num_targets=0), "at least one target"),
        (replace(FITTING, scale=0.1), "no logit scale of 0.1 without rounding"),
        (replace(FITTING, scale=0.0), "no logit scale of 0 without rounding"),
        (replace(FITTING, scale=0.5, dtype=torch.float16), "no logit scale of 0.5 without rounding"),
    ],
)
def test_it_says_which_tasks_do_not_fit_and_why(task: LogpTask, reason: str | None) -> None:
    assert CutCrossEntropy(stand_ins.linear_cross_entropy).misfit(task) == reason


def test_a_task_describes_its_logits() -> None:
    hidden, weight, bias = inputs(bias=True, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = LogpTask.of(LinearLogits(hidden, weight, bias, 0.5, 30.0), has_extras=True)
    assert found == LogpTask(
        torch.device("cpu"), torch.bfloat16, torch.float32, 7, 5, 11,
        has_bias=True, scale=0.5, softcap=30.0, has_extras=True,
    )  # fmt: skip


@pytest.mark.parametrize(("extras", "calls"), [(frozenset[TokenExtra](), 1), (frozenset({"entropy"}), 0)])
def test_it_replaces_the_tiles_only_if_supported(extras: frozenset[TokenExtra], calls: int) -> None:
    called = []

    def counted(*arguments: Any, **options: Any) -> Tensor:
        called.append(1)
        return stand_ins.linear_cross_entropy(*arguments, **options)

    hidden, weight = inputs(bias=False)
    logits = LinearLogits(hidden, weight)
    found = linear_token_values(logits, TARGETS, extras=extras, kernel=CceOnCpu(counted))
    assert len(called) == calls
    torch.testing.assert_close(found.logps, plain_linear_logp(hidden, weight, TARGETS), rtol=1e-12, atol=1e-12)
    assert (found.entropy is not None) == ("entropy" in extras)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss"])
def test_models_are_exact_with_it_in_log_probs_and_all_gradients(name: str) -> None:
    with HonestFloat64():
        model = tiny_model(name)
        expected = one_by_one_logps(model, GROUPS)
        expected_gradients = gradients(model, expected)
        found = PackedForward(kernels=Kernels(logps=CceOnCpu())).token_logps(model, pack(GROUPS))
        found_gradients = gradients(model, found)
    assert relative_error(found, expected) < 1e-10
    assert largest_gradient_error(found_gradients, expected_gradients) < 1e-10


def installed(monkeypatch: pytest.MonkeyPatch, version: str, function: object) -> None:
    package = ModuleType("cut_cross_entropy")
    package.__dict__.update(__version__=version, linear_cross_entropy=function)
    monkeypatch.setitem(sys.modules, "cut_cross_entropy", package)


def test_the_exact_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "25.9.1", stand_ins.linear_cross_entropy)
    assert find_cut_cross_entropy() == CutCrossEntropy(stand_ins.linear_cross_entropy)


def test_a_package_that_sums_gradients_in_low_precision_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, "25.1.1", stand_ins.linear_cross_entropy_of_25_1)
    assert find_cut_cross_entropy() == (
        "cut-cross-entropy 25.1.1 takes no accum_c_fp32, no accum_e_fp32, no bias; "
        "the one of github.com/apple/ml-cross-entropy does"
    )


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cut_cross_entropy", raising=False)
    monkeypatch.setattr(sys, "path", [])
    assert find_cut_cross_entropy() == "cut_cross_entropy is not installed"


def test_a_package_that_fails_on_import_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "cut_cross_entropy.py").write_text("raise RuntimeError('0 active drivers')\n")
    monkeypatch.delitem(sys.modules, "cut_cross_entropy", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    assert find_cut_cross_entropy() == "cut_cross_entropy cannot be imported: RuntimeError: 0 active drivers"


@pytest.mark.gpu
@pytest.mark.parametrize(("scale", "softcap", "bias"), [(1.0, None, False), (0.25, 30.0, True)])
def test_on_a_gpu_it_errs_little_more_than_the_tiles_do(scale: float, softcap: float | None, bias: bool) -> None:
    kernel = find_cut_cross_entropy()
    if isinstance(kernel, str):
        pytest.skip(kernel)
    generator = torch.Generator().manual_seed(0)
    shapes = [(777, 512), (5003, 512), *([(5003,)] if bias else [])]
    low = [(torch.randn(shape, generator=generator) / 4).to(CUDA, torch.bfloat16).requires_grad_() for shape in shapes]
    wide = [tensor.detach().double().requires_grad_() for tensor in low]
    targets = torch.randint(0, 5003, (777,), generator=generator).to(CUDA)

    def run(function: Any, tensors: list[Tensor]) -> list[Tensor]:
        logps = function(tensors[0], tensors[1], tensors[2] if bias else None)
        return [logps.detach(), *torch.autograd.grad(logps.square().sum(), tensors)]

    exact = run(lambda h, w, b: plain_linear_logp(h, w, targets, bias=b, scale=scale, softcap=softcap), wide)
    tiles = run(lambda h, w, b: linear_logp(h, w, targets, bias=b, scale=scale, softcap=softcap), low)
    found = run(lambda h, w, b: kernel.logps(LinearLogits(h, w, b, scale, softcap), targets), low)
    for one, other, expected in zip(found, tiles, exact, strict=True):
        allowed = 2 * (other - expected).norm() + torch.finfo(torch.bfloat16).eps * expected.norm()
        assert (one - expected).norm() <= allowed


@pytest.mark.gpu
def test_on_a_gpu_tiles_take_a_tenth_of_the_memory_of_all_logits() -> None:
    hidden = torch.randn(4096, 256, device=CUDA, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(64_000, 256, device=CUDA, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(0, 64_000, (4096,), device=CUDA)

    def peak(function: Any) -> int:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        torch.autograd.grad(function(hidden, weight, targets).sum(), (hidden, weight))
        return torch.cuda.max_memory_allocated() - before

    assert peak(linear_logp) < peak(plain_linear_logp) / 10
