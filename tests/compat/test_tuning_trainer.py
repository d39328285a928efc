import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
)

from preftune import DPOTrainer
from preftune.errors import ConfigError
from preftune.model.forward.packed_batch import GroupSpan
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference
from tests.compat.runs import TOKENIZER, config_of, lora, losses, make_model, make_rows, trainer_of
from tests.data.tokenizers_for_tests import make_tokenizer

LN2 = pytest.approx(math.log(2), abs=1e-6)


def model_of(trainer: DPOTrainer) -> PreTrainedModel | PeftModel:
    assert isinstance(trainer.model, PreTrainedModel | PeftModel)
    return trainer.model


def tokenizer_of(trainer: DPOTrainer) -> PreTrainedTokenizerBase:
    assert isinstance(trainer.processing_class, PreTrainedTokenizerBase)
    return trainer.processing_class


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def assert_learns(trainer: DPOTrainer) -> None:
    trainer.train()
    found = losses(trainer)
    assert found[0] == LN2
    assert found[-1] < 0.68


# --- the forms of the constructor -----------------------------------------------------------------------------


def test_the_form_of_the_tutorials_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_model()
    ref_model = make_model()
    ref_model.load_state_dict(model.state_dict())
    trainer = DPOTrainer(
        model=model, ref_model=ref_model, beta=0.1, train_dataset=make_rows(128), tokenizer=make_tokenizer()
    )
    trainer.train()
    found = losses(trainer)
    assert found[0] == pytest.approx(math.log(2), abs=1e-3)
    assert found[-1] < found[0]
    assert trainer.args.output_dir == "LlamaForCausalLM-DPO"


def test_the_form_of_older_scripts_with_plain_arguments_trains(tmp_path: Path) -> None:
    plain = TrainingArguments(
        str(tmp_path), use_cpu=True, learning_rate=1e-3, logging_steps=1, report_to=[], disable_tqdm=True
    )
    trainer = DPOTrainer(make_model(), None, args=plain, beta=0.2, train_dataset=make_rows(), tokenizer=TOKENIZER)
    assert trainer.objective.method.options["beta"] == 0.2
    assert_learns(trainer)


def test_the_modern_form_trains(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, rows=Dataset.from_list(make_rows()))
    assert isinstance(trainer.objective.reference, FrozenCopy)
    assert_learns(trainer)


