"""Variable-length attention against its twin, with torch's kernel written out in plain torch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import varlen
from torch.utils._python_dispatch import TorchDispatchMode

from preftune.model.forward import packed
from preftune.model.forward.attention.segment_attention import AttentionPlan, segment_attention
from preftune.model.forward.attention.segments import SegmentKeys, segments_of
from preftune.model.forward.attention.varlen_attention import VarlenAttention, find_varlen_attention
from preftune.model.forward.kernels.kernels import AttentionLayer, Kernels
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import GroupSpan, pack
from tests.model.forward.largest_tensor import LargestTensor
from tests.model.forward.stand_ins import FlashOnCpu, varlen_attn
from tests.model.forward.tiny_models import (
    GROUPS,
    HonestFloat64,
    gradients,
    largest_gradient_error,
    one_by_one_logps,
    relative_error,
    tiny_model,
    token_groups,
)

CUDA = torch.device("cuda")


def inputs(
    num_tokens: int, num_heads: int = 4, num_key_heads: int = 2, *, dtype: torch.dtype = torch.float64, width: int = 8
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(heads, num_tokens, width, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()
        for heads in (num_heads, num_key_heads, num_key_heads)
    )


def values_and_gradients(function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    output = function(*tensors)
    weights = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [output.detach(), *torch.autograd.grad((output * weights.to(output)).sum(), tensors)]


def by_kernel(kernel: VarlenAttention, plan: AttentionPlan, window: int | None = None) -> Callable[..., Tensor]:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return kernel.attend(query, key, value, plan.segment_keys(query.device), scaling=0.3, window=window)

    return attend


def by_segments(plan: AttentionPlan, window: int | None = None) -> Callable[..., Tensor]:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return segment_attention(query, key, value, plan, scaling=0.3, window=window)

    return attend


def test_keys_are_those_of_the_prompt_and_then_the_segments_own() -> None:
    groups = [GroupSpan((0, 2), ((2, 5), (5, 6), (6, 8))), GroupSpan((8, 9), ((9, 10),))]
    keys = SegmentKeys.of(segments_of(groups))
    assert keys.places.tolist() == [0, 1, 2, 3, 4, 0, 1, 5, 0, 1, 6, 7, 8, 9]
    assert keys.query_edges.tolist() == [0, 5, 6, 8, 10]
    assert keys.key_edges.tolist() == [0, 5, 8, 12, 14]
    assert keys.query_edges.dtype == keys.key_edges.dtype == torch.int32
    assert (keys.longest_queries, keys.longest_keys) == (5, 5)


def test_the_longest_keys_may_be_those_of_a_segment_with_few_queries() -> None:
    keys = SegmentKeys.of(segments_of([GroupSpan((0, 9), ((9, 10), (10, 13)))]))
    assert (keys.longest_queries, keys.longest_keys) == (10, 12)


def test_keys_are_gathered_once_per_plan_and_device() -> None:
    plan = AttentionPlan(pack(token_groups([(3, (2, 4))])).spans)
    cpu = torch.device("cpu")
    assert plan.segment_keys(cpu) is plan.segment_keys(cpu)


lengths = st.tuples(st.integers(1, 30), st.lists(st.integers(1, 30), min_size=1, max_size=8))


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(lengths, min_size=1, max_size=3),
    window=st.sampled_from([None, 1, 2, 7, 29, 100]),
    heads=st.sampled_from([(1, 1), (4, 2), (6, 1), (3, 3)]),
    takes_groups=st.booleans(),
)
def test_it_agrees_with_the_twin_in_output_and_gradients(
    groups: list[tuple[int, list[int]]], window: int | None, heads: tuple[int, int], takes_groups: bool
) -> None:
    plan = AttentionPlan(pack(token_groups(groups)).spans)
    kernel = VarlenAttention(varlen_attn, takes_groups)
    tensors = inputs(plan.num_tokens, *heads)
    found = values_and_gradients(by_kernel(kernel, plan, window), tensors)
    expected = values_and_gradients(by_segments(plan, window), tensors)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["llama", "mistral_window", "gemma3", "gpt2"])
def test_models_are_exact_with_it_in_log_probs_and_all_gradients(name: str) -> None:
    calls = []

    def counted(*arguments: Any, **options: Any) -> Tensor:
        calls.append(options["window_size"])
        return varlen_attn(*arguments, **options)

    forward = PackedForward(kernels=Kernels(attention=FlashOnCpu(counted)))
    with HonestFloat64():
        model = tiny_model(name)
        expected = one_by_one_logps(model, GROUPS)
        expected_gradients = gradients(model, expected)
        found = forward.token_logps(model, pack(GROUPS))
        found_gradients = gradients(model, found)
    assert len(calls) == model.config.num_hidden_layers
    assert relative_error(found, expected) < 1e-10
    assert largest_gradient_error(found_gradients, expected_gradients) < 1e-10


def test_layers_that_do_not_fit_are_left_to_plain_torch() -> None:
    def never(*_: Any, **__: Any) -> Tensor:
        raise AssertionError("a layer with soft-capping came here")

    with HonestFloat64():
        model = tiny_model("gemma2")
        found = PackedForward(kernels=Kernels(attention=FlashOnCpu(never))).token_logps(model, pack(GROUPS))
        assert relative_error(found, one_by_one_logps(model, GROUPS)) < 1e-10


class SumDtypes(TorchDispatchMode):
    """Notes the dtypes in which rows are added up. On a CPU the sums themselves would not tell: they are exact."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[torch.dtype] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.index_add_.default:
            self.seen.append(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("dtype", "wide"), [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)]
)
def test_gradients_of_a_prompts_keys_are_summed_in_float32_or_better(dtype: torch.dtype, wide: torch.dtype) -> None:
    plan = AttentionPlan(pack(token_groups([(2, (1, 1, 1))])).spans)
    tensors = inputs(plan.num_tokens, 1, 1, dtype=dtype)
    output = by_kernel(VarlenAttention(varlen_attn, takes_groups=True), plan)(*tensors)
    with SumDtypes() as sums:
        gradients = torch.autograd.grad(output.sum(), tensors)
    assert sums.seen == [wide, wide]
    assert {gradient.dtype for gradient in gradients} == {dtype}


