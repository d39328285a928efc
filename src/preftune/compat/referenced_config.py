"""`ReferencedConfig`: the settings that configs of methods with a reference share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from preftune.compat.tuning_config import ReferencePlan, TuningConfig

_MIX, _EVERY = 0.6, 512


@dataclass
class ReferencedConfig(TuningConfig):
    """`TuningConfig` plus the fields of the reference.

    Args:
        precompute_ref_log_probs: Compute the reference log-probs of all rows once, before training, and free the
            reference. They are cached on disk by weights and tokens, so that a second run computes only new ones.
        precompute_ref_batch_size: Rows per forward while doing so; bounds memory as the batch sizes do.
        sync_ref_model: Update the reference towards the policy during training (TR-DPO).
        ref_model_mixup_alpha: Weight of the policy in each update, in (0, 1]; at 1 the reference becomes the policy.
        ref_model_sync_steps: Steps between two updates.
    Differs: the reference can follow a policy with an adapter, too: the initial adapter is kept beside the trained one
        and updated. TRL 1.16 refuses that.
    """

    precompute_ref_log_probs: bool = field(
        default=False, metadata={"help": "Compute reference log-probs once, before training, and cache them."}
    )
    precompute_ref_batch_size: int | None = field(
        default=None, metadata={"help": "Rows per forward of the precomputation. Default: per_device_train_batch_size."}
    )
    sync_ref_model: bool = field(
        default=False, metadata={"help": "Update the reference towards the policy during training (TR-DPO)."}
    )
    ref_model_mixup_alpha: float = field(
        default=_MIX, metadata={"help": "Weight of the policy in each update of the reference, in (0, 1]."}
    )
    ref_model_sync_steps: int = field(default=_EVERY, metadata={"help": "Steps between updates of the reference."})

    @property
    @override
    def reference_plan(self) -> ReferencePlan:
        at_once = self.precompute_ref_batch_size or self.per_device_train_batch_size
        return ReferencePlan(
            num_at_once=at_once if self.precompute_ref_log_probs else None,
            mix=self.ref_model_mixup_alpha if self.sync_ref_model else None,
            every=self.ref_model_sync_steps,
        )

    @override
    def remarks(self) -> Iterator[str]:
        yield from super().remarks()
        if self.precompute_ref_batch_size is not None and not self.precompute_ref_log_probs:
            yield "precompute_ref_batch_size: unused without precompute_ref_log_probs."
        for name, default in {"ref_model_mixup_alpha": _MIX, "ref_model_sync_steps": _EVERY}.items():
            if getattr(self, name) != default and not self.sync_ref_model:
                yield f"{name}: unused without sync_ref_model."

    @override
    def attributes(self) -> dict[str, Any]:
        return {**super().attributes(), "precompute_ref_logps": self.precompute_ref_log_probs}

    @override
    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        yield from self._sync_problems()

    @override
    def _method_problems(self) -> Iterator[str]:
        found = list(super()._method_problems())
        yield from found
        if found or self.method.needs_reference:
            return
        for name in ("precompute_ref_log_probs", "sync_ref_model"):
            if getattr(self, name):
                yield f"{name}: the method {self.method.name} has no reference. Leave it out."

    def _sync_problems(self) -> Iterator[str]:
        if not 0 < self.ref_model_mixup_alpha <= 1:
            yield f"ref_model_mixup_alpha = {self.ref_model_mixup_alpha}: must be a weight in (0, 1]."
        if not self.sync_ref_model:
            return
        if self.precompute_ref_log_probs:
            yield (
                "sync_ref_model: updates the reference, and precompute_ref_log_probs computes its log-probs once, "
                "before any update. Set one of them."
            )
        if self.fsdp:
            yield "sync_ref_model: cannot average weights that are sharded over processes. Train without fsdp."

    @override
    def _counts(self) -> dict[str, int | None]:
        return {
            **super()._counts(),
            "precompute_ref_batch_size": self.precompute_ref_batch_size,
            "ref_model_sync_steps": self.ref_model_sync_steps,
        }
