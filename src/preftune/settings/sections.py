"""The settings of a run, by topic. Each class checks its own."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Literal

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Method
from preftune.settings.condition import Condition
from preftune.settings.setting import setting

__all__ = [
    "AdapterSettings",
    "DataSettings",
    "ModelSettings",
    "OptimizerSettings",
    "OutputSettings",
    "StepSettings",
]


_SYNC_EVERY, _SYNC_MIX = 512, 0.6
"""The paper's own (TR-DPO); other values for an idle option are a mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """Model"""

    model: str = setting(MISSING, "The model to tune: hub id, local folder, or folder of a run or adapter.")
    revision: str | None = setting(None, "Branch, tag or commit of a hub model.")
    reference_model: str | None = setting(
        None, "Another model as the reference, with the same tokenizer. Default: the model as it was."
    )
    reference_cache: bool = setting(
        True, "Keep reference log-probs on disk, so that another run on the same data computes none."
    )
    reference_sync: Literal["off", "soft", "hard"] = setting(
        "off", "Move the reference to the policy as training goes (TR-DPO): a share of the way, or all of it."
    )
    reference_sync_every: int = setting(_SYNC_EVERY, "Steps between two moves of the reference.")
    reference_sync_mix: float = setting(_SYNC_MIX, "Share of the way that a soft move goes, in (0, 1].")
    weights_dtype: Literal["float32", "bfloat16", "float16", "auto"] = setting(
        "float32", "Type that weights are held in; auto: as they were saved. float32 learns best at small rates."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "Type of the arithmetic (autocast); auto: bf16 on a GPU that has it, else fp32."
    )
    attention: str | None = setting(None, "Attention implementation of transformers, such as sdpa or eager.")
    gradient_checkpointing: bool = setting(False, "Recompute activations in the backward pass: less memory, slower.")
    dropout: bool = setting(False, "Keep the model's dropout on. It adds noise to the log-probs.")
    chat_template: str | None = setting(None, "Jinja file with a chat template, for a tokenizer that has none.")
    trust_remote_code: bool = setting(False, "Run the Python code that the model's repository brings.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if not self.model:
            yield "model: is empty. Give a hub id or a local folder with --model."
        yield from self._sync_problems()

    @property
    def moves_reference(self) -> bool:
        """Whether the reference follows the policy instead of staying as it is."""
        return self.reference_sync != "off"

    def problems_with(self, method: Method, *, lora: bool) -> Iterator[str]:
        """What does not go with a method, or with an adapter where there is one, one text each."""
        if self.moves_reference and not method.needs_reference:
            yield f"reference_sync = {self.reference_sync}: method {method.name} has no reference. Leave it out."
        if self.moves_reference and lora and self.reference_model is not None:
            yield (
                f"reference_sync = {self.reference_sync}: an adapter cannot be mixed into reference_model, a model of "
                "its own. Leave out one of reference_sync, reference_model and lora."
            )

    def _sync_problems(self) -> Iterator[str]:
        if self.reference_sync_every < 1:
            yield f"reference_sync_every = {self.reference_sync_every}: must be at least 1."
        elif not self.moves_reference and self.reference_sync_every != _SYNC_EVERY:
            yield (
                f"reference_sync_every = {self.reference_sync_every}: the reference does not move. Set reference_sync "
                "to soft or hard, or leave it out."
            )
        if not 0 < self.reference_sync_mix <= 1:
            yield f"reference_sync_mix = {self.reference_sync_mix}: is a share of the way and must be in (0, 1]."
        elif self.reference_sync != "soft" and self.reference_sync_mix != _SYNC_MIX:
            yield (
                f"reference_sync_mix = {self.reference_sync_mix}: only a soft move goes a share of the way, and "
                f"reference_sync is {self.reference_sync}. Set it to soft, or leave the share out."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterSettings:
    """Adapter (LoRA)"""

    lora: bool = setting(False, "Train a low-rank adapter instead of all weights.")
    lora_rank: int = setting(16, "Rank of the adapter.")
    lora_alpha: int = setting(32, "Scale of the adapter: its output is multiplied by alpha / rank.")
    lora_dropout: float = setting(0.0, "Dropout inside the adapter, a probability.")
    lora_targets: list[str] = setting(
        ["all-linear"], "Modules that get an adapter, by name ending; all-linear: every linear layer but the head."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.lora_rank < 1:
            yield f"lora_rank = {self.lora_rank}: must be at least 1."
        if self.lora_alpha < 1:
            yield f"lora_alpha = {self.lora_alpha}: must be at least 1, or the adapter has no effect."
        if not 0 <= self.lora_dropout < 1:
            yield f"lora_dropout = {self.lora_dropout}: is a probability and must be in [0, 1)."
        if not self.lora_targets:
            yield "lora_targets: is empty, so there is nothing to train. Name modules, or use all-linear."


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Data"""

    data: list[str] = setting(MISSING, "Preference data: files, folders, presets such as hh, or hub ids.")
    mix: list[float] = setting(
        [], "Weight of each data source in an epoch, in their order, such as 0.7 and 0.3. Default: all of each."
    )
    prompts_per_epoch: int | None = setting(
        None, "Prompts of an epoch of a mix. Default: as many as there can be if none comes twice in it."
    )
    max_per_prompt: int | None = setting(
        None, "Most pairs, completions or lists to learn from per prompt. Others are left out, by the seed."
    )
    split: str | None = setting(None, "Split of a hub data set or saved `datasets` folder, such as train.")
    format: str | None = setting(None, "Layout of the rows. Default: recognised by the columns.")
    columns: Mapping[str, str] = setting({}, "Names of the columns in the data, such as chosen=better.")
    where: list[str] = setting(
        [], "What a column must hold, such as 'score_ratio>=2' or lang=en; other rows are left out."
    )
    on_bad_row: Literal["error", "skip"] = setting(
        "error", "What to do with a row that cannot be used; skipped rows are counted and listed."
    )
    pairing: Literal["given", "all", "best_vs_worst", "adjacent"] | None = setting(
        None,
        "Where pairs come from: given with the data, or made of scores: all with different ones, the best and the "
        "worst, or neighbours in their order. Default: given where there are any, else all.",
    )
    min_score_gap: float = setting(0.0, "Least difference of two scores that makes a pair, on the data's scale.")
    auxiliary: Mapping[str, float] = setting(
        {}, "Further scores of completions to learn from, with weights, such as safety=0.5; length: number of tokens."
    )
    token_weights: Literal["data", "from_first_difference"] = setting(
        "data", "Which tokens count: as the data say, or only those from where chosen and rejected part."
    )
    eval_data: list[str] = setting([], "Held-out data: files, folders or hub ids.")
    eval_split: str | None = setting(None, "Split of the held-out data.")
    eval_fraction: float = setting(0.0, "Share of the prompts to hold out where there is no eval_data.")
    max_length: int | None = setting(
        None, "Longest prompt + completion, in tokens. Default: what the model's positions allow."
    )
    too_long: Literal["cut", "drop", "error"] = setting(
        "cut", "What to do beyond max_length; cut: the prompt from the left, then ends of completions."
    )
    num_processes: int = setting(1, "Processes that tokenize.")
    check_data: bool = setting(
        True, "Look for what is wrong with the data, in 20,000 rows at most, and write it to data-check.json."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if not self.data:
            yield "data: is empty. Give a file, a folder or a hub id with --data."
        if not 0 <= self.eval_fraction < 1:
            yield f"eval_fraction = {self.eval_fraction}: is a share of the prompts and must be in [0, 1)."
        if self.eval_fraction and self.eval_data:
            yield "eval_fraction and eval_data: both say what is held out. Give one of them."
        if self.max_length is not None and self.max_length < 2:
            yield f"max_length = {self.max_length}: must be at least 2, a prompt token and a completion token."
        if self.num_processes < 1:
            yield f"num_processes = {self.num_processes}: must be at least 1."
        yield from self._score_problems()
        yield from self._mix_problems()
        for condition in self.where:
            try:
                Condition.parse(condition)
            except ConfigError as error:
                yield from error.problems

    def _mix_problems(self) -> Iterator[str]:
        if self.mix and len(self.mix) != len(self.data):
            yield f"mix: has {len(self.mix)} weights for {len(self.data)} data sources. Give one for each."
        if len(set(self.data)) < len(self.data) and self.mix:
            yield "mix: a data source is named twice. Name each once, with its whole weight."
        for weight in self.mix:
            if not (math.isfinite(weight) and weight > 0):
                yield f"mix = {weight:g}: is a weight and must be above 0. Leave out data that are not wanted."
        for name, value in {"prompts_per_epoch": self.prompts_per_epoch, "max_per_prompt": self.max_per_prompt}.items():
            if value is not None and value < 1:
                yield f"{name} = {value}: must be at least 1."
        if self.prompts_per_epoch is not None and not self.mix:
            yield f"prompts_per_epoch = {self.prompts_per_epoch}: is the size of a mix. Set mix, or leave it out."

    def _score_problems(self) -> Iterator[str]:
        if not (math.isfinite(self.min_score_gap) and self.min_score_gap >= 0):
            yield f"min_score_gap = {self.min_score_gap}: must be a number of at least 0."
        elif self.min_score_gap and self.pairing == "given":
            yield (
                f"min_score_gap = {self.min_score_gap:g}: pairs that are given are kept whatever their scores. Set "
                "pairing to all, best_vs_worst or adjacent, or leave the gap out."
            )
        for name, weight in self.auxiliary.items():
            if not (math.isfinite(weight) and weight):
                yield f"auxiliary: the weight of {name} is {weight:g}. It must be a number other than 0."

    def problems_with(self, method: Method) -> Iterator[str]:
        """What a method has no use for, one text each."""
        learns = f"method {method.name} learns from {method.feedback}"
        if method.feedback not in ("pairs", "thumbs"):
            if self.pairing is not None:
                yield f"pairing = {self.pairing}: {learns}, which nothing pairs. Leave it out."
            if self.min_score_gap:
                yield f"min_score_gap = {self.min_score_gap:g}: {learns}, which nothing pairs. Leave it out."
        not_tiltable = [part.name for part in method.parts if part.loss.needs_reference and not part.loss.tiltable]
        if self.auxiliary and (not_tiltable or not method.needs_reference):
            fitting = ", ".join(name for name, loss in LOSSES.items() if loss.tiltable)
            yield (
                f"auxiliary: a further reward moves margins against a reference, and method {method.name} is not a "
                f"function of these alone. Use one of {fitting}, or leave it out."
            )
        if self.auxiliary and method.options.get("divergence", "reverse_kl") != "reverse_kl":
            yield "auxiliary: needs divergence = reverse_kl, where a further reward tilts the reference. Leave one out."
        if self.token_weights == "from_first_difference" and method.feedback != "pairs":
            yield f"token_weights = from_first_difference: {learns}, of which none parts from another. Leave it out."

    @property
    def holds_out(self) -> bool:
        """Whether there is anything to evaluate on."""
        return bool(self.eval_data or self.eval_fraction)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSettings:
    """Steps"""

    batch_size: int = setting(64, "Pairs (sft: completions) of an optimizer step, over all GPUs.")
    max_tokens_per_microbatch: int | Literal["auto"] | None = setting(
        None,
        "Memory budget of one forward and backward, in tokens; auto: measured, what memory holds. "
        "Default: 8192, or the biggest group's.",
    )
    epochs: float = setting(1.0, "Passes over the data.")
    max_steps: int | None = setting(None, "Optimizer steps; overrides epochs.")
    shuffle: bool = setting(True, "Shuffle anew in each epoch.")
    seed: int = setting(0, "Seed of the order, the split and the adapter's start.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.batch_size < 1:
            yield f"batch_size = {self.batch_size}: must be at least 1."
        if isinstance(self.max_tokens_per_microbatch, int) and self.max_tokens_per_microbatch < 2:
            yield f"max_tokens_per_microbatch = {self.max_tokens_per_microbatch}: must be at least 2, or auto."
        if not self.epochs > 0:
            yield f"epochs = {self.epochs}: must be above 0."
        if self.max_steps is not None and self.max_steps < 1:
            yield f"max_steps = {self.max_steps}: must be at least 1."
        if self.seed < 0:
            yield f"seed = {self.seed}: must not be negative."


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSettings:
    """Optimizer"""

    learning_rate: float | None = setting(
        None, "Peak learning rate. Default: 1e-6, for sft 2e-5; with an adapter ten times that."
    )
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt"] = setting(
        "cosine", "How the learning rate falls after warm-up."
    )
    warmup: float = setting(0.1, "Steps in which the learning rate rises; below 1: share of all steps.")
    optimizer: str = setting("adamw_torch", "Optimizer, by its name in transformers, such as adamw_8bit.")
    weight_decay: float = setting(0.0, "Weight decay per step and unit of learning rate.")
    adam_beta1: float = setting(0.9, "Decay of the mean of gradients.")
    adam_beta2: float = setting(0.999, "Decay of the mean of squared gradients.")
    adam_epsilon: float = setting(1e-8, "Added to the root of the mean of squared gradients.")
    max_grad_norm: float = setting(1.0, "Gradients with a greater norm are scaled down to it; 0: never.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.learning_rate is not None and not self.learning_rate > 0:
            yield f"learning_rate = {self.learning_rate}: must be above 0."
        not_negative = {
            "warmup": self.warmup,
            "weight_decay": self.weight_decay,
            "adam_epsilon": self.adam_epsilon,
            "max_grad_norm": self.max_grad_norm,
        }
        for name, value in not_negative.items():
            if not value >= 0:
                yield f"{name} = {value}: must not be negative."
        for name, value in {"adam_beta1": self.adam_beta1, "adam_beta2": self.adam_beta2}.items():
            if not 0 <= value < 1:
                yield f"{name} = {value}: must be in [0, 1)."


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSettings:
    """Output"""

    output: str = setting(MISSING, "Folder of the run: model, checkpoints, config, metrics.")
    overwrite: bool = setting(False, "Delete the run that the output folder holds.")
    resume: bool = setting(False, "Go on with the run that the output folder holds, from its last checkpoint.")
    log_every: int = setting(1, "Steps between logged metrics.")
    eval_every: int | None = setting(None, "Steps between evaluations on held-out data. Default: each epoch's end.")
    save_every: int | None = setting(None, "Steps between checkpoints. Default: each epoch's end.")
    keep_checkpoints: int = setting(1, "Checkpoints that stay on disk; older ones are deleted.")
    report_to: list[str] = setting(
        ["tensorboard"], "Where metrics go beside the run folder: tensorboard, wandb, trackio, mlflow, none."
    )
    run_name: str | None = setting(None, "Name of the run where metrics go. Default: the output folder's.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if not self.output:
            yield "output: is empty. Name a folder with --output."
        if self.overwrite and self.resume:
            yield "overwrite and resume: one deletes the run, the other goes on with it. Give one of them."
        counts = {
            "log_every": self.log_every,
            "eval_every": self.eval_every,
            "save_every": self.save_every,
            "keep_checkpoints": self.keep_checkpoints,
        }
        for name, value in counts.items():
            if value is not None and value < 1:
                yield f"{name} = {value}: must be at least 1."
