"""Metrics beside the loss: what they are, and that no cut of a step changes them."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import Method
from preftune.model.forward.sequences import SequencesForward
from preftune.training.objective import Objective
from tests.builders import tiny_llama, token_groups
from tests.training.test_objective import groups_with_all_feedback
from tests.training.test_trainer import arguments, frozen, plain_logps
from tests.training.trainers import make_trainer

OF_LISTS = {"rewards/length_correlation", "logratios/absolute", "logratios/per_token", "entropy"}
OF_THUMBS = OF_LISTS - {"rewards/length_correlation"}


def evaluated(
    groups: list[TokenGroup], folder: Path, max_tokens: int, method: str = "dpo", *, shift: float | None = None
) -> Mapping[str, float]:
    """Metrics of a policy that differs from its reference, by a share of each weight if `shift` says so."""
    torch.manual_seed(0)
    policy, reference = tiny_llama().double(), tiny_llama().double()
    if shift is not None:
        policy.load_state_dict({name: weight * (1 + shift) for name, weight in reference.state_dict().items()})
    trainer = make_trainer(
        policy,
        arguments(folder),
        objective=Objective(Method.named(method), frozen(reference), SequencesForward()),
        train_groups=groups,
        eval_groups=groups,
        batch_size=8,
        max_tokens_per_microbatch=max_tokens,
    )
    metrics = trainer.evaluation_loop(trainer.get_eval_dataloader(), "held out").metrics
    assert metrics is not None
    return {name.removeprefix("eval_"): value for name, value in metrics.items()}


@pytest.mark.parametrize("method", ["dpo", "beta_dpo", "kto", "plackett_luce"])
def test_they_are_the_same_however_a_step_is_cut(method: str, tmp_path: Path) -> None:
    groups = groups_with_all_feedback(16)
    whole, cut = (evaluated(groups, tmp_path, max_tokens, method) for max_tokens in (10**6, 120))
    assert whole.keys() >= (OF_THUMBS if method == "kto" else OF_LISTS)
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert math.isclose(value, cut[name], rel_tol=1e-9), name


@pytest.mark.parametrize("shift", [0.0, 1e-10])
@pytest.mark.parametrize("method", ["dpo", "kto", "plackett_luce", "beta_dpo", "ipo"])
def test_a_policy_that_equals_its_reference_to_rounding_has_no_share_and_no_correlation(
    method: str, shift: float, tmp_path: Path
) -> None:
    found = evaluated(groups_with_all_feedback(16), tmp_path, 160, method, shift=shift)
    assert abs(found["rewards/margins"]) < 1e-6
    assert not found.keys() & {"rewards/rejected_share", "rewards/length_correlation"}


def test_they_are_what_they_say(tmp_path: Path) -> None:
    groups = token_groups(16, longest=40)
    found = evaluated(groups, tmp_path, 10**6)
    torch.manual_seed(0)
    policy, reference = tiny_llama().double(), tiny_llama().double()
    with torch.no_grad():
        logratios = torch.stack([plain_logps(policy, group) - plain_logps(reference, group) for group in groups])
    lengths = torch.tensor([group.completion_lengths for group in groups], dtype=torch.float64)
    assert math.isclose(found["logratios/absolute"], logratios.abs().mean().item(), rel_tol=1e-6)
    assert math.isclose(found["logratios/per_token"], (logratios.abs().sum() / lengths.sum()).item(), rel_tol=1e-6)
    margins, differences = logratios[:, 0] - logratios[:, 1], lengths[:, 0] - lengths[:, 1]
    correlation = (margins @ differences / (margins.norm() * differences.norm())).item()
    assert math.isclose(found["rewards/length_correlation"], correlation, rel_tol=1e-6)


def test_the_entropy_is_that_of_the_next_token_over_all_held_out_tokens(tmp_path: Path) -> None:
    groups = token_groups(4, longest=20)
    found = evaluated(groups, tmp_path, 10**6)["entropy"]
    torch.manual_seed(0)
    policy = tiny_llama().double()
    entropies = []
    for group in groups:
        for completion in group.completions:
            with torch.no_grad():
                logits = policy(input_ids=torch.tensor([[*group.prompt, *completion]])).logits[0]
            of_targets = logits[len(group.prompt) - 1 : -1].log_softmax(-1)
            entropies += (-(of_targets.exp() * of_targets).sum(-1)).tolist()
    assert math.isclose(found, sum(entropies) / len(entropies), rel_tol=1e-6)


def test_training_steps_measure_no_entropy(tmp_path: Path) -> None:
    policy = tiny_llama()
    trainer = make_trainer(
        policy,
        arguments(tmp_path),
        objective=Objective(Method.named("dpo"), frozen(policy), SequencesForward()),
        train_groups=token_groups(8),
        batch_size=8,
        max_tokens_per_microbatch=10**6,
    )
    trainer.train()
    names = {name for logs in trainer.state.log_history for name in logs}
    assert "entropy" not in names
    assert "logratios/absolute" in names
    assert not [name for name in names if name.startswith("moments/")]
