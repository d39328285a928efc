"""Kernels that pass the start-up check, on a CPU with stand-ins for CUDA kernels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MambaConfig

from preftune.model.forward import self_check
from preftune.model.forward.attention.varlen_attention import find_varlen_attention
from preftune.model.forward.kernels import kernel_choice
from preftune.model.forward.kernels.kernel_choice import (
    Candidates,
    attention_fault,
    candidates_on,
    choose_kernels,
    logp_fault,
)
from preftune.model.forward.kernels.kernels import PLAIN, AttentionLayer, Kernels, LogpTask
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.self_check import choose_forward
from tests.model.forward import stand_ins
from tests.model.forward.stand_ins import CceOnCpu, FlashOnCpu, linear_cross_entropy, varlen_attn
from tests.model.forward.tiny_models import GROUPS, build, gradients, tiny_model

FLASH, CCE = FlashOnCpu(), CceOnCpu()
BOTH = Candidates(FLASH, CCE)


def untaught_gradient(e: Tensor, *others: Any, **options: Any) -> Tensor:
    return linear_cross_entropy(e.detach() + 0 * e, *others, **options)


def other_targets(e: Tensor, c: Tensor, targets: Tensor, **options: Any) -> Tensor:
    return linear_cross_entropy(e, c, targets.flip(0), **options)


@pytest.mark.parametrize(
    ("name", "candidates", "kernels", "reason"),
    [
        ("llama", BOTH, Kernels(FLASH, CCE), "attention by flash; log-probs by cce"),
        ("mistral_window", BOTH, Kernels(FLASH, CCE), "attention by flash; log-probs by cce"),
        (
            "gemma2", BOTH, Kernels(None, CCE),
            "attention segment by segment (flash: no soft-capping); log-probs by cce",
        ),
        (
            "gpt_oss", BOTH, Kernels(None, CCE),
            "attention segment by segment (flash: no attention sinks); log-probs by cce",
        ),
        (
            "llama", Candidates("too old a torch", "not installed"), PLAIN,
            "attention segment by segment (too old a torch); log-probs tile by tile (not installed)",
        ),
        (
            "llama", Candidates(FlashOnCpu(stand_ins.aligned_top_left), CCE), Kernels(None, CCE),
            "attention segment by segment (flash: output off by ",
        ),
        (
            "llama", Candidates(FlashOnCpu(stand_ins.without_gradient_by_key), CCE), Kernels(None, CCE),
            "attention segment by segment (flash: gradient by key off by 1.0e+00 of its size, where rounding explains ",
        ),
        (
            "llama", Candidates(FlashOnCpu(stand_ins.refusing), CCE), Kernels(None, CCE),
            "attention segment by segment (flash: RuntimeError: FlashAttention only supports Ampere GPUs or newer.); "
            "log-probs by cce",
        ),
        (
            "llama", Candidates(FLASH, CceOnCpu(other_targets)), Kernels(FLASH, None),
            "attention by flash; log-probs tile by tile (cce: output off by ",
        ),
        (
            "llama", Candidates(FLASH, CceOnCpu(untaught_gradient)), Kernels(FLASH, None),
            "attention by flash; log-probs tile by tile (cce: gradient by hidden off by 1.0e+00 of its size, ",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_wrong_or_unsupported_kernels_are_excluded_and_reported(
    name: str, candidates: Candidates, kernels: Kernels, reason: str, dtype: torch.dtype
) -> None:
    choice = choose_kernels(tiny_model(name, dtype), pack(GROUPS), candidates)
    assert choice.kernels == kernels
    assert choice.reason.startswith(reason)


def test_a_kernel_that_only_some_layers_fit_is_used_for_these() -> None:
    class FullOnly(FlashOnCpu):
        def misfit(self, layer: AttentionLayer) -> str | None:
            return "no windows" if layer.window is not None else None

    choice = choose_kernels(tiny_model("gemma3", torch.float32), pack(GROUPS), Candidates(FullOnly(), CCE))
    assert choice.kernels == Kernels(FullOnly(), CCE)
    assert choice.reason.startswith("attention by flash, segment by segment where unsupported (no windows); ")


def test_each_kind_of_layer_is_tried() -> None:
    windows = []

    def seeing(*arguments: Any, window_size: tuple[int, int], **options: Any) -> Tensor:
        windows.append(window_size)
        return varlen_attn(*arguments, window_size=window_size, **options)

    choose_kernels(tiny_model("gemma3", torch.float32), pack(GROUPS), Candidates(FlashOnCpu(seeing), CCE))
    assert len(windows) == len(set(windows)) == 2


def test_a_head_that_is_not_known_needs_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preftune.model.forward.packed.find_head", lambda *_: None)
    choice = choose_kernels(tiny_model("llama", torch.float32), pack(GROUPS), BOTH)
    assert choice.kernels == Kernels(FLASH, None)
    assert choice.reason.endswith("log-probs from the model's own logits (unknown kind of head)")


def test_a_cpu_has_no_kernels_and_reports_none() -> None:
    assert candidates_on(torch.device("cpu")) is None
    choice = choose_forward(tiny_model("llama", torch.float32))
    assert choice.forward == PackedForward()
    assert "attention" not in choice.reason


def test_on_cuda_the_available_kernels_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "find_cut_cross_entropy", lambda: "not installed")
    assert candidates_on(torch.device("cuda:1")) == Candidates(find_varlen_attention(), "not installed")


def with_candidates(monkeypatch: pytest.MonkeyPatch, candidates: Candidates) -> None:
    monkeypatch.setattr(self_check, "candidates_on", lambda _: candidates)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_forward_of_a_run_gets_the_kernels_that_passed(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    with_candidates(monkeypatch, BOTH)
    choice = choose_forward(tiny_model("llama", dtype))
    assert choice.forward == PackedForward(kernels=Kernels(FLASH, CCE))
    assert choice.reason.startswith("packed rows: log-probs differ by ")
    assert choice.reason.endswith("; attention by flash; log-probs by cce")


def test_autocast_is_that_of_training_when_kernels_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Seeing(FlashOnCpu):
        def misfit(self, layer: AttentionLayer) -> str | None:
            seen.append(layer.dtype)
            return None

    with_candidates(monkeypatch, Candidates(Seeing(), CCE))
    with torch.autocast("cpu", torch.bfloat16):
        choose_forward(tiny_model("llama", torch.float32))
    assert set(seen) == {torch.bfloat16}


def test_kernels_that_pass_alone_but_fail_in_the_model_are_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_on_short_rows(query: Tensor, key: Tensor, value: Tensor, *others: Any, **options: Any) -> Tensor:
        output = varlen_attn(query, key, value, *others, **options)
        return output if len(query) > 100 else output.flip(0)

    with_candidates(monkeypatch, Candidates(FlashOnCpu(wrong_on_short_rows), CCE))
    choice = choose_forward(tiny_model("llama", torch.float32))
    assert choice.forward == PackedForward()
    assert "; no kernels: with attention by flash; log-probs by cce, log-probs differ by " in choice.reason


def test_kernels_that_raise_in_the_model_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising_on_short_rows(query: Tensor, *others: Any, **options: Any) -> Tensor:
        if len(query) < 100:
            raise RuntimeError("no kernel image is available")
        return varlen_attn(query, *others, **options)

    with_candidates(monkeypatch, Candidates(FlashOnCpu(raising_on_short_rows), CCE))
    choice = choose_forward(tiny_model("llama", torch.float32))
    assert choice.forward == PackedForward()
    assert choice.reason.endswith("; no kernels: RuntimeError: no kernel image is available")


def test_a_model_that_fails_with_packed_rows_is_not_tested_with_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: torch.device) -> Candidates:
        raise AssertionError("kernels for rows that are not packed")

    monkeypatch.setattr(self_check, "candidates_on", never)
    model = build(MambaConfig(vocab_size=80, hidden_size=16, num_hidden_layers=2, state_size=4))
    assert choose_forward(model).forward.layout == "sequences"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["llama", "mistral_window", "gemma2", "gpt_oss"])
def test_on_a_gpu_the_choice_is_exact_in_gradients_too(name: str) -> None:
    model = tiny_model(name, torch.bfloat16)
    torch.nn.Module.to(model, "cuda")
    choice = choose_forward(model)
    assert isinstance(choice.forward, PackedForward), choice.reason
    batch = pack(GROUPS).to("cuda")
    found, plain = (
        gradients(model, forward.token_logps(model, batch).cpu())
        for forward in (choice.forward, replace(choice.forward, kernels=PLAIN))
    )
    size = max(float(gradient.norm()) for gradient in plain.values())
    for parameter, gradient in plain.items():
        assert (found[parameter] - gradient).norm() <= 0.1 * gradient.norm() + 0.01 * size


def test_policy_and_reference_share_the_kernels_that_are_right_for_both() -> None:
    both = Kernels(FLASH, CCE)
    assert both.shared_with(both) == both
    assert both.shared_with(Kernels(attention=FlashOnCpu())) == Kernels(attention=FLASH)
    assert PLAIN.shared_with(both) == PLAIN


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
