"""Block attention against its twin, and both against an attention written out token by token."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from preftune.model.forward.attention import block_attention as module
from preftune.model.forward.attention.block_attention import block_attention
from preftune.model.forward.attention.segment_attention import AttentionPlan, segment_attention
from preftune.model.forward.packed_batch import pack
from tests.model.forward.tiny_models import token_groups

SMALL = pack(token_groups([(3, (2, 4)), (1, (1, 2))])).spans
LARGE = pack(token_groups([(90, (40, 3, 70)), (5, (66, 2)), (1, (1,))])).spans


def inputs(num_tokens: int, *, width: int = 4, sinks: bool = False) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    tensors = (random(4, num_tokens, width), random(2, num_tokens, width), random(2, num_tokens, width + 1))
    return (*tensors, random(4)) if sinks else tensors


OPTIONS: list[dict[str, Any]] = [
    {"scaling": scaling, "softcap": softcap, "window": window}
    for scaling, softcap, window in [(0.5, None, None), (0.3, 0.7, None), (0.5, None, 3), (0.5, 2.0, 2)]
]


@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("kept_keys", [0, 1024])
@pytest.mark.parametrize("options", OPTIONS)
def test_gradcheck(options: dict[str, Any], kept_keys: int, sinks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_KEYS", kept_keys)
    plan = AttentionPlan(SMALL)
    blocks = plan.blocks(options["window"])

    def attend(query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None = None) -> Tensor:
        return block_attention(
            query, key, value, blocks, scaling=options["scaling"], softcap=options["softcap"], sinks=sinks
        )

    assert gradcheck(attend, inputs(plan.num_tokens, width=2, sinks=sinks))


@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("kept_keys", [0, 1024])
@pytest.mark.parametrize("options", [*OPTIONS, {"scaling": 0.5, "softcap": None, "window": 64}])
def test_it_agrees_with_the_twin_in_output_and_gradients(
    options: dict[str, Any], kept_keys: int, sinks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_KEYS", kept_keys)
    plan = AttentionPlan(LARGE)
    query, key, value, *rest = tensors = inputs(plan.num_tokens, sinks=sinks)
    common = {"scaling": options["scaling"], "softcap": options["softcap"], "sinks": rest[0] if rest else None}
    fast = block_attention(query, key, value, plan.blocks(options["window"]), **common)
    simple = segment_attention(query, key, value, plan, window=options["window"], **common)
    torch.testing.assert_close(fast, simple, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(fast)
    for found, expected in zip(
        torch.autograd.grad((fast * weights).sum(), tensors),
        torch.autograd.grad((simple * weights).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


lengths = st.tuples(st.integers(1, 80), st.lists(st.integers(1, 80), min_size=1, max_size=4))


@settings(max_examples=20, deadline=None)
@given(st.lists(lengths, min_size=1, max_size=4), st.sampled_from([None, 1, 7, 64, 100]))
def test_both_agree_with_attention_written_out_sequence_by_sequence(
    groups: list[tuple[int, list[int]]], window: int | None
) -> None:
    spans = pack(token_groups(groups)).spans
    plan = AttentionPlan(spans)
    query, key, value = (tensor.detach() for tensor in inputs(plan.num_tokens))
    fast = block_attention(query, key, value, plan.blocks(window), scaling=0.5)
    simple = segment_attention(query, key, value, plan, scaling=0.5, window=window)
    for group in spans:
        for completion in group.completions:
            places = torch.cat([torch.arange(*group.prompt), torch.arange(*completion)])
            distance = torch.arange(len(places))[:, None] - torch.arange(len(places))
            hidden = (distance < 0) if window is None else (distance < 0) | (distance >= window)
            keys, values = key[:, places].repeat_interleave(2, 0), value[:, places].repeat_interleave(2, 0)
            scores = (query[:, places] @ keys.mT * 0.5).masked_fill(hidden, -torch.inf)
            expected = scores.softmax(-1) @ values
            torch.testing.assert_close(fast[:, places], expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(simple[:, places], expected, rtol=1e-12, atol=1e-12)


def test_bfloat16_errs_little_more_than_sdpa_does() -> None:
    plan = AttentionPlan(LARGE)
    query, key, value = (tensor.detach().bfloat16() for tensor in inputs(plan.num_tokens, width=32))
    expected = segment_attention(query.double(), key.double(), value.double(), plan, scaling=0.3)
    fast = block_attention(query, key, value, plan.blocks(None), scaling=0.3)
    simple = segment_attention(query, key, value, plan, scaling=0.3)
    assert fast.dtype == torch.bfloat16
    assert (fast - expected).abs().mean() <= 2 * (simple - expected).abs().mean()


def test_keys_that_no_query_sees_are_left_out() -> None:
    spans = pack(token_groups([(640, (64, 64))])).spans
    last = AttentionPlan(spans).blocks(64)[-1]
    assert last.queries == slice(704, 768)
    assert last.num_keys == 63 + 64
