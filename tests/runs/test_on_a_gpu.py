"""Whole runs on a CUDA GPU. Skipped without one."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.model.generation.completions import generate
from preftune.model.load.device_memory import memory_of
from preftune.runs.run import train
from preftune.training.trainer import PreferenceTrainer
from tests.runs.inputs import config_of, history

pytestmark = pytest.mark.gpu
ON_THE_GPU: list[dict[str, Any]] = [
    {},
    {"precision": "fp32"},
    {"precision": "fp16"},
    {"weights_dtype": "bfloat16"},
    {"lora": True},
    {"gradient_checkpointing": True},
    {"reference_cache": False},
    {"max_tokens_per_microbatch": 64},
    {"method": "kto", "eval_fraction": 0.5},
    {"method": "tdpo"},
    {"method": "aot"},
]


@pytest.mark.parametrize("settings", ON_THE_GPU, ids=str)
def test_a_run_learns_and_is_saved(
    settings: dict[str, Any], model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    given = {"precision": "auto", "learning_rate": 1e-2, "epochs": 4, "eval_fraction": 0.2, "eval_samples": 2}
    result = train(config_of(model_folder, pairs_file, tmp_path / "run", **{**given, **settings}))
    losses = history(tmp_path / "run")
    assert all(map(math.isfinite, losses))
    assert min(losses) < losses[0]
    assert result.peak_memory_bytes > 0
    assert any((tmp_path / "run").glob("*.safetensors"))


def test_float32_gives_the_losses_of_the_cpu(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    """Random numbers play no part: there is no dropout, and the order of the steps is drawn on the CPU."""
    for name, visible in (("gpu", {}), ("cpu", {"CUDA_VISIBLE_DEVICES": ""})):
        options = {"model": model_folder, "data": pairs_file, "output": tmp_path / name, "report-to": "none"}
        options |= {"precision": "fp32", "learning-rate": 1e-3, "batch-size": 4, "epochs": 2, "eval-samples": 0}
        flags = [part for option, value in options.items() for part in (f"--{option}", str(value))]
        command = [sys.executable, "-m", "preftune", "train", *flags]
        done = subprocess.run(command, env={**os.environ, **visible}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for metric in ("loss", "rewards/margins", "logps/chosen"):
        on_gpu, on_cpu = (history(tmp_path / name, metric) for name in ("gpu", "cpu"))
        assert on_gpu == pytest.approx(on_cpu, rel=1e-3, abs=1e-4)


def test_the_allocator_says_how_much_memory_work_takes() -> None:
    memory = memory_of(torch.device("cuda"))
    before = memory.used()
    peak = memory.peak_used(lambda: torch.ones(64, 2**20, device="cuda"))
    assert 0.99 * 2**28 <= peak - before <= 1.1 * 2**28
    assert memory.free() > 0


def test_a_step_that_runs_out_of_memory_goes_on_with_half_the_budget(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try takes more memory than the card has."""
    learn, tries = PreferenceTrainer._learn, []

    def greedy(self: PreferenceTrainer, *given: Any) -> torch.Tensor:
        tries.append(given)
        if len(tries) == 1:
            torch.empty(1 << 45, device="cuda", dtype=torch.uint8)
        return learn(self, *given)

    monkeypatch.setattr(PreferenceTrainer, "_learn", greedy)
    result = train(config_of(model_folder, pairs_file, tmp_path / "run", max_tokens_per_microbatch="auto"))
    assert math.isfinite(result.train["loss"].last)
    assert len(tries) == 7, "six steps, one of them twice"


def test_greedy_text_is_that_of_the_cpu(model_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    settings: dict[str, Any] = {"max_new_tokens": 12, "temperature": 0.0}
    expected = generate(model, tokenizer, ["1+1=", "2+3="], **settings)
    torch.nn.Module.to(model, "cuda")
    found = generate(model, tokenizer, ["1+1=", "2+3="], **settings)
    assert [[one.text for one in each] for each in found] == [[one.text for one in each] for each in expected]
    one, two = (generate(model, tokenizer, ["1+1="], max_new_tokens=12, seed=3) for _ in range(2))
    assert one[0][0].text == two[0][0].text
