from pathlib import Path
from typing import Any

import pytest

from preftune import DPOConfig, KTOConfig
from preftune.compat.referenced_config import ReferencedConfig
from preftune.errors import ConfigError


def make(folder: Path, kind: type[ReferencedConfig] = DPOConfig, **settings: Any) -> Any:
    return kind(output_dir=str(folder), use_cpu=True, **settings)


@pytest.mark.parametrize("kind", [DPOConfig, KTOConfig])
def test_by_default_the_reference_stays_and_runs_as_needed(tmp_path: Path, kind: type[ReferencedConfig]) -> None:
    plan = make(tmp_path, kind).reference_plan
    assert (plan.num_at_once, plan.moves) == (None, False)


def test_log_probs_are_computed_in_batches_of_the_requested_size(tmp_path: Path) -> None:
    known: dict[str, Any] = {"precompute_ref_log_probs": True, "per_device_train_batch_size": 3}
    assert make(tmp_path, **known).reference_plan.num_at_once == 3
    assert make(tmp_path, **known, precompute_ref_batch_size=7).reference_plan.num_at_once == 7


def test_the_reference_moves_as_set(tmp_path: Path) -> None:
    plan = make(tmp_path, sync_ref_model=True, ref_model_mixup_alpha=0.3, ref_model_sync_steps=5).reference_plan
    assert (plan.mix, plan.every) == (0.3, 5)


@pytest.mark.parametrize("name", ["precompute_ref_log_probs", "sync_ref_model"])
def test_reference_fields_are_refused_without_a_reference(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: the method preferred_ft has no reference"):
        make(tmp_path, DPOConfig, loss_type="sft", **{name: True})


@pytest.mark.parametrize("kind", [DPOConfig, KTOConfig])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"precompute_ref_log_probs": True, "precompute_ref_batch_size": 0},
            "precompute_ref_batch_size = 0: must be at least 1",
        ),
        ({"sync_ref_model": True, "ref_model_sync_steps": 0}, "ref_model_sync_steps = 0: must be at least 1"),
        (
            {"sync_ref_model": True, "ref_model_mixup_alpha": 1.5},
            r"ref_model_mixup_alpha = 1.5: must be a weight in \(0, 1\]",
        ),
        ({"sync_ref_model": True, "precompute_ref_log_probs": True}, "sync_ref_model: updates the reference"),
        ({"sync_ref_model": True, "fsdp": "full_shard"}, "sync_ref_model: cannot average weights that are sharded"),
    ],
)
def test_invalid_settings_are_named(
    tmp_path: Path, kind: type[ReferencedConfig], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(tmp_path, kind, **settings)
