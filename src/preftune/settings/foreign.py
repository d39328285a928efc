"""Names of settings in TRL, axolotl, LLaMA-Factory, OpenRLHF and transformers, and what they are called here."""

import re
from collections.abc import Callable, Mapping

NO_DEEPSPEED = (
    "DeepSpeed is not supported: its engine may take an optimizer step after every micro-batch, and then a step is not "
    "the mean over its rows. Shard the model by FSDP2 instead: `accelerate launch --use_fsdp --fsdp_version 2 "
    "--fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP -m preftune train ...`. --fsdp_reshard_after_forward true is "
    "ZeRO-3, false is ZeRO-2."
)
"""Reason and way out, wherever DeepSpeed is asked for."""

_BATCH = "Set {batch_size}, the pairs of an optimizer step over all GPUs; {max_tokens_per_microbatch} bounds memory."
_PRECISION = "Set {precision} to bf16, fp16 or fp32. The default takes bf16 on a GPU that has it."
_LENGTH = "Set {max_length}, the tokens of prompt and completion together; {too_long} says which are cut or dropped."
_FOUR_BITS = "Set {weights_dtype}, or {load_in_4bit} with {lora} (QLoRA)."
_HUB = "Runs are not uploaded. Upload the output folder with `hf upload REPO FOLDER`."
_SHARDING = "Is not a setting: start the run by `accelerate launch -m preftune train ...`, with FSDP in its config."
_PACKING = "Is not needed: rows are packed without padding, and a prompt is shared by its completions, always."
_SEPARATE = "Is not needed: log-probs of the reference are computed once, before training, and kept on disk."