def test_only_the_kernel_allocates_tokens_times_tokens() -> None:
    plan = AttentionPlan(pack(token_groups([(200, (100, 100))])).spans)
    tensors = inputs(plan.num_tokens, 1, 1)
    kernel = VarlenAttention(lambda query, key, value, *_, **__: query + key.sum() * value.sum(), takes_groups=True)
    with LargestTensor() as largest:
        by_kernel(kernel, plan)(*tensors).sum().backward()
    assert largest.num_elements < 400 * 400 / 10


FITTING = AttentionLayer(CUDA, torch.bfloat16, 8, 2, 64, 64, 0.125)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (FITTING, None),
        (replace(FITTING, dtype=torch.float16), None),
        (replace(FITTING, window=4096), None),
        (replace(FITTING, width=256, value_width=256), None),
        (replace(FITTING, device=torch.device("cpu")), "not on cpu"),
        (replace(FITTING, dtype=torch.float32), "no float32"),
        (replace(FITTING, dtype=torch.float64), "no float64"),
        (replace(FITTING, softcap=50.0), "no soft-capping"),
        (replace(FITTING, has_sinks=True), "no attention sinks"),
        (replace(FITTING, dropout=0.1), "no dropout here"),
        (replace(FITTING, value_width=128), "no values of another width (128) than keys (64)"),
        (replace(FITTING, width=264, value_width=264), "no heads of width 264"),
        (replace(FITTING, width=100, value_width=100), "no heads of width 100"),
    ],
)
def test_it_says_which_layers_do_not_fit_and_why(layer: AttentionLayer, reason: str | None) -> None:
    assert VarlenAttention(varlen_attn, takes_groups=True).misfit(layer) == reason


