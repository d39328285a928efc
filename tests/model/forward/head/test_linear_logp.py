"""Fused log-probs against all logits at once."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from preftune.model.forward.head.linear_logp import linear_logp, linear_token_values, logp_of_logits, plain_linear_logp
from preftune.model.forward.head.tiles import LinearLogits, Tiles
from preftune.model.forward.head.token_values import TokenExtra
from tests.model.forward.largest_tensor import LargestTensor

TARGETS = torch.tensor([0, 10, 4, 4, 7, 9, 3])


def inputs(*, bias: bool, dtype: torch.dtype = torch.float64, width: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(TARGETS), width), (11, width), *([(11,)] if bias else [])]
    return tuple(torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)


@pytest.mark.parametrize(
    ("bias", "scale", "softcap", "keep_bytes"),
    list(itertools.product([False, True], [1.0, 0.3], [None, 2.0], [0, 200, 1 << 20])),
)
def test_gradcheck_and_agreement_with_the_twin(
    bias: bool, scale: float, softcap: float | None, keep_bytes: int
) -> None:
    def fused(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        tiles = Tiles(tokens=3, vocabulary=4, keep_bytes=keep_bytes)
        return linear_logp(hidden, weight, TARGETS, bias=bias, scale=scale, softcap=softcap, tiles=tiles)

    tensors = inputs(bias=bias)
    assert gradcheck(fused, tensors)
    hidden, weight, *rest = tensors
    expected = plain_linear_logp(hidden, weight, TARGETS, bias=rest[0] if rest else None, scale=scale, softcap=softcap)
    torch.testing.assert_close(fused(*tensors), expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_computed_only_on_request() -> None:
    hidden, weight = inputs(bias=False)
    weight.requires_grad_(False)
    linear_logp(hidden, weight, TARGETS).sum().backward()
    assert weight.grad is None
    assert hidden.grad is not None


def test_kept_tiles_change_no_gradient_in_bfloat16() -> None:
    found = []
    for keep_bytes in (0, 60, 1 << 20):
        tensors = inputs(bias=True, dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            logps = linear_logp(tensors[0], tensors[1], TARGETS, bias=tensors[2], tiles=Tiles(3, 4, keep_bytes))
        logps.sum().backward()
        found.append([tensor.grad for tensor in tensors])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_errs_no_more_than_plain_log_softmax_does(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, 32, generator=generator).to(dtype)
    weight = torch.randn(500, 32, generator=generator).to(dtype)
    targets = torch.randint(0, 500, (64,), generator=generator)
    exact = plain_linear_logp(hidden.double(), weight.double(), targets)
    fused, plain = linear_logp(hidden, weight, targets), plain_linear_logp(hidden, weight, targets)
    assert fused.dtype == plain.dtype == torch.float32
    assert (fused - exact).abs().max() <= (plain - exact).abs().max() + 1e-6


def test_autocast_is_respected() -> None:
    hidden, weight = inputs(bias=False, dtype=torch.float32, width=64)
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_logp(hidden, weight, TARGETS)
    assert torch.equal(found, linear_logp(hidden.bfloat16(), weight.bfloat16(), TARGETS))
    assert not torch.equal(found, linear_logp(hidden, weight, TARGETS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_log_probs_are_at_most_zero_for_a_sure_model(dtype: torch.dtype) -> None:
    hidden = torch.full((1, 3), 7.77, dtype=dtype)
    weight = torch.tensor([[3.33, 3.33, 3.33], [0.0, 0.0, 0.0]], dtype=dtype)
    logp = linear_logp(hidden, weight, torch.tensor([0]))
    assert -1e-6 < float(logp) <= 0


def test_large_logits_do_not_overflow() -> None:
    logp = linear_logp(torch.tensor([[1e4]]), torch.tensor([[1.0], [-1.0], [0.5]]), torch.tensor([2]))
    assert float(logp) == pytest.approx(-5000)


def test_no_targets_give_no_log_probs() -> None:
    _, weight = inputs(bias=False)
    hidden = torch.empty(0, 5, dtype=torch.float64, requires_grad=True)
    logps = linear_logp(hidden, weight, torch.empty(0, dtype=torch.int64))
    assert logps.shape == (0,)


def test_logps_of_logits_are_float32_for_bfloat16() -> None:
    assert logp_of_logits(torch.zeros(1, 4, dtype=torch.bfloat16), torch.tensor([1])).dtype == torch.float32


EXTRAS: frozenset[TokenExtra] = frozenset({"entropy", "log_collision"})


@pytest.mark.parametrize(
    ("bias", "scale", "softcap", "tiles"),
    list(itertools.product([False, True], [1.0, 0.3], [None, 2.0], [Tiles(3, 4), Tiles(1, 1), Tiles(3, 4, 1 << 20)])),
)
def test_extras_are_those_of_all_logits_at_once(bias: bool, scale: float, softcap: float | None, tiles: Tiles) -> None:
    hidden, weight, *rest = inputs(bias=bias)
    logits = LinearLogits(hidden, weight, rest[0] if rest else None, scale, softcap)
    found = linear_token_values(logits, TARGETS, extras=EXTRAS, tiles=tiles)
    p = logits.computed().softmax(-1)
    assert found.entropy is not None
    assert found.log_collision is not None
    torch.testing.assert_close(found.entropy, -(p * p.log()).sum(-1).detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.log_collision, p.square().sum(-1).log().detach(), rtol=1e-12, atol=1e-12)
    assert not found.entropy.requires_grad
    assert not found.log_collision.requires_grad


@pytest.mark.parametrize("keep_bytes", [0, 1 << 20])
def test_extras_change_neither_log_probs_nor_gradients(keep_bytes: int) -> None:
    hidden, weight, bias = tensors = inputs(bias=True)
    tiles = Tiles(3, 4, keep_bytes)
    plain = linear_logp(hidden, weight, TARGETS, bias=bias, tiles=tiles)
    values = linear_token_values(LinearLogits(hidden, weight, bias), TARGETS, extras=EXTRAS, tiles=tiles)
    assert torch.equal(values.logps, plain)
    gradients = [torch.autograd.grad(logps.square().sum(), tensors) for logps in (values.logps, plain)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


@pytest.mark.parametrize(("extra", "other"), [("entropy", "log_collision"), ("log_collision", "entropy")])
def test_only_the_requested_extra_is_computed(extra: TokenExtra, other: TokenExtra) -> None:
    hidden, weight = inputs(bias=False)
    logits = LinearLogits(hidden, weight)
    one = linear_token_values(logits, TARGETS, extras=frozenset({extra}), tiles=Tiles(3, 4))
    both = linear_token_values(logits, TARGETS, extras=EXTRAS, tiles=Tiles(3, 4))
    assert getattr(one, other) is None
    assert torch.equal(getattr(one, extra), getattr(both, extra))


def test_a_sure_model_has_no_entropy_and_collides_with_itself() -> None:
    hidden, weight = torch.tensor([[1e4]]), torch.tensor([[1.0], [-1.0], [0.5], [-1e30]])
    bias = torch.tensor([0.0, 0.0, 0.0, -torch.inf])
    values = linear_token_values(
        LinearLogits(hidden, weight, bias), torch.tensor([0]), extras=EXTRAS, tiles=Tiles(1, 1)
    )
    assert values.entropy is not None
    assert values.log_collision is not None
    assert (float(values.logps), float(values.entropy), float(values.log_collision)) == (0, 0, 0)


def test_extras_of_bfloat16_are_float32_and_close_to_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(64, 32, generator=generator), torch.randn(500, 32, generator=generator)
    targets = torch.randint(0, 500, (64,), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_token_values(LinearLogits(hidden, weight), targets, extras=EXTRAS)
    exact = linear_token_values(LinearLogits(hidden.double(), weight.double()), targets, extras=EXTRAS)
    for name in ("entropy", "log_collision"):
        assert getattr(found, name).dtype == torch.float32
        assert (getattr(found, name) - getattr(exact, name)).abs().max() < 0.1


def test_no_tensor_of_tokens_times_vocabulary_is_made() -> None:
    hidden, weight = (torch.randn(200, 4, requires_grad=True) for _ in range(2))
    targets = torch.arange(200)
    with LargestTensor() as largest:
        values = linear_token_values(LinearLogits(hidden, weight), targets, extras=EXTRAS, tiles=Tiles(16, 32))
        values.logps.sum().backward()
    assert largest.num_elements < 200 * 200 / 10
