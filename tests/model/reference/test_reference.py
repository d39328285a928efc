import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from preftune.model.forward.forward import Forward, completion_logps
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference, Reference
from tests.builders import tiny_llama, token_groups

FORWARD = SequencesForward()


@pytest.fixture
def batch() -> PackedBatch:
    return pack(token_groups(3))


def adapted(seed: int = 0) -> PeftModel:
    """A model whose adapter does something, unlike a fresh one."""
    torch.manual_seed(seed)
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    assert isinstance(model, PeftModel)
    return model


def test_a_frozen_copy_stays_as_it_was_while_the_policy_moves(batch: PackedBatch) -> None:
    policy = tiny_llama()
    reference = FrozenCopy(copy.deepcopy(policy).eval())
    before = completion_logps(FORWARD, policy, batch)
    torch.nn.init.normal_(policy.lm_head.weight)
    found = reference.logps(FORWARD, policy, batch)
    torch.testing.assert_close(found, before)
    assert not found.requires_grad


def test_the_adapter_off_gives_the_base_model_and_leaves_the_adapter_on(batch: PackedBatch) -> None:
    policy = adapted()
    with_adapter = completion_logps(FORWARD, policy, batch)
    found = AdapterOff().logps(FORWARD, policy, batch)
    base = completion_logps(FORWARD, copy.deepcopy(policy).unload(), batch)
    torch.testing.assert_close(found, base)
    assert not torch.allclose(found, with_adapter)
    torch.testing.assert_close(completion_logps(FORWARD, policy, batch), with_adapter)


def with_kept_adapter() -> PeftModel:
    """A model with its adapter twice; the one in training has moved since."""
    policy = adapted()
    policy.add_adapter("reference", policy.peft_config["default"])
    start = {name: value for name, value in policy.state_dict().items() if ".default." in name}
    policy.load_state_dict({name.replace("default", "reference"): value for name, value in start.items()}, strict=False)
    for name, parameter in policy.named_parameters():
        if ".default." in name:
            torch.nn.init.normal_(parameter)
    return policy


def test_a_kept_adapter_is_the_one_training_began_from(batch: PackedBatch) -> None:
    policy = with_kept_adapter()
    before, moved = (completion_logps(FORWARD, model, batch) for model in (adapted(), policy))
    found = KeptAdapter(trained="default", kept="reference").logps(FORWARD, policy, batch)
    torch.testing.assert_close(found, before)
    torch.testing.assert_close(completion_logps(FORWARD, policy, batch), moved)
    trainable = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all(".default." in name for name in trainable)


def cases() -> list[tuple[Reference, nn.Module, nn.Module]]:
    """References, each with a policy and with a model that computes what the reference should."""
    torch.manual_seed(0)
    frozen, base = tiny_llama().eval(), adapted()
    return [
        (FrozenCopy(frozen), adapted(seed=1), frozen),
        (AdapterOff(), base, copy.deepcopy(base).unload()),
        (KeptAdapter("default", "reference"), with_kept_adapter(), adapted()),
    ]


@pytest.mark.parametrize("forward", [PackedForward(), SequencesForward()])
@pytest.mark.parametrize("case", range(3), ids=["frozen copy", "adapter off", "kept adapter"])
def test_token_values_equal_those_of_the_frozen_model(case: int, forward: Forward, batch: PackedBatch) -> None:
    reference, policy, model = cases()[case]
    own = forward.token_logps(policy, batch)
    tokens, held = reference.token_logps(forward, policy, batch), reference.distributions(forward, policy, batch)
    assert tokens is not None
    assert not tokens.requires_grad
    torch.testing.assert_close(tokens, forward.token_logps(model, batch))
    torch.testing.assert_close(reference.logps(forward, policy, batch), batch.sum_by_completion(tokens))
    kl_to_itself, kl_to_policy = (forward.token_values(each, batch, reference=held).kl for each in (model, policy))
    assert kl_to_itself is not None
    assert kl_to_policy is not None
    assert kl_to_itself.abs().max() < 1e-5
    assert kl_to_policy.max() > 1e-2
    torch.testing.assert_close(forward.token_logps(policy, batch), own)


def test_dropout_is_off_in_the_reference_and_back_on_in_the_policy(batch: PackedBatch) -> None:
    policy = adapted()
    policy.train()
    AdapterOff().logps(FORWARD, policy, batch)
    assert policy.training


def test_no_reference_gives_nothing(batch: PackedBatch) -> None:
    reference: Reference = NoReference()
    assert reference.logps(FORWARD, tiny_llama(), batch) is None
    assert reference.token_logps(FORWARD, tiny_llama(), batch) is None
    assert reference.distributions(FORWARD, tiny_llama(), batch) is None