def test_the_kernel_of_this_torch_is_found_with_the_keywords_it_takes() -> None:
    kernel = find_varlen_attention()
    assert isinstance(kernel, VarlenAttention), kernel
    assert kernel.function is varlen.varlen_attn


@pytest.mark.parametrize("window", [None, 5])
def test_the_kernel_of_this_torch_takes_what_it_is_given_forward_and_backward(window: int | None) -> None:
    kernel = find_varlen_attention()
    assert isinstance(kernel, VarlenAttention), kernel
    plan = AttentionPlan(pack(token_groups([(3, (2, 4)), (5, (1, 7, 2))])).spans)
    # Tensors without numbers: torch checks arguments and gives shapes, and needs no GPU for it.
    low = inputs(plan.num_tokens, 4, 2, dtype=torch.bfloat16, width=16)
    tensors = tuple(tensor.detach().to("meta").requires_grad_() for tensor in low)
    output = by_kernel(kernel, plan, window)(*tensors)
    assert output.shape == tensors[0].shape
    gradients = torch.autograd.grad(output.sum(), tensors)
    assert [gradient.shape for gradient in gradients] == [tensor.shape for tensor in tensors]


def test_heads_are_repeated_for_a_torch_that_takes_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_2_11(
        query: Tensor, *others: Any, scale: float | None = None, window_size: tuple[int, int] = (-1, -1)
    ) -> Any:
        return varlen_attn(query, *others, scale=scale, window_size=window_size)

    monkeypatch.setattr(varlen, "varlen_attn", of_2_11)
    kernel = find_varlen_attention()
    assert isinstance(kernel, VarlenAttention)
    plan = AttentionPlan(pack(token_groups([(3, (2, 4))])).spans)
    tensors = inputs(plan.num_tokens, 4, 2)
    found, expected = by_kernel(kernel, plan)(*tensors), by_segments(plan)(*tensors)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_torch_without_windows_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_2_10(query: Tensor, *others: Any, is_causal: bool = False) -> Tensor:
        return query

    monkeypatch.setattr(varlen, "varlen_attn", of_2_10)
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    assert find_varlen_attention() == "varlen_attn of torch 2.10.0 takes no scale and no window_size"


def test_packed_rows_use_no_kernel_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = []

    def spying(groups: Any, kernel: Any = None) -> AttentionPlan:
        kernels.append(kernel)
        return AttentionPlan(groups, kernel)

    monkeypatch.setattr(packed, "AttentionPlan", spying)
    flash = FlashOnCpu()
    for forward in (PackedForward(), PackedForward(kernels=Kernels(attention=flash))):
        forward.token_logps(tiny_model("llama"), pack(GROUPS))
    assert kernels[-2:] == [None, flash]


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 1, 40, 4096])
@pytest.mark.parametrize(("heads", "width"), [((4, 4), 64), ((8, 2), 128), ((2, 1), 256)])
def test_on_a_gpu_it_errs_little_more_than_segments_do(window: int | None, heads: tuple[int, int], width: int) -> None:
    kernel = find_varlen_attention()
    assert isinstance(kernel, VarlenAttention), kernel
    plan = AttentionPlan(pack(token_groups([(300, (70, 9, 200)), (5, (1, 130)), (65, (64,))])).spans)
    low = tuple(
        tensor.detach().to(CUDA).requires_grad_()
        for tensor in inputs(plan.num_tokens, *heads, dtype=torch.bfloat16, width=width)
    )
    wide = tuple(tensor.detach().double().requires_grad_() for tensor in low)
    exact = values_and_gradients(by_segments(plan, window), wide)
    plain = values_and_gradients(by_segments(plan, window), low)
    found = values_and_gradients(by_kernel(kernel, plan, window), low)
    for one, other, expected in zip(found, plain, exact, strict=True):
        allowed = 2 * (other - expected).norm() + torch.finfo(torch.bfloat16).eps * expected.norm()
        assert (one - expected).norm() <= allowed
