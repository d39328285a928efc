"""Methods of TRL's trainers that a subclass may override, and that would never be called here."""

from collections.abc import Mapping

from preftune.errors import ConfigError

_LOSS = (
    "The loss is computed from log-probs of packed rows, without logits. Choose a loss with `loss_type`, combine "
    "several with `loss_weights`, or override `training_step`, which gets a whole step."
)
_ROWS = "Change the rows beforehand, with `dataset.map`."
_ORDER = "Order the rows beforehand, and set train_sampling_strategy='sequential'."
_NEVER_CALLED: Mapping[str, str] = {
    "compute_loss": _LOSS,
    "_compute_loss": _LOSS,
    "get_batch_loss_metrics": _LOSS + " Override `log` to add metrics.",
    "concatenated_forward": _LOSS,
    "dpo_loss": _LOSS,
    "cpo_loss": _LOSS,
    "odds_ratio_loss": _LOSS,
    "compute_ref_log_probs": "Give `ref_model`, or set precompute_ref_log_probs=True.",
    "prediction_step": "Held-out rows are evaluated without predictions. Override `evaluate` or `evaluation_loop`.",
    "_prepare_dataset": _ROWS,
    "tokenize_row": _ROWS,
    "process_row": _ROWS,
    "_tokenize": _ROWS,
    "_get_train_sampler": _ORDER,
    "_get_eval_sampler": "Held-out rows keep their order. Order them beforehand.",
    "_set_signature_columns_if_needed": "Columns are recognised by their names. Rename or remove some beforehand.",
}
"""The way out, by the name of the overridden method."""


def check_overrides(trainer: type, base: type) -> None:
    """Refuse a trainer that overrides a method which is never called.

    Raises:
        ConfigError: every such method.
    """
    problems = [
        f"{trainer.__name__}.{name}: is never called, so overriding it has no effect. {advice}"
        for name, advice in _NEVER_CALLED.items()
        if getattr(trainer, name, None) is not getattr(base, name, None)
    ]
    if problems:
        raise ConfigError(problems)
