"""KTO, ORPO, CPO, SimPO and SFT against TRL's trainers, run for real: the same losses, step by step."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from preftune import CPOConfig, CPOTrainer, KTOConfig, KTOTrainer, ORPOConfig, ORPOTrainer, SFTConfig, SFTTrainer
from tests.data.tokenizers_for_tests import EOS, make_tokenizer
from tests.parity import side_by_side
from tests.parity.side_by_side import hh_rows, largest_difference, make_llama, run, small_heap, trl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl.experimental import cpo as trl_cpo
    from trl.experimental import orpo as trl_orpo

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures(small_heap.__name__)]

PAIRS = hh_rows(16)
THUMBS: list[dict[str, Any]] = [
    {"prompt": row["prompt"], "completion": row["chosen"], "label": number % 3 != 0} for number, row in enumerate(PAIRS)
]
SIDES = ("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected")


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Plain gradient descent: what Adam makes of gradients that are all but zero is their rounding."""
    plain = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    return side_by_side.settings(folder, **{**plain, **changes})


def assert_same(
    ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]], names: Sequence[str] = (), steps: int = 2
) -> None:
    assert len(theirs) == steps
    assert len({round(log["loss"], 4) for log in theirs}) > 1, "steps must differ, or move the model"
    differences = largest_difference(ours, theirs, ["loss", "grad_norm", *names])
    assert max(differences.values()) < 1e-5, differences


# --- KTO ----------------------------------------------------------------------------------------------------------


Logs = Sequence[dict[str, float]]


def run_both_kto(given: dict[str, Any], rows: Sequence[Any], seed: int = 1) -> tuple[Logs, Logs]:
    """Ours, then TRL's, against a reference of another seed."""
    ours = run(KTOTrainer, KTOConfig, make_llama(), given, rows, ref_model=make_llama(seed))
    return ours, run(trl.KTOTrainer, trl.KTOConfig, make_llama(), given, rows, ref_model=make_llama(seed))


def test_unpaired_apo_zero_agrees(tmp_path: Path) -> None:
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.8}
    given = settings(tmp_path, loss_type="apo_zero_unpaired", beta=0.3, **weights)
    assert_same(*run_both_kto(given, THUMBS), SIDES)


def test_kto_agrees_where_the_mismatched_completions_are_those_of_trl(tmp_path: Path) -> None:
    """Of two rows each is matched with the other, whether over the data set or in a micro-batch."""
    given = settings(tmp_path, per_device_train_batch_size=2, num_train_epochs=6, beta=0.3, undesirable_weight=1.3)
    ours, theirs = run_both_kto(given, THUMBS[:2])
    assert {log["kl"] > 0.1 for log in theirs} == {True, False}, (
        "z0 should be above 0 in some steps and clamped in others"
    )
    assert_same(ours, theirs, SIDES, steps=6)


def test_the_first_step_of_kto_agrees_where_policy_and_reference_are_equal(tmp_path: Path) -> None:
    """Then z0 is 0 for any mismatched completions."""
    given = settings(tmp_path, num_train_epochs=0.5, undesirable_weight=1.3)
    (ours,), (theirs,) = run_both_kto(given, THUMBS, seed=0)
    assert theirs["kl"] == 0
    differences = largest_difference([ours], [theirs], ["loss", "grad_norm"])
    assert max(differences.values()) < 1e-5, differences


def test_the_two_completions_of_a_pair_are_rows_as_in_trl(tmp_path: Path) -> None:
    given = settings(tmp_path, loss_type="apo_zero_unpaired", num_train_epochs=3)
    assert_same(*run_both_kto(given, PAIRS[:4]), SIDES, steps=3)


# --- ORPO, CPO, SimPO ---------------------------------------------------------------------------------------------


def with_padding() -> Any:
    tokenizer = make_tokenizer(chat_template=None)
    tokenizer.pad_token = EOS
    return tokenizer


def test_orpo_agrees_after_prompts_of_one_token(tmp_path: Path) -> None:
    """TRL learns longer prompts too."""
    rows = [{**row, "prompt": "?"} for row in PAIRS]
    given = settings(tmp_path, beta=0.4, max_length=128)
    ours = run(ORPOTrainer, ORPOConfig, make_llama(), given, rows, processing_class=with_padding())
    theirs = run(trl_orpo.ORPOTrainer, trl_orpo.ORPOConfig, make_llama(), given, rows, processing_class=with_padding())
    assert_same(ours, theirs, ["rewards/chosen", "rewards/rejected", "rewards/margins"])


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 0.3},
        {"cpo_alpha": 0.5},
        {"cpo_alpha": 0.0},
        {"loss_type": "hinge", "beta": 0.05},
        {"loss_type": "hinge", "cpo_alpha": 0.0},
        {"loss_type": "simpo", "beta": 2.5, "simpo_gamma": 1.4},
        {"loss_type": "simpo", "beta": 2.5, "cpo_alpha": 0.0},
    ],
    ids=str,
)
def test_cpo_agrees(tmp_path: Path, changes: dict[str, Any]) -> None:
    given = settings(tmp_path, max_length=128, **changes)
    ours = run(CPOTrainer, CPOConfig, make_llama(), given, PAIRS, processing_class=with_padding())
    theirs = run(trl_cpo.CPOTrainer, trl_cpo.CPOConfig, make_llama(), given, PAIRS, processing_class=with_padding())
    rewards = () if changes.get("loss_type") == "hinge" else ("rewards/chosen", "rewards/rejected", "rewards/margins")
    assert_same(ours, theirs, rewards)


# --- SFT ----------------------------------------------------------------------------------------------------------

ENDED = (
    "{% for message in messages %}<|im_start|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
DEMONSTRATIONS = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS]


def conversation(*turns: str) -> dict[str, Any]:
    roles = ("user", "assistant") * len(turns)
    return {"messages": [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]}


CONVERSATIONS = [conversation(row["chosen"], row["rejected"], "eggs", row["prompt"]) for row in PAIRS]


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (DEMONSTRATIONS, {}),
        (DEMONSTRATIONS, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}),
        (DEMONSTRATIONS, {"completion_only_loss": False}),
        (DEMONSTRATIONS, {"max_length": 60}),
        (CONVERSATIONS, {}),
        (CONVERSATIONS, {"max_length": 30}),
    ],
    ids=["", "accumulated", "with prompts", "cut", "conversations", "conversations, cut"],
)
def test_sft_agrees(tmp_path: Path, rows: Sequence[Any], changes: dict[str, Any]) -> None:
    given = settings(tmp_path, **changes)
    tokenizer = make_tokenizer(chat_template=ENDED)
    ours = run(SFTTrainer, SFTConfig, make_llama(), given, rows, processing_class=tokenizer)
    theirs = run(trl.SFTTrainer, trl.SFTConfig, make_llama(), given, rows, processing_class=tokenizer)
    assert_same(ours, theirs)
