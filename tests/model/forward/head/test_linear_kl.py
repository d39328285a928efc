"""Fused KL against all logits at once."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from preftune.model.forward.head.linear_kl import kl_of_logits, linear_kl, plain_linear_kl
from preftune.model.forward.head.tiles import LinearLogits, Tiles
from tests.model.forward.largest_tensor import LargestTensor

NUM_TARGETS, VOCABULARY = 7, 11
ODD = Tiles(tokens=3, vocabulary=4)


def head(seed: int, *, bias: bool, dtype: torch.dtype = torch.float64, width: int = 5) -> tuple[Tensor, ...]:
    """Hidden states, weight and bias."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(NUM_TARGETS, width), (VOCABULARY, width), *([(VOCABULARY,)] if bias else [])]
    return tuple(torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)


def reference(*, bias: bool, scale: float = 0.5, softcap: float | None = None) -> LinearLogits:
    """A head of another width, scale and soft-cap than the policy's."""
    hidden, weight, *rest = head(1, bias=bias, width=3)
    return LinearLogits(hidden, weight, rest[0] if rest else None, scale, softcap)


@pytest.mark.parametrize(
    ("bias", "scale", "softcap", "reference_softcap"),
    list(itertools.product([False, True], [1.0, 0.3], [None, 2.0], [None, 3.0])),
)
def test_gradcheck_and_agreement_with_the_twin(
    bias: bool, scale: float, softcap: float | None, reference_softcap: float | None
) -> None:
    held = reference(bias=not bias, softcap=reference_softcap)

    def logits(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> LinearLogits:
        return LinearLogits(hidden, weight, bias, scale, softcap)

    tensors = tuple(tensor.requires_grad_() for tensor in head(0, bias=bias))
    assert gradcheck(lambda *tensors: linear_kl(logits(*tensors), held, tiles=ODD), tensors)
    found, expected = linear_kl(logits(*tensors), held, tiles=ODD), plain_linear_kl(logits(*tensors), held)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.arange(1.0, NUM_TARGETS + 1, dtype=torch.float64)
    of_found, of_expected = (torch.autograd.grad(kl @ weights, tensors) for kl in (found, expected))
    torch.testing.assert_close(of_found, of_expected, rtol=1e-12, atol=1e-12)


def test_a_hand_value() -> None:
    """Policy 1/4, 3/4; reference 1/2, 1/2: (ln(1/2 / 1/4) + ln(1/2 / 3/4)) / 2 = ln(4/3) / 2."""
    logits = torch.tensor([[0.25, 0.75]]).log()
    assert float(kl_of_logits(logits, torch.zeros(1, 2))) == pytest.approx(0.14384104)


@pytest.mark.parametrize("tiles", [Tiles(), ODD, Tiles(1, 1), Tiles(NUM_TARGETS, VOCABULARY - 1)])
def test_the_cut_does_not_matter(tiles: Tiles) -> None:
    hidden, weight, bias = head(0, bias=True)
    policy, held = LinearLogits(hidden, weight, bias), reference(bias=True)
    torch.testing.assert_close(linear_kl(policy, held, tiles=tiles), plain_linear_kl(policy, held))


def test_the_references_logits_may_be_given_as_they_are() -> None:
    hidden, weight = (tensor.requires_grad_() for tensor in head(0, bias=False))
    policy, held = LinearLogits(hidden, weight), reference(bias=True)
    expected = torch.autograd.grad(linear_kl(policy, held, tiles=ODD).sum(), [hidden, weight])
    for given in (held.computed(), held.computed().log_softmax(-1)):
        kl = linear_kl(policy, given, tiles=ODD)
        torch.testing.assert_close(kl, linear_kl(policy, held), rtol=1e-12, atol=1e-12)
        found = torch.autograd.grad(kl.sum(), [hidden, weight])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_token_that_the_reference_never_gives_adds_nothing() -> None:
    hidden, weight = (tensor.requires_grad_() for tensor in head(0, bias=False))
    given = reference(bias=False).computed()
    given[:, 4:7] = -torch.inf
    policy = LinearLogits(hidden, weight)
    fused, plain = linear_kl(policy, given, tiles=ODD), plain_linear_kl(policy, given)
    assert torch.isfinite(fused).all()
    torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)
    of_fused, of_plain = (torch.autograd.grad(kl.sum(), [hidden, weight]) for kl in (fused, plain))
    torch.testing.assert_close(of_fused, of_plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_kl_of_a_model_with_itself_is_zero_with_zero_gradient(dtype: torch.dtype) -> None:
    hidden, weight, bias = (tensor.requires_grad_() for tensor in head(0, bias=True, dtype=dtype))
    policy = LinearLogits(hidden, weight, bias, scale=3.0, softcap=2.0)
    kl = linear_kl(policy, policy, tiles=ODD)
    kl.sum().backward()
    assert not kl.any()
    for tensor in (hidden, weight, bias):
        assert tensor.grad is not None
        assert not tensor.grad.any()


def test_gradients_are_computed_only_on_request() -> None:
    hidden, weight = head(0, bias=False)
    held = reference(bias=True)
    held.hidden.requires_grad_()
    held.weight.requires_grad_()
    assert not linear_kl(LinearLogits(hidden, weight), held).requires_grad
    linear_kl(LinearLogits(hidden.requires_grad_(), weight), held).sum().backward()
    assert hidden.grad is not None
    assert weight.grad is held.hidden.grad is held.weight.grad is None


def test_a_reference_that_changes_before_backward_is_an_error() -> None:
    hidden, weight = (tensor.requires_grad_() for tensor in head(0, bias=False))
    held = reference(bias=False)
    kl = linear_kl(LinearLogits(hidden, weight), held).sum()
    held.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kl.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_errs_no_more_than_plain_log_softmax_does(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    policy, held = LinearLogits(random(64, 32), random(500, 32)), LinearLogits(random(64, 16), random(500, 16))
    exact = plain_linear_kl(in_float64(policy), in_float64(held))
    fused, plain = linear_kl(policy, held), plain_linear_kl(policy, held)
    assert fused.dtype == plain.dtype == torch.float32
    assert (fused - exact).abs().max() <= (plain - exact).abs().max() + 1e-5


def in_float64(logits: LinearLogits) -> LinearLogits:
    return LinearLogits(logits.hidden.double(), logits.weight.double())


def test_autocast_is_respected_for_the_policy_and_the_reference_keeps_its_own_dtype() -> None:
    hidden, weight = head(0, bias=False, dtype=torch.float32, width=64)
    other_hidden, other_weight = head(1, bias=False, dtype=torch.float32, width=64)
    held = LinearLogits(other_hidden, other_weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_kl(LinearLogits(hidden, weight), held)
    assert torch.equal(found, linear_kl(LinearLogits(hidden.bfloat16(), weight.bfloat16()), held))
    assert not torch.equal(found, linear_kl(LinearLogits(hidden, weight), held))
    assert found.dtype == torch.float32


def test_a_float64_reference_makes_a_float64_kl() -> None:
    hidden, weight = (tensor.requires_grad_() for tensor in head(0, bias=False, dtype=torch.float32))
    kl = linear_kl(LinearLogits(hidden, weight), reference(bias=False))
    kl.sum().backward()
    assert kl.dtype == torch.float64
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32


def test_large_logits_do_not_overflow() -> None:
    policy = LinearLogits(torch.tensor([[1e4]]), torch.tensor([[1.0], [-1.0], [0.5]]))
    held = LinearLogits(torch.tensor([[1e4]]), torch.tensor([[-1.0], [0.0], [1.0]]))
    assert float(linear_kl(policy, held)) == pytest.approx(5000)


def test_no_targets_give_no_kl() -> None:
    _, weight = head(0, bias=False)
    hidden = torch.empty(0, 5, dtype=torch.float64, requires_grad=True)
    kl = linear_kl(LinearLogits(hidden, weight), LinearLogits(hidden.detach(), weight))
    kl.sum().backward()
    assert kl.shape == (0,)


def test_no_tensor_of_tokens_times_vocabulary_is_made() -> None:
    hidden, weight = (torch.randn(200, 4, requires_grad=True) for _ in range(2))
    held = LinearLogits(torch.randn(200, 4), torch.randn(200, 4))
    with LargestTensor() as largest:
        linear_kl(LinearLogits(hidden, weight), held, tiles=Tiles(16, 32)).sum().backward()
    assert largest.num_elements < 200 * 200 / 10
