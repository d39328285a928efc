"""Settings of the model, the adapter, the steps, the optimizer, the output and the health rules of a run."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from preftune.groups import template_variable_problem
from preftune.losses import Method
from preftune.settings.chat import ChatChoice, ChatMode
from preftune.settings.packages import LOGGERS, OPTIMIZERS, unknown_name
from preftune.settings.setting import Section, setting

_SYNC_EVERY, _SYNC_MIX = 512, 0.6
"""Values of the TR-DPO paper. Other values of a setting that has no effect are a mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings(Section):
    """The model, its reference, and how both are loaded and computed."""

    title: ClassVar[str] = "Model"

    model: str = setting(
        MISSING,
        "Model to fine-tune: hub id, local folder, or folder of a run or adapter.",
        used_by=("eval", "generate", "merge"),
        is_path=True,
    )
    revision: str | None = setting(None, "Branch, tag or commit of a hub model.", used_by=("eval", "generate", "merge"))
    reference_model: str | None = setting(
        None,
        "Reference model, with the same tokenizer. Default: the model before training.",
        for_preferences=True,
        is_path=True,
    )
    reference_cache: bool = setting(
        True,
        "Keep reference log-probs on disk and reuse them in later runs on the same data.",
        changes="speed",
        for_preferences=True,
    )
    reference_sync: Literal["off", "soft", "hard"] = setting(
        "off",
        "Update the reference from the policy during training (TR-DPO): soft: average the two; hard: copy the policy.",
        for_preferences=True,
    )
    reference_sync_every: int = setting(
        _SYNC_EVERY, "Steps between updates of the reference.", within="[1, inf)", for_preferences=True
    )
    reference_sync_mix: float = setting(
        _SYNC_MIX,
        "Weight of the policy in a soft update of the reference, in (0, 1].",
        within="(0, 1]",
        for_preferences=True,
    )
    weights_dtype: Literal["float32", "bfloat16", "float16", "auto"] = setting(
        "float32",
        "Data type of the weights; auto: as saved. Without an adapter, bfloat16 and float16 lose small updates.",
        used_by=("eval", "generate", "merge"),
        from_run=True,
    )
    load_in_4bit: bool = setting(
        False,
        "Quantize the frozen weights to 4 bits (nf4) while loading (QLoRA). Requires lora and bitsandbytes.",
        used_by=("eval", "generate"),
        from_run=True,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        "Data type of computations (autocast); auto: bf16 on a GPU that supports it, else fp32.",
        used_by=("eval",),
        from_run=True,
    )
    attention: str | None = setting(
        None,
        "Attention implementation of transformers, such as sdpa or eager. Default: that of transformers.",
        used_by=("eval", "generate"),
        from_run=True,
    )
    gradient_checkpointing: bool = setting(
        False, "Recompute activations in the backward pass, which saves memory and takes longer."
    )
    dropout: bool = setting(False, "Keep the model's dropout, which adds noise to the log-probs.")
    chat_template: str | None = setting(
        None,
        "Jinja file with a chat template, for a tokenizer that has none.",
        used_by=("check", "eval", "generate"),
        is_path=True,
    )
    chat: ChatMode = setting(
        "auto",
        "Chat template for prompts that are text: if the tokenizer has one, always, or never (raw text).",
        used_by=("check", "convert", "eval", "generate"),
        from_run=True,
    )
    chat_template_kwargs: Mapping[str, Any] = setting(
        {},
        "Variables of the chat template, such as '{\"enable_thinking\": false}'.",
        used_by=("check", "eval", "generate"),
        from_run=True,
    )
    trust_remote_code: bool = setting(
        False, "Run Python code from the model's repository.", used_by=("eval", "generate", "merge")
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.model:
            yield "model: is empty. Give a hub id or a local folder with --model."
        if problem := template_variable_problem(self.chat_template_kwargs):
            yield f"chat_template_kwargs: {problem} Leave it out."
        if self.load_in_4bit and find_spec("bitsandbytes") is None:
            yield "load_in_4bit: needs bitsandbytes, which is not installed. Run `pip install bitsandbytes`."
        if not self.moves_reference and self.reference_sync_every != _SYNC_EVERY:
            yield (
                f"reference_sync_every = {self.reference_sync_every}: the reference does not move. Set reference_sync "
                "to soft or hard, or leave it out."
            )
        if self.reference_sync != "soft" and self.reference_sync_mix != _SYNC_MIX:
            yield (
                f"reference_sync_mix = {self.reference_sync_mix}: only a soft update mixes, and reference_sync is "
                f"{self.reference_sync}. Set it to soft, or leave the share out."
            )

    @property
    def chat_choice(self) -> ChatChoice:
        """The way from prompts to text."""
        return ChatChoice(self.chat, self.chat_template_kwargs)

    @property
    def moves_reference(self) -> bool:
        """True if the reference follows the policy instead of staying frozen."""
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
        """Messages about settings that do not fit the method, or an adapter if there is one."""
        if self.load_in_4bit and not lora:
            yield "load_in_4bit: weights in 4 bits cannot be trained, but an adapter on them can. Set lora."
        if self.moves_reference and not method.needs_reference:
            yield f"reference_sync = {self.reference_sync}: method {method.name} has no reference. Leave it out."
        if self.moves_reference and lora and self.reference_model is not None:
            yield (
                f"reference_sync = {self.reference_sync}: an adapter cannot be mixed into reference_model, which is "
                "another model. Leave out one of reference_sync, reference_model and lora."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterSettings(Section):
    """The low-rank adapter that is trained instead of all weights."""

    title: ClassVar[str] = "Adapter (LoRA)"

    lora: bool = setting(False, "Train a low-rank adapter instead of all weights.")
    lora_rank: int | None = setting(
        None, "Rank of the adapter. Default: 16, or that of the adapter that is trained further.", within="[1, 65536]"
    )
    lora_alpha: int | None = setting(
        None,
        "Scale of the adapter: its output is multiplied by alpha / rank. Default: 32, or that of the adapter that is "
        "trained further.",
        within="[1, inf)",
        because="or the adapter has no effect",
    )
    lora_dropout: float = setting(
        0.0, "Dropout inside the adapter, a probability in [0, 1).", within="[0, 1)", because="as a probability"
    )
    lora_targets: list[str] = setting(
        ["all-linear"],
        "Modules to adapt, by name suffix; all-linear: all linear layers except the head, or those of the adapter that "
        "is trained further.",
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.lora_targets:
            yield "lora_targets: is empty, so there is nothing to train. Name modules, or use all-linear."

    @property
    def rank(self) -> int:
        """Rank of a new adapter.

        >>> AdapterSettings().rank, AdapterSettings(lora_rank=4).rank
        (16, 4)
        """
        return 16 if self.lora_rank is None else self.lora_rank

    @property
    def alpha(self) -> int:
        """Scale of a new adapter."""
        return 32 if self.lora_alpha is None else self.lora_alpha


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSettings(Section):
    """Size, number and order of the optimizer steps."""

    title: ClassVar[str] = "Steps"

    batch_size: int = setting(64, "Pairs (sft: completions) per optimizer step, over all GPUs.", within="[1, inf)")
    max_tokens_per_microbatch: int | Literal["auto"] | None = setting(
        None,
        "Memory budget of a forward and backward pass, in tokens; auto: as many as fit. Default: 8192, or the size of "
        "the largest group if that is more.",
        within="[2, inf)",
        because="or auto",
    )
    epochs: float = setting(1.0, "Passes over the data.", within="(0, 1000000]")
    max_steps: int | None = setting(None, "Number of optimizer steps; overrides epochs.", within="[1, inf)")
    shuffle: bool = setting(True, "Shuffle the data in each epoch.")
    seed: int = setting(
        0,
        "Random seed for data order, held-out split and initial adapter weights.",
        within="[0, 4294967295]",
        not_swept="seeds are given by --seeds",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSettings(Section):
    """The optimizer and its learning rate."""

    title: ClassVar[str] = "Optimizer"

    learning_rate: float | None = setting(
        None, "Peak learning rate. Default: 1e-6, for sft 2e-5; ten times that with an adapter.", within="(0, inf)"
    )
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt"] = setting(
        "cosine", "Decay of the learning rate after warm-up."
    )
    warmup: float = setting(
        0.1,
        "Linear warm-up, in steps; below 1: as a share of all steps. The first of n steps has 1/n of the peak rate.",
        within="[0, inf)",
    )
    optimizer: str = setting("adamw_torch", "Optimizer, by its transformers name, such as adamw_8bit.")
    weight_decay: float = setting(0.0, "Weight decay, multiplied by the learning rate at each step.", within="[0, inf)")
    adam_beta1: float = setting(0.9, "Decay rate of Adam's first moment, in [0, 1).", within="[0, 1)")
    adam_beta2: float = setting(0.999, "Decay rate of Adam's second moment, in [0, 1).", within="[0, 1)")
    adam_epsilon: float = setting(1e-8, "Added to Adam's denominator for numerical stability.", within="[0, inf)")
    max_grad_norm: float = setting(
        1.0, "Maximum gradient norm; larger gradients are clipped to it. 0: no clipping.", within="[0, inf]"
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about names that transformers does not know."""
        yield from unknown_name("optimizer", self.optimizer, OPTIMIZERS, "optimizer")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSettings(Section):
    """The folder of a run, and what is logged and saved when."""

    title: ClassVar[str] = "Output"

    output: str = setting(
        MISSING,
        "Folder for the run: model, checkpoints, config, metrics.",
        changes="folder",
        not_swept="every point has its own folder inside the sweep's",
        is_path=True,
    )
    overwrite: bool = setting(
        False,
        "Replace an existing run in the output folder.",
        changes="folder",
        not_swept="a sweep replaces nothing",
    )
    resume: bool = setting(
        False,
        "Resume the run in the output folder from its last checkpoint.",
        changes="folder",
        not_swept="a sweep resumes by itself",
    )
    log_every: int = setting(1, "Steps between logged metrics.", changes="output", within="[1, inf)")
    eval_every: int | None = setting(
        None,
        "Steps between evaluations on held-out data. Default: the end of each epoch.",
        changes="course",
        within="[1, inf)",
    )
    save_every: int | None = setting(
        None, "Steps between checkpoints. Default: the end of each epoch.", changes="course", within="[1, inf)"
    )
    keep_checkpoints: int = setting(
        1, "Number of checkpoints to keep; older ones are deleted.", changes="course", within="[1, inf)"
    )
    report_to: list[str] = setting(
        ["tensorboard"], "Additional loggers: tensorboard, wandb, trackio, mlflow or none.", changes="output"
    )
    run_name: str | None = setting(
        None, "Name of the run in loggers. Default: name of the output folder.", changes="output"
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.output:
            yield "output: is empty. Name a folder with --output."
        if self.overwrite and self.resume:
            yield "overwrite and resume: one deletes the run, the other resumes it. Give one of them."
        for name in self.report_to:
            yield from unknown_name("report_to", name, LOGGERS, "logger")
        if "none" in self.report_to and len(self.report_to) > 1:
            yield f"report_to = {', '.join(self.report_to)}: none and others contradict each other. Leave one out."


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthSettings(Section):
    """Reaction of a run to the rules of docs/health.md."""

    title: ClassVar[str] = "Health"

    stop_on_sick: bool = setting(
        False,
        "Stop with a checkpoint and exit code 3 if a health rule reports the run as sick (docs/health.md).",
        changes="course",
    )
