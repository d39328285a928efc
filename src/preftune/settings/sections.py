"""The settings of a run, by topic. Each class checks its own."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Literal

from preftune.losses import Method
from preftune.settings.setting import setting

__all__ = [
    "AdapterSettings",
    "HealthSettings",
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

    def why_reference_is_not_cached(self, method: Method) -> str | None:
        """The reason that no table of log-probs can stand in for the reference; None if one does."""
        if method.reference_use == "none":
            return f"as method {method.name} learns without one"
        if not self.reference_cache:
            return "as --no-reference-cache keeps nothing"
        if self.moves_reference:
            return "as it moves with the policy"
        return f"as {method.name} needs its whole distributions" if method.reference_use == "model" else None

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


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthSettings:
    """Health"""

    stop_on_sick: bool = setting(
        False, "End the run, with a checkpoint and exit code 3, when a rule of docs/health.md says that it is sick."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each: nothing."""
        yield from ()
