"""Settings of a run as typed keywords. Made from the settings by `make format`; do not edit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict


class TrainKeywords(TypedDict, total=False):
    """Keywords of `preftune.train` and `TrainConfig.of`: the settings of all sections and the options of losses."""

    # Model
    model: str
    """Model to fine-tune: hub id, local folder, or folder of a run or adapter."""
    revision: str | None
    """Branch, tag or commit of a hub model."""
    reference_model: str | None
    """Reference model, with the same tokenizer. Default: the model before training."""
    reference_cache: bool
    """Keep reference log-probs on disk and reuse them in later runs on the same data."""
    reference_sync: Literal["off", "soft", "hard"]
    """Update the reference from the policy during training (TR-DPO): soft: average the two; hard: copy the
    policy."""
    reference_sync_every: int
    """Steps between updates of the reference."""
    reference_sync_mix: float
    """Weight of the policy in a soft update of the reference, in (0, 1]."""
    weights_dtype: Literal["float32", "bfloat16", "float16", "auto"]
    """Data type of the weights; auto: as saved. Without an adapter, bfloat16 and float16 lose small updates."""
    load_in_4bit: bool
    """Quantize the frozen weights to 4 bits (nf4) while loading (QLoRA). Requires lora and bitsandbytes."""
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    """Data type of computations (autocast); auto: bf16 on a GPU that supports it, else fp32."""
    attention: str | None
    """Attention implementation of transformers, such as sdpa or eager. Default: that of transformers."""
    gradient_checkpointing: bool
    """Recompute activations in the backward pass, which saves memory and takes longer."""
    dropout: bool
    """Keep the model's dropout, which adds noise to the log-probs."""
    chat_template: str | None
    """Jinja file with a chat template, for a tokenizer that has none."""
    chat: Literal["auto", "on", "off"]
    """Chat template for prompts that are text: if the tokenizer has one, always, or never (raw text)."""
    chat_template_kwargs: Mapping[str, Any] | str
    """Variables of the chat template, such as '{"enable_thinking": false}'."""
    trust_remote_code: bool
    """Run Python code from the model's repository."""

    # Data
    data: str | Sequence[str] | Iterable[Mapping[str, Any]]
    """Preference data: files, folders, presets such as hh, or hub ids."""
    mix: float | Sequence[float]
    """Weight of each data source in an epoch, in order, such as 0.7 and 0.3. Default: all rows of every source."""
    prompts_per_epoch: int | None
    """Number of prompts in an epoch of a mix. Default: as many as possible without repeating any."""
    max_per_prompt: int | None
    """Maximum number of pairs, completions or lists per prompt, chosen at random. Default: no limit."""
    split: str | None
    """Split of a hub data set or saved `datasets` folder, such as train."""
    format: str | None
    """Format of the rows (`preftune formats`). Default: detected from the columns."""
    columns: Mapping[str, str] | str
    """Column names in the data, such as chosen=better."""
    where: str | Sequence[str]
    """Use only rows that meet a condition on a column, such as 'score_ratio>=2' or lang=en."""
    on_bad_row: Literal["error", "skip"]
    """Unusable rows: stop with an error, or skip, count and list them."""
    pairing: Literal["given", "all", "best_vs_worst", "adjacent"] | None
    """Pairs: given in the data, or made from scores: all that differ, best and worst, or adjacent in rank.
    Default: given if there are any, else all."""
    min_score_gap: float
    """Minimum difference of two scores that makes a pair, in units of the scores."""
    auxiliary: Mapping[str, float] | str
    """Weights of auxiliary scores to learn from, such as safety=0.5; length is the number of tokens."""
    token_weights: Literal["data", "from_first_difference"]
    """Token weights: those of the data, or 0 before the first token at which chosen and rejected differ."""
    eval_data: str | Sequence[str] | Iterable[Mapping[str, Any]]
    """Held-out data: files, folders or hub ids."""
    eval_split: str | None
    """Split of the held-out data."""
    eval_fraction: float
    """Share of the prompts to hold out, in [0, 1), instead of eval_data."""
    max_length: int | None
    """Maximum length of prompt + completion, in tokens. Default: the model's number of positions."""
    too_long: Literal["cut", "drop", "error"]
    """Text beyond max_length: cut (prompts from the left, then completions from the right), drop, or error."""
    num_processes: int
    """Number of processes for tokenization."""
    check_data: bool
    """Check up to 20,000 rows for problems and write them to data-check.json."""

    # Steps
    batch_size: int
    """Pairs (sft: completions) per optimizer step, over all GPUs."""
    max_tokens_per_microbatch: int | Literal["auto"] | None
    """Memory budget of a forward and backward pass, in tokens; auto: as many as fit. Default: 8192, or the size
    of the largest group if that is more."""
    epochs: float
    """Passes over the data."""
    max_steps: int | None
    """Number of optimizer steps; overrides epochs."""
    shuffle: bool
    """Shuffle the data in each epoch."""
    seed: int
    """Random seed for data order, held-out split and initial adapter weights."""

    # Optimizer
    learning_rate: float | None
    """Peak learning rate. Default: 1e-6, for sft 2e-5; ten times that with an adapter."""
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt"]
    """Decay of the learning rate after warm-up."""
    warmup: float
    """Linear warm-up, in steps; below 1: as a share of all steps. The first of n steps has 1/n of the peak rate."""
    optimizer: str
    """Optimizer, by its transformers name, such as adamw_8bit."""
    weight_decay: float
    """Weight decay, multiplied by the learning rate at each step."""
    adam_beta1: float
    """Decay rate of Adam's first moment, in [0, 1)."""
    adam_beta2: float
    """Decay rate of Adam's second moment, in [0, 1)."""
    adam_epsilon: float
    """Added to Adam's denominator for numerical stability."""
    max_grad_norm: float
    """Maximum gradient norm; larger gradients are clipped to it. 0: no clipping."""

    # Adapter (LoRA)
    lora: bool
    """Train a low-rank adapter instead of all weights."""
    lora_rank: int | None
    """Rank of the adapter. Default: 16, or that of the adapter that is trained further."""
    lora_alpha: int | None
    """Scale of the adapter: its output is multiplied by alpha / rank. Default: 32, or that of the adapter that
    is trained further."""
    lora_dropout: float
    """Dropout inside the adapter, a probability in [0, 1)."""
    lora_targets: str | Sequence[str]
    """Modules to adapt, by name suffix; all-linear: all linear layers except the head, or those of the adapter
    that is trained further."""

    # Output
    output: str
    """Folder for the run: model, checkpoints, config, metrics."""
    overwrite: bool
    """Replace an existing run in the output folder."""
    resume: bool
    """Resume the run in the output folder from its last checkpoint."""
    log_every: int
    """Steps between logged metrics."""
    eval_every: int | None
    """Steps between evaluations on held-out data. Default: the end of each epoch."""
    save_every: int | None
    """Steps between checkpoints. Default: the end of each epoch."""
    keep_checkpoints: int
    """Number of checkpoints to keep; older ones are deleted."""
    report_to: str | Sequence[str]
    """Additional loggers: tensorboard, wandb, trackio, mlflow or none."""
    run_name: str | None
    """Name of the run in loggers. Default: name of the output folder."""

    # Samples
    eval_samples: int | None
    """Number of prompts to sample at each evaluation, before the first step and after the last, for
    samples.jsonl, KL, entropy and lengths; 0: none. Default: 8; on a CPU 4."""
    eval_sample_tokens: int | None
    """Maximum length of a sample, in tokens. Default: 128; on a CPU 64, without a judge."""
    eval_kl: bool
    """Load the reference at each evaluation to measure the KL of the samples. Not needed with --lora or --no-
    reference-cache."""
    judge: str | None
    """Judge of the samples at each evaluation: reward:MODEL or python:MODULE:FUNCTION. Logs win_rate, and reward
    if the judge returns scores."""
    judge_samples: int
    """Number of prompts whose samples the judge rates; overrides a smaller eval_samples."""
    judge_against: Literal["start", "chosen"]
    """Opponent for win_rate: samples before the first step, or the chosen completions of the data."""

    # Checkpoint choice
    keep: Literal["last", "best"]
    """Weights to save as the model: those of the last step, or of the best evaluation."""
    metric: str | None
    """Held-out metric that selects the best evaluation, such as loss or rewards/margins; with a judge win_rate,
    reward or reward_at_kl_budget; NAME:higher or NAME:lower for a custom measure. Default: rewards/accuracies,
    or loss for methods without it."""
    kl_budget: float | None
    """Largest KL of the samples to the reference, in nats, for metric = reward_at_kl_budget."""
    early_stopping: int | None
    """Stop after this many evaluations in a row without a new best. Requires keep = best. Default: never."""

    # Health
    stop_on_sick: bool
    """Stop with a checkpoint and exit code 3 if a health rule reports the run as sick (docs/health.md)."""

    # Options of the losses
    beta: float
    """Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference."""
    label_smoothing: float
    """Probability that a label is flipped, in [0, 0.5)."""
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"]
    """Divergence that keeps the policy close to the reference: reverse_kl seeks its modes, forward_kl covers it,
    js and alpha lie between."""
    alpha: float
    """Temperature of the scores, > 0. Lower concentrates the label on the best answer."""
    tau: float
    """Width of the transition from one loss to the other, in (0, 1], in units of the margin."""
    length_normalized: bool
    """Average the log-prob of `chosen` in the last term over its tokens instead of summing."""
    offset: Literal["log", "linear"]
    """Required margin as a function of the score difference. log: negative for differences below 1. linear:
    scores are rewards in nats."""
    penalty: float
    """Reduction of the margin, in nats per nat that the chosen answer lost, >= 0; lambda in the paper. At 0 it
    is DPO."""
    form: Literal["tdpo1", "tdpo2"]
    """tdpo1 follows from the Bradley-Terry model; tdpo2 adds the weight alpha, and no gradient of chosen_kl."""
    clamped: bool
    """Clamp weights to at most 1."""
    kept: float
    """Share of the pairs of a step that count, in (0, 1]: those whose gap is nearest to the running mean, and of
    equally near ones (within 0.001 nats) those less likely under the reference; rho in the paper."""
    momentum: float
    """Weight of earlier steps in the running mean of the gap, in [0, 1)."""
    shift: bool
    """Subtract the running mean reward. If false, the shift is 0 and the boundary is the reference."""
    shift_decay: float
    """Factor of the weight of earlier steps in the shift, per step, in [0, 1]. At 1 it is the mean over all."""
    lambda_or: float
    """Weight of the odds ratio, > 0; lambda in the paper."""
    sft_weight: float
    """Weight of the last term, >= 0; at 0 for sums such as `cpo + preferred_ft`."""
    gamma: float
    """Target margin of rewards, >= 0. The authors' code takes gamma / beta, from 0 to 1."""
    delta: float
    """Difference of log-probs above which a pair has no gradient, in nats, > 0."""
    lambda_reg: float
    """Weight of SFT, >= 0; lambda in the paper."""
    desirable_weight: float
    """Weight and maximum loss of a desirable completion, > 0."""
    undesirable_weight: float
    """Weight and maximum loss of an undesirable completion, > 0."""
    centering: float
    """Weight of the square of twice the mean reward, >= 0."""