def test_a_model_is_loaded_by_its_folder_with_its_tokenizer(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    trainer = trainer_of(tmp_path, str(tmp_path / "model"), processing_class=None)
    assert tokenizer_of(trainer).get_vocab() == TOKENIZER.get_vocab()
    assert_learns(trainer)


def test_a_loaded_model_finds_its_tokenizer(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert tokenizer_of(trainer_of(tmp_path, model, processing_class=None)).eos_token == TOKENIZER.eos_token


def test_conversations_are_read(tmp_path: Path) -> None:
    def turn(role: str, content: str) -> list[dict[str, str]]:
        return [{"role": role, "content": content}]

    rows = [
        {name: turn("user" if name == "prompt" else "assistant", text) for name, text in row.items()}
        for row in make_rows()
    ]
    assert_learns(trainer_of(tmp_path, rows=Dataset.from_list(rows)))


# --- policy and reference -------------------------------------------------------------------------------------


def test_a_new_adapter_is_compared_with_the_model_without_it(tmp_path: Path) -> None:
    model = make_model()
    before = weights_of(model)
    trainer = trainer_of(tmp_path, model, peft_config=lora(), learning_rate=1e-2, num_train_epochs=4)
    assert isinstance(trainer.objective.reference, AdapterOff)
    assert_learns(trainer)
    trainer.save_model(str(tmp_path / "saved"))
    assert (tmp_path / "saved/adapter_model.safetensors").exists()
    adapted: Any = model_of(trainer)
    base = weights_of(adapted.unload())
    assert all(torch.equal(weight, base[name]) for name, weight in before.items())


def test_an_adapter_is_trained_on_against_a_copy_of_itself(tmp_path: Path) -> None:
    get_peft_model(make_model(), lora()).save_pretrained(str(tmp_path / "adapter"))
    base = make_model()
    model = PeftModel.from_pretrained(base, tmp_path / "adapter", is_trainable=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    trainer = trainer_of(tmp_path, model, learning_rate=1e-2, num_train_epochs=4)
    assert isinstance(trainer.objective.reference, KeptAdapter)
    assert_learns(trainer)


def test_an_adapter_folder_is_trained_on(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    get_peft_model(base, lora()).save_pretrained(str(tmp_path / "adapter"))
    trainer = trainer_of(tmp_path, str(tmp_path / "adapter"), learning_rate=1e-2, num_train_epochs=4)
    assert isinstance(trainer.objective.reference, KeptAdapter)
    assert_learns(trainer)


def test_a_reference_of_another_architecture_is_used(tmp_path: Path) -> None:
    other = GPT2LMHeadModel(GPT2Config(vocab_size=len(TOKENIZER), n_embd=32, n_layer=1, n_head=2, n_positions=128))
    trainer = trainer_of(tmp_path, ref_model=other)
    trainer.train()
    assert isinstance(trainer.objective.reference, FrozenCopy)
    assert trainer.objective.reference.model is other
    assert losses(trainer)[0] != LN2
    assert losses(trainer)[-1] < losses(trainer)[0]


def test_dropout_is_off_in_policy_and_adapter(tmp_path: Path) -> None:
    dropout = LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = trainer_of(tmp_path, make_model(attention_dropout=0.5), peft_config=dropout)
    assert {module.p for module in model_of(trainer).modules() if isinstance(module, torch.nn.Dropout)} <= {0.0}


def test_dropout_stays_on_if_requested(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, make_model(attention_dropout=0.5), disable_dropout=False, num_train_epochs=8)
    trainer.train()
    assert losses(trainer)[0] != LN2


def test_a_reference_that_follows_is_as_the_policy_was_at_its_last_move(tmp_path: Path) -> None:
    moves: dict[str, Any] = {"sync_ref_model": True, "ref_model_mixup_alpha": 1.0, "ref_model_sync_steps": 1}
    trainer = trainer_of(tmp_path, **moves)
    trainer.train()
    assert losses(trainer) == [LN2] * 8


def test_the_reference_of_a_new_adapter_can_follow_too(tmp_path: Path) -> None:
    moves: dict[str, Any] = {"sync_ref_model": True, "ref_model_mixup_alpha": 1.0, "ref_model_sync_steps": 1}
    trainer = trainer_of(tmp_path, peft_config=lora(), learning_rate=1e-2, **moves)
    assert isinstance(trainer.objective.reference, KeptAdapter)
    trainer.train()
    assert losses(trainer) == [LN2] * 8


def test_a_loss_without_a_reference_keeps_no_copy(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, loss_type="sft")
    assert isinstance(trainer.objective.reference, NoReference)
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0]


@pytest.mark.parametrize(
    "changes", [{"loss_weights": [0.5]}, {"loss_type": ["ipo", "sft"], "loss_weights": [0.5, 2.0]}]
)
def test_the_loss_of_held_out_pairs_is_weighted_as_that_of_training(tmp_path: Path, changes: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8, "max_steps": 1}
    weights = {"loss_weights": [0.5], **changes}
    trainer = trainer_of(tmp_path, rows=make_rows(8), eval_dataset=make_rows(8), **weights, **whole)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(before, rel=1e-5)


# --- steps ----------------------------------------------------------------------------------------------------


def test_a_step_is_per_device_times_accumulation(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4, num_train_epochs=1)
    steps = list(trainer.train_steps)
    assert len(steps) == 32 / 8
    assert all(step.num_units == {"dpo": 8} for step in steps)


def test_a_micro_batch_needs_no_more_memory_than_its_pairs_at_their_longest(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    steps = list(trainer.train_steps)
    assert trainer.objective.forward.layout == "packed"
    sizes = [[len_of(group) for group in batch.spans] for step in steps for batch in step.micro_batches]
    biggest = max(size for batch in sizes for size in batch)
    assert all(sum(batch) <= 2 * biggest for batch in sizes)


def len_of(group: GroupSpan) -> int:
    return group.completions[-1][1] - group.prompt[0]


def test_a_token_budget_cuts_micro_batches_and_changes_nothing_else(tmp_path: Path) -> None:
    found = []
    for budget in (None, 40):
        torch.manual_seed(0)
        trainer = trainer_of(tmp_path, per_device_train_batch_size=8, max_tokens_per_microbatch=budget)
        steps = list(trainer.train_steps)
        sizes = [sum(map(len_of, batch.spans)) for step in steps for batch in step.micro_batches]
        trainer.train()
        found.append((max(sizes), losses(trainer)))
    (unbounded, expected), (bounded, cut) = found
    assert bounded <= 40 < unbounded
    assert cut == pytest.approx(expected, rel=1e-5)


def test_a_token_budget_that_a_row_does_not_fit_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_tokens_per_microbatch = 4: .* Set it to \d+ or more"):
        trainer_of(tmp_path, max_tokens_per_microbatch=4)


def test_accumulation_does_not_change_the_result(tmp_path: Path) -> None:
    found = []
    for size, times in ((8, 1), (2, 4)):
        torch.manual_seed(0)
        trainer = trainer_of(tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=times)
        trainer.train()
        found.append(losses(trainer))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_rows_keep_their_order_on_request(tmp_path: Path) -> None:
    def first_step(**arguments: Any) -> list[int]:
        trainer = trainer_of(tmp_path, per_device_train_batch_size=1, **arguments)
        return [int(step.micro_batches[0].targets.sum()) for step in trainer.train_steps]

    in_order = first_step(train_sampling_strategy="sequential")
    assert first_step(seed=1) != in_order
    assert sorted(first_step(seed=1)) == sorted(in_order)


def test_the_arguments_of_the_user_are_those_of_the_trainer_and_stay(tmp_path: Path) -> None:
    args = config_of(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    before = {**vars(args)}
    as_dict = args.to_dict()  # type: ignore[no-untyped-call]
    trainer = DPOTrainer(make_model(), args=args, train_dataset=make_rows(), processing_class=TOKENIZER)
    trainer.train()
    assert vars(args) == before
    assert args.to_dict() == as_dict  # type: ignore[no-untyped-call]
    assert trainer.args is args


# --- evaluation, logs, saving ---------------------------------------------------------------------------------

METRICS = {
    "loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen",
    "logps/rejected",
}  # fmt: skip


def test_logs_have_the_names_of_trl(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, eval_dataset=make_rows(6, seed=1), eval_strategy="epoch")
    trainer.train()
    first = trainer.state.log_history[0]
    assert {*METRICS, "grad_norm", "learning_rate", "num_tokens", "epoch"} <= set(first)
    evaluations = [log for log in trainer.state.log_history if "eval_loss" in log]
    assert len(evaluations) == 2
    assert {f"eval_{name}" for name in METRICS} | {"eval_runtime"} <= set(evaluations[0])


def test_held_out_sets_are_distinguished_by_name(tmp_path: Path) -> None:
    held_out = DatasetDict(near=Dataset.from_list(make_rows(6)), far=Dataset.from_list(make_rows(4, seed=1)))
    trainer = trainer_of(tmp_path, eval_dataset=held_out, eval_strategy="epoch", num_train_epochs=1)
    trainer.train()
    names = {name for log in trainer.state.log_history for name in log}
    assert {f"eval_{part}_{name}" for part in held_out for name in METRICS} <= names


def test_further_rows_can_be_evaluated(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    assert trainer.evaluate(make_rows(4, seed=2))["eval_loss"] == LN2
    assert trainer.evaluate({"new": make_rows(4, seed=2)})["eval_new_loss"] == LN2


@pytest.mark.parametrize("with_adapter", [False, True])
@pytest.mark.parametrize("changes", [{}, {"ld_alpha": 0.3}], ids=["", "per token"])
def test_reference_log_probs_computed_before_give_the_same_losses(
    tmp_path: Path, with_adapter: bool, changes: dict[str, Any]
) -> None:
    found = []
    for precompute in (False, True):
        torch.manual_seed(0)
        trainer = DPOTrainer(
            model=make_model(),
            args=config_of(tmp_path, precompute_ref_log_probs=precompute, eval_strategy="epoch", **changes),
            train_dataset=make_rows(8),
            eval_dataset={"others": make_rows(4, seed=1)},
            processing_class=TOKENIZER,
            peft_config=LoraConfig(task_type="CAUSAL_LM") if with_adapter else None,
        )
        trainer.train()
        assert isinstance(trainer.objective.reference, Cached) == precompute
        found.append(losses(trainer))
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_rows_without_precomputed_log_probs_are_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, ref_model=make_model(), rows=make_rows(4), precompute_ref_log_probs=True)
    with pytest.raises(ConfigError, match="the reference left memory"):
        trainer.evaluate(make_rows(4, seed=1))


def test_held_out_pairs_are_evaluated_in_batches_of_the_requested_size(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, eval_dataset=make_rows(6), per_device_eval_batch_size=1)
    steps = list(trainer.get_eval_dataloader())
    assert [len(step.micro_batches) for step in steps] == [1] * 6


def test_callbacks_and_optimizers_are_used(tmp_path: Path) -> None:
    class Count(TrainerCallback):
        steps = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self.steps += 1

    count = Count()
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = trainer_of(tmp_path, model, callbacks=[count], optimizers=(optimizer, None), num_train_epochs=1)
    trainer.train()
    assert count.steps == 4
    wrapped: Any = trainer.optimizer
    assert wrapped.optimizer is optimizer


def test_a_saved_model_loads_with_its_tokenizer_and_its_cache_on(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, num_train_epochs=1)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert model.config.use_cache is True
    trained = weights_of(trainer.model)
    assert all(torch.equal(weight, trained[name]) for name, weight in weights_of(model).items())
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").get_vocab() == TOKENIZER.get_vocab()


@pytest.mark.parametrize("with_adapter", [False, True])
def test_a_resumed_run_ends_where_one_without_a_break_does(tmp_path: Path, with_adapter: bool) -> None:
    torch.manual_seed(0)
    weights = make_model().state_dict()

    def run(folder: Path, resume: bool | None = None, **changes: Any) -> dict[str, torch.Tensor]:
        model = make_model()
        model.load_state_dict(weights)
        adapter: dict[str, Any] = {"peft_config": lora()} if with_adapter else {}
        trainer = trainer_of(folder, model, save_strategy="epoch", **changes, **adapter)
        trainer.train(resume_from_checkpoint=resume)
        return weights_of(trainer.model)

    class Stop(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            control.should_training_stop = True

    whole = run(tmp_path / "whole")
    run(tmp_path / "broken", callbacks=[Stop()])
    resumed = run(tmp_path / "broken", resume=True)
    for name, weight in whole.items():
        torch.testing.assert_close(resumed[name], weight, rtol=1e-6, atol=1e-7)