FOREIGN: Mapping[str, str] = {
    # steps and memory
    "per_device_train_batch_size": _BATCH,
    "per_device_eval_batch_size": "Set {max_tokens_per_microbatch}, which bounds the memory of evaluations, too.",
    "gradient_accumulation_steps": _BATCH,
    "train_batch_size": _BATCH,
    "micro_train_batch_size": _BATCH,
    "micro_batch_size": _BATCH,
    "global_batch_size": _BATCH,
    "auto_find_batch_size": "Set {max_tokens_per_microbatch} to auto.",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "num_steps": "max_steps",
    "packing": _PACKING,
    "sample_packing": _PACKING,
    "padding_free": _PACKING,
    "group_by_length": _PACKING,
    "data_seed": "seed",
    # optimizer
    "lr": "learning_rate",
    "lr_scheduler_type": "schedule",
    "lr_scheduler": "schedule",
    "learning_rate_scheduler": "schedule",
    "scheduler": "schedule",
    "warmup_ratio": "Set {warmup}: below 1 it is a share of all steps, from 1 on a number of steps.",
    "warmup_steps": "Set {warmup}: from 1 on it is a number of steps, below 1 a share of all steps.",
    "lr_warmup_ratio": "Set {warmup}: below 1 it is a share of all steps, from 1 on a number of steps.",
    "optim": "optimizer",
    "adam_betas": "Set {adam_beta1} and {adam_beta2}.",
    "gradient_clipping": "max_grad_norm",
    "max_norm": "max_grad_norm",
    "l2": "weight_decay",
    # precision
    "bf16": _PRECISION,
    "fp16": _PRECISION,
    "tf32": _PRECISION,
    "mixed_precision": _PRECISION,
    "torch_dtype": "weights_dtype",
    "dtype": "weights_dtype",
    "load_in_8bit": _FOUR_BITS,
    "quantization": _FOUR_BITS,
    "quantization_bit": _FOUR_BITS,
    "bnb_4bit_quant_type": "Is nf4 with {load_in_4bit}.",
    "bnb_4bit_compute_dtype": "Set {precision}, which is the data type of computations with {load_in_4bit}, too.",
    "attn_implementation": "attention",
    "flash_attention": "attention",
    "flash_attn": "attention",
    "activation_checkpointing": "gradient_checkpointing",
    "use_gradient_checkpointing": "gradient_checkpointing",
    "use_liger_kernel": "Is not needed: log-probs are computed without logits.",
    # adapter
    "lora_r": "lora_rank",
    "r": "lora_rank",
    "use_peft": "lora",
    "adapter": "Set {lora} to train one; to continue one, give its folder as {model}.",
    "peft_config": "Set {lora}, {lora_rank}, {lora_alpha} and {lora_targets}.",
    "finetuning_type": "Set {lora}; without it all weights are trained.",
    "lora_target": "lora_targets",
    "lora_target_modules": "lora_targets",
    "target_modules": "lora_targets",
    "lora_target_linear": "lora_targets",
    "adapter_name_or_path": "model",
    # models and methods
    "model_name_or_path": "model",
    "base_model": "model",
    "pretrain": "model",
    "model_id": "model",
    "ref_model": "reference_model",
    "ref_model_name_or_path": "reference_model",
    "ref_pretrain": "reference_model",
    "model_revision": "revision",
    "loss_type": "Set {method}: `preftune methods` lists the losses by name.",
    "pref_loss": "Set {method}: `preftune methods` lists the losses by name.",
    "rl": "method",
    "stage": "method",
    "dpo_beta": "beta",
    "pref_beta": "beta",
    "kl_coef": "beta",
    "simpo_gamma": "gamma",
    "rpo_alpha": "Set {method} to a sum such as 'dpo + 1.0*sft'.",
    "precompute_ref_log_probs": _SEPARATE,
    "sync_ref_model": "reference_sync",
    "ref_model_sync_steps": "reference_sync_every",
    "ref_model_mixup_alpha": "reference_sync_mix",
    "disable_dropout": "Dropout is off unless {dropout} turns it on.",
    # data
    "dataset": "data",
    "datasets": "data",
    "dataset_name": "data",
    "train_dataset": "data",
    "train_file": "data",
    "dataset_path": "data",
    "eval_dataset": "eval_data",
    "test_datasets": "eval_data",
    "dataset_train_split": "split",
    "dataset_test_split": "eval_split",
    "val_set_size": "eval_fraction",
    "val_size": "eval_fraction",
    "test_size": "eval_fraction",
    "max_seq_length": _LENGTH,
    "max_seq_len": _LENGTH,
    "sequence_len": _LENGTH,
    "cutoff_len": _LENGTH,
    "max_len": _LENGTH,
    "max_prompt_length": _LENGTH,
    "max_completion_length": _LENGTH,
    "max_target_length": _LENGTH,
    "truncation_mode": "too_long",
    "dataset_num_proc": "num_processes",
    "preprocessing_num_workers": "num_processes",
    "dataset_processes": "num_processes",
    "max_samples": "Cut the file, or set {max_steps}.",
    "prompt_key": "columns",
    "chosen_key": "columns",
    "rejected_key": "columns",
    "template": "chat_template",
    # output
    "output_dir": "output",
    "save_path": "output",
    "overwrite_output_dir": "overwrite",
    "resume_from_checkpoint": "resume",
    "logging_steps": "log_every",
    "eval_steps": "eval_every",
    "evaluation_strategy": "Set {eval_every} to a number of steps, or leave it out for the end of each epoch.",
    "eval_strategy": "Set {eval_every} to a number of steps, or leave it out for the end of each epoch.",
    "save_steps": "save_every",
    "save_strategy": "Set {save_every} to a number of steps, or leave it out for the end of each epoch.",
    "save_total_limit": "keep_checkpoints",
    "load_best_model_at_end": "Set {keep} to best.",
    "metric_for_best_model": "metric",
    "use_wandb": "Set {report_to} to wandb.",
    "wandb_project": "Set {report_to} to wandb, and WANDB_PROJECT in the environment.",
    "wandb_name": "run_name",
    "push_to_hub": _HUB,
    "hub_model_id": _HUB,
    "deepspeed": NO_DEEPSPEED,
    "deepspeed_config": NO_DEEPSPEED,
    "zero_stage": NO_DEEPSPEED,
    "fsdp": _SHARDING,
    "fsdp_config": _SHARDING,
    "ddp_find_unused_parameters": _SHARDING,
    "num_gpus": _SHARDING,
    "vllm": "Completions are generated by transformers.",
    "use_vllm": "Completions are generated by transformers.",
}
"""By foreign name: the name of the setting here, or a sentence with such names in braces."""


def foreign_hint(name: str, spell: Callable[[str], str] = str) -> str:
    """The advice for a setting's foreign name; empty for other names.

    Args:
        name: As written, with or without dashes.
        spell: Spelling of our names, such as flags.

    >>> foreign_hint("--num_train_epochs", lambda own: "--" + own.replace("_", "-"))
    'Here it is called --epochs.'
    """
    text = FOREIGN.get(name.lstrip("-").replace("-", "_").lower(), "")
    if re.fullmatch(r"\w+", text):
        return f"Here it is called {spell(text)}."
    return re.sub(r"\{(\w+)\}", lambda found: spell(found[1]), text)
