from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward, completion_logps
from preftune.model.forward.kernels.kernels import Kernels
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.self_check import ForwardChoice
from preftune.model.load import choose_forward
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.evaluated_models import load_models
from preftune.model.reference.reference import FrozenCopy, NoReference
from preftune.settings.evaluation_config import EvaluationConfig
from tests.builders import tiny_llama, token_groups
from tests.runs.inputs import write_model

CPU = Arithmetic(torch.device("cpu"))


def test_a_run_computes_the_logits_of_small_steps_once() -> None:
    model, batch = tiny_llama(), pack(token_groups(3))
    chosen = choose_forward_for(model, NoReference(), CPU).forward

    def operations(forward: Forward) -> int:
        counter = FlopCounterMode(display=False)
        with counter:
            completion_logps(forward, model, batch).sum().backward()
        return int(counter.get_total_flops())

    head = model.get_output_embeddings().weight
    assert isinstance(head, torch.Tensor)
    assert operations(PackedForward()) - operations(chosen) == 2 * head.numel() * len(batch.targets)


def test_kernels_that_the_reference_fails_with_are_used_for_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    attention: Any = object()
    policy, reference = tiny_llama(), tiny_llama()
    chosen = {
        id(policy): ForwardChoice(
            PackedForward(kernels=Kernels(attention=attention)), "packed rows; attention by flash"
        ),
        id(reference): ForwardChoice(PackedForward(), "packed rows; no kernels: log-probs differ"),
    }
    monkeypatch.setattr(choose_forward, "choose_forward", lambda model, **_: chosen[id(model)])
    found = choose_forward_for(policy, FrozenCopy(reference), CPU)
    assert found.forward == PackedForward()
    assert "no kernels: log-probs differ" in found.reason


def test_an_evaluation_chooses_the_forward_as_a_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attention: Any = object()
    packed = PackedForward(kernels=Kernels(attention=attention))
    choices = iter([ForwardChoice(packed, "attention by flash"), ForwardChoice(PackedForward(), "no kernels")])
    monkeypatch.setattr(choose_forward, "choose_forward", lambda *_, **__: next(choices))
    model = write_model(tmp_path / "model")
    config = EvaluationConfig.of(model=str(model), data="pairs.jsonl", reference=str(model))
    assert load_models(config, CPU).runner.forward == PackedForward()
