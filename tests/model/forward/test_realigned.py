"""Log-probs of the mix of policy and reference against the formula, in float64."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.head.token_values import AllLogps, Distributions, TokenValues
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.realigned import RealignedForward, mixed_logits
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.reference import AdapterOff, FrozenCopy, NoReference
from studies.enumerable import World
from tests.model.forward.head.test_head import with_unknown_head
from tests.model.forward.head.test_token_values import BATCH, EXTRAS, assert_same, every_logp, other_weights
from tests.model.forward.largest_tensor import LargestTensor
from tests.model.forward.tiny_models import VOCABULARY_SIZE, HonestFloat64, tiny_model, token_groups

TILES = Tiles(tokens=16, vocabulary=40)
PACKED = PackedForward(TILES)
PADDED = SequencesForward()


def realigned(model: PreTrainedModel, strength: float, inner: Forward = PACKED) -> RealignedForward:
    return RealignedForward(inner, FrozenCopy(model), strength, TILES)


def all_values(forward: Forward, model: nn.Module, anchor: Distributions) -> TokenValues:
    return forward.token_values(model, BATCH, extras=EXTRAS, reference=anchor)


def expected_values(mix: Tensor, anchor: Tensor) -> TokenValues:
    """Values by the formulas, from log-probs of the mix and of the anchor of the KL. Shape: (target, vocabulary)."""
    return TokenValues(
        logps=mix.gather(1, BATCH.targets[:, None])[:, 0],
        entropy=-(mix.exp() * mix).sum(-1),
        log_collision=mix.exp().square().sum(-1).log(),
        kl=(anchor.exp() * (anchor - mix)).sum(-1),
    )


def pair_of(name: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A policy and its reference."""
    match name:
        case "two architectures":
            return tiny_model("granite"), tiny_model("gpt2")
        case "biased heads":
            return _with_bias(tiny_model("granite"), 1), _with_bias(tiny_model("llama"), 2)
        case "one biased head":
            return tiny_model("llama"), _with_bias(other_weights(tiny_model("llama")), 2)
        case "one soft-cap":
            return tiny_model("gemma2"), tiny_model("gemma2", final_logit_softcapping=None)
        case "unknown head":
            return with_unknown_head(tiny_model("llama")), tiny_model("gpt2")
    model = tiny_model(name)
    return model, other_weights(model)


