"""DPO against TRL, run for real: the same model, pairs, order and optimizer give the same losses and margins."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, TrainerCallback

from preftune import DPOConfig, DPOTrainer
from preftune.compat.rows import read_rows
from preftune.data.tokens.token_group import TokenGroup
from tests.data.tokenizers_for_tests import make_tokenizer
from tests.model.forward.tiny_models import PLAIN_ATTENTION, HonestFloat64
from tests.parity import side_by_side
from tests.parity.side_by_side import TOKENIZER, hh_rows, largest_difference, make_llama, run, trl

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's own warnings, and those it calls forth

NUM_PAIRS, BATCH_SIZE = 64, 8
BETA = 0.1
COMPARED = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")
ROWS = hh_rows(NUM_PAIRS)


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    return side_by_side.settings(folder, **{"beta": BETA, **changes})


def run_trl(model: Any, given: dict[str, Any], ref_model: Any = None, **arguments: Any) -> list[dict[str, float]]:
    return run(trl.DPOTrainer, trl.DPOConfig, model, given, ROWS, ref_model=ref_model, **arguments)


def run_ours(model: Any, given: dict[str, Any], **arguments: Any) -> list[dict[str, float]]:
    return run(DPOTrainer, DPOConfig, model, given, ROWS, **arguments)


def assert_equal_runs(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> None:
    differences = largest_difference(ours, theirs, COMPARED)
    margins = [abs(log["rewards/margins"]) for log in theirs]
    assert max(margins) > 0.1, "the runs are only worth comparing if the model moved"
    assert max(differences.values()) < 1e-4, differences


def test_both_sides_see_the_same_token_ids(tmp_path: Path) -> None:
    trainer = trl.DPOTrainer(
        model=make_llama(),
        ref_model=make_llama(),
        args=trl.DPOConfig(**settings(tmp_path)),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=make_tokenizer(chat_template=None),
    )
    groups, _ = read_rows(ROWS, "rows", TOKENIZER, DPOConfig(**settings(tmp_path)))
    assert len(groups) == NUM_PAIRS
    for group, row in zip(groups, trainer.train_dataset, strict=True):
        theirs = [row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]]
        assert [ids.tolist() for ids in (group.prompt, *group.completions)] == theirs
        assert all(ids[-1] == TOKENIZER.eos_token_id for ids in group.completions)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="steps of 8"),
        pytest.param({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, id="steps of 4 x 2"),
        pytest.param(
            {"gradient_checkpointing": False, "max_grad_norm": 0.1, "weight_decay": 0.1}, id="other optimizer"
        ),
        pytest.param({"max_length": 60}, id="cut to 60 tokens"),
    ],
)
def test_losses_and_margins_of_every_step_agree(tmp_path: Path, changes: dict[str, Any]) -> None:
    given = settings(tmp_path, **changes)
    ours = run_ours(make_llama(), given)
    assert_equal_runs(ours, run_trl(make_llama(), given, ref_model=make_llama()))


def test_label_smoothing_agrees_with_the_loss_of_trl_that_smooths_in_the_same_way(tmp_path: Path) -> None:
    """In TRL 1.16 `sigmoid` does not smooth; `aot` does, as cDPO, and with one pair at a time its sorting is idle."""
    given = settings(tmp_path, label_smoothing=0.1)
    one_by_one = {"loss_type": ["aot"], "per_device_train_batch_size": 1, "gradient_accumulation_steps": BATCH_SIZE}
    ours = run_ours(make_llama(), given)
    assert_equal_runs(ours, run_trl(make_llama(), {**given, **one_by_one}, ref_model=make_llama()))


def test_another_model_as_reference_agrees(tmp_path: Path) -> None:
    given = settings(tmp_path)
    ours = run_ours(make_llama(), given, ref_model=make_llama(seed=1))
    assert_equal_runs(ours, run_trl(make_llama(), given, ref_model=make_llama(seed=1)))


def lora() -> LoraConfig:
    return LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM")


def test_a_new_adapter_agrees(tmp_path: Path) -> None:
    given = settings(tmp_path, learning_rate=1e-2)
    ours = run_ours(make_llama(), given, peft_config=lora())
    assert_equal_runs(ours, run_trl(make_llama(), given, peft_config=lora()))


def test_an_adapter_that_is_trained_on_agrees(tmp_path: Path) -> None:
    def adapted() -> PeftModel:
        model: PeftModel = get_peft_model(make_llama(), lora())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.05)
        return model

    given = settings(tmp_path, learning_rate=1e-2)
    ours = run_ours(adapted(), given)
    assert_equal_runs(ours, run_trl(adapted(), given))


# --- float64, against a plain forward -----------------------------------------------------------------------------


def plain_logps(model: Any, groups: Sequence[TokenGroup]) -> Tensor:
    """Log-prob of chosen and rejected, one sequence at a time, unpadded. Shape: (group, 2). Unit: nats."""
    rows = []
    for group in groups:
        for completion in group.completions:
            ids = torch.from_numpy(np.concatenate([group.prompt, completion]).astype(np.int64))
            logits = model(input_ids=ids[None], use_cache=False).logits[0]
            log_probs = logits - logits.exp().sum(-1, keepdim=True).log()
            places = range(len(group.prompt), len(ids))
            rows.append(torch.stack([log_probs[place - 1, ids[place]] for place in places]).sum())
    return torch.stack(rows).reshape(-1, 2)


def plain_metrics(policy: Tensor, reference: Tensor) -> dict[str, float]:
    rewards = BETA * (policy - reference)
    margins = rewards[:, 0] - rewards[:, 1]
    return {
        "loss": float(-logsigmoid(margins).mean()),
        "logps/chosen": float(policy[:, 0].mean()),
        "logps/rejected": float(policy[:, 1].mean()),
        "rewards/chosen": float(rewards[:, 0].mean()),
        "rewards/rejected": float(rewards[:, 1].mean()),
        "rewards/margins": float(margins.mean()),
    }


class PlainForward(TrainerCallback):
    """Computes the metrics of each step with the plain forward, before the step."""

    def __init__(self, groups: Sequence[TokenGroup], reference: PreTrainedModel) -> None:
        self.groups = groups
        with torch.no_grad():
            self.reference = plain_logps(reference, groups)
        self.steps: list[dict[str, float]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        now = slice(BATCH_SIZE * state.global_step, BATCH_SIZE * (state.global_step + 1))
        with torch.no_grad():
            policy = plain_logps(given["model"], self.groups[now])
        self.steps.append(plain_metrics(policy, self.reference[now]))


def test_float64_agrees_with_a_plain_forward(tmp_path: Path) -> None:
    def model() -> LlamaForCausalLM:
        torch.manual_seed(0)
        config: LlamaConfig = make_llama().config
        config._attn_implementation = PLAIN_ATTENTION
        return LlamaForCausalLM(config).double()

    given = settings(tmp_path, gradient_checkpointing=False)
    config = DPOConfig(**given)
    groups, _ = read_rows(ROWS, "rows", TOKENIZER, config)
    with HonestFloat64():
        plain = PlainForward(groups, model())
        trainer = DPOTrainer(
            model=model(), args=config, train_dataset=ROWS, processing_class=TOKENIZER, callbacks=[plain]
        )
        trainer.train()
        losses = [log for log in trainer.state.log_history if "loss" in log]
        evaluated = trainer.evaluate(ROWS)
        with torch.no_grad():
            expected_now = plain_metrics(plain_logps(trainer.model, groups), plain.reference)
    assert max(abs(step["rewards/margins"]) for step in plain.steps) > 0.1
    for name in COMPARED:
        found, expected = ([step[name] for step in steps] for steps in (losses, plain.steps))
        # transformers logs the loss in float32
        tolerance = 1e-6 if name == "loss" else 1e-9
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), name
    for name, value in expected_now.items():
        assert evaluated[f"eval_{name}"] == pytest.approx(value, rel=1e-9, abs=1e-9), name