def _with_bias(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(seed)
    bias = torch.randn(VOCABULARY_SIZE, generator=generator, dtype=torch.float64)
    model.get_output_embeddings().bias = nn.Parameter(bias)
    return model


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize(
    "name",
    ["llama", "gemma2", "two architectures", "biased heads", "one biased head", "one soft-cap", "unknown head"],
)
def test_the_values_are_those_of_the_geometric_mix(name: str, strength: float) -> None:
    with HonestFloat64(), torch.no_grad():
        policy, reference = pair_of(name)
        anchor = tiny_model("qwen2")
        of_policy, of_reference, of_anchor = (every_logp(model) for model in (policy, reference, anchor))
        mix = (of_policy * strength + of_reference * (1 - strength)).log_softmax(-1)
        expected = expected_values(mix, of_anchor)
        for inner in (PACKED, PADDED):
            forward = realigned(reference, strength, inner)
            found = all_values(forward, policy, inner.distributions(anchor, BATCH))
            assert_same(found, expected)
            assert torch.equal(forward.token_logps(policy, BATCH), found.logps)
            held = forward.distributions(policy, BATCH).logits()
            logits = held if isinstance(held, Tensor) else held.computed()
            assert (logits.log_softmax(-1) - mix).abs().max() < 1e-10


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["q_proj", "lm_head"]])
def test_the_reference_may_be_the_policy_with_its_adapter_off(targets: list[str]) -> None:
    """With a head that both share, and with one that the adapter changes."""
    with HonestFloat64(), torch.no_grad():
        plain = tiny_model("llama").double()  # its buffers too
        of_reference = every_logp(plain)
        policy = get_peft_model(plain, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
        policy.double().eval()
        of_policy = every_logp(policy)  # type: ignore[arg-type]
        assert (of_policy - of_reference).abs().max() > 0.1
        mix = (0.4 * of_policy + 0.6 * of_reference).log_softmax(-1)
        for inner in (PACKED, PADDED):
            found = RealignedForward(inner, AdapterOff(), 0.4, TILES).token_logps(policy, BATCH)
            assert (found - mix.gather(1, BATCH.targets[:, None])[:, 0]).abs().max() < 1e-10


@pytest.mark.parametrize("inner", [PACKED, PADDED])
def test_strength_1_is_the_policy_exactly_and_0_the_reference(inner: Forward) -> None:
    policy = tiny_model("llama", torch.float32)
    policy.set_attn_implementation("eager")
    reference = other_weights(policy)
    with torch.no_grad():
        for strength, model in ((1.0, policy), (0.0, reference)):
            found = realigned(reference, strength, inner).token_logps(policy, BATCH)
            assert (found - inner.token_logps(model, BATCH)).abs().max() <= (0 if strength == 1 else 1e-5)


def test_half_precision_differs_from_the_mix_by_its_rounding_only() -> None:
    policy = tiny_model("llama", torch.float32)
    policy.set_attn_implementation("eager")
    reference = other_weights(policy)
    with torch.no_grad():
        expected = realigned(reference, 0.5).token_logps(policy, BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            found = realigned(reference, 0.5).token_logps(policy, BATCH)
            own_error = (PACKED.token_logps(policy, BATCH) - policy_logps(policy)).abs().mean()
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().mean() < 2 * own_error


def policy_logps(policy: PreTrainedModel) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return PACKED.token_logps(policy, BATCH)


@pytest.mark.parametrize(("name", "tiles"), [("llama", Tiles(16, 128)), ("gemma2", Tiles(16, 128))])
def test_logits_never_exist_in_full(name: str, tiles: Tiles) -> None:
    policy = tiny_model(name, torch.float32, vocab_size=4000)
    policy.set_attn_implementation("eager")
    batch = pack(token_groups([(5, (100, 100))]))
    forward = RealignedForward(PackedForward(tiles), FrozenCopy(other_weights(policy)), 0.5, tiles)
    with LargestTensor() as largest:
        forward.token_values(policy, batch, extras=EXTRAS)
    assert largest.num_elements < len(batch.targets) * 4000 / 2


def test_the_values_have_no_gradient() -> None:
    policy = tiny_model("llama")
    assert not realigned(other_weights(policy), 0.5).token_logps(policy, BATCH).requires_grad


def test_models_with_unlike_vocabularies_are_refused() -> None:
    policy, reference = tiny_model("llama"), tiny_model("llama", vocab_size=VOCABULARY_SIZE + 3)
    with HonestFloat64(), pytest.raises(ModelError, match="gives probabilities to 97 tokens, the reference to 100"):
        realigned(reference, 0.5).token_logps(policy, BATCH)


def test_the_reference_must_run_a_model() -> None:
    with HonestFloat64(), pytest.raises(ValueError, match="the reference gives no distributions"):
        RealignedForward(PACKED, NoReference(), 0.5).token_logps(tiny_model("llama"), BATCH)


def test_what_either_model_excludes_stays_excluded() -> None:
    low = -torch.inf
    policy, reference = torch.tensor([low, 0.0, 1.0, low]), torch.tensor([1.0, low, 2.0, low])
    for strength in (0.5, 2.0):
        assert mixed_logits(policy, reference, strength).isneginf().tolist() == [True, True, False, True]
    assert torch.equal(mixed_logits(policy, reference, 1), policy)
    assert torch.equal(mixed_logits(policy, reference, 0), reference)


def test_the_mix_of_whole_completions_is_what_training_with_another_beta_leads_to() -> None:
    """For completions of one token, where tokens and completions are the same."""
    world = World.drawn(beta=0.5)
    for strength in (0.25, 1.0, 3.0):
        other = World(world.reference, world.rewards, world.beta / strength)
        found = mixed_logits(world.optimum, world.reference, strength).log_softmax(-1)
        assert (found - other.optimum).abs().max() < 1e-12


def test_a_model_that_must_not_change_does_not() -> None:
    with HonestFloat64():
        policy = tiny_model("llama")
        before = copy.deepcopy(policy.state_dict())
        held = realigned(other_weights(policy), 0.5, PADDED).distributions(policy, BATCH)
    assert isinstance(held, AllLogps)
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, before[name])
