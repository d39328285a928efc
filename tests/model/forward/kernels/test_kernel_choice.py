"""Which kernels the start-up check lets pass, on models whose device has kernels: a CPU that is made to have some."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MambaConfig

from preftune.model.forward import self_check
from preftune.model.forward.attention.varlen_attention import find_varlen_attention
from preftune.model.forward.kernels import kernel_choice
from preftune.model.forward.kernels.kernel_choice import Candidates, candidates_on, choose_kernels
from preftune.model.forward.kernels.kernels import PLAIN, AttentionLayer, Kernels
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.self_check import choose_forward
from tests.model.forward import stand_ins
from tests.model.forward.stand_ins import CceOnCpu, FlashOnCpu, linear_cross_entropy, varlen_attn
from tests.model.forward.tiny_models import GROUPS, build, gradients, tiny_model

FLASH, CCE = FlashOnCpu(), CceOnCpu()
BOTH = Candidates(FLASH, CCE)


def untaught_gradient(e: Tensor, *others: Any, **options: Any) -> Tensor:
    return linear_cross_entropy(e.detach() + 0 * e, *others, **options)


def other_targets(e: Tensor, c: Tensor, targets: Tensor, **options: Any) -> Tensor:
    return linear_cross_entropy(e, c, targets.flip(0), **options)


@pytest.mark.parametrize(
    ("name", "candidates", "kernels", "reason"),
    [
        ("llama", BOTH, Kernels(FLASH, CCE), "attention by flash; log-probs by cce"),
        ("mistral_window", BOTH, Kernels(FLASH, CCE), "attention by flash; log-probs by cce"),
        (
            "gemma2", BOTH, Kernels(None, CCE),
            "attention segment by segment (flash: no soft-capping); log-probs by cce",
        ),
        (
            "gpt_oss", BOTH, Kernels(None, CCE),
            "attention segment by segment (flash: no attention sinks); log-probs by cce",
        ),
        (
            "llama", Candidates("too old a torch", "not installed"), PLAIN,
            "attention segment by segment (too old a torch); log-probs tile by tile (not installed)",
        ),
        (
            "llama", Candidates(FlashOnCpu(stand_ins.aligned_top_left), CCE), Kernels(None, CCE),
            "attention segment by segment (flash: output off by ",
        ),
        (
            "llama", Candidates(FlashOnCpu(stand_ins.without_gradient_by_key), CCE), Kernels(None, CCE),
            "attention segment by segment (flash: gradient by key off by 1.0e+00 of its size, where rounding explains ",
        ),
        (
            "llama", Candidates(FlashOnCpu(stand_ins.refusing), CCE), Kernels(None, CCE),
            "attention segment by segment (flash: RuntimeError: FlashAttention only supports Ampere GPUs or newer.); "
            "log-probs by cce",
        ),
        (
            "llama", Candidates(FLASH, CceOnCpu(other_targets)), Kernels(FLASH, None),
            "attention by flash; log-probs tile by tile (cce: output off by ",
        ),
        (
            "llama", Candidates(FLASH, CceOnCpu(untaught_gradient)), Kernels(FLASH, None),
            "attention by flash; log-probs tile by tile (cce: gradient by hidden off by 1.0e+00 of its size, ",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_that_are_wrong_or_do_not_fit_are_left_out_and_told_of(
    name: str, candidates: Candidates, kernels: Kernels, reason: str, dtype: torch.dtype
) -> None:
    choice = choose_kernels(tiny_model(name, dtype), pack(GROUPS), candidates)
    assert choice.kernels == kernels
    assert choice.reason.startswith(reason)


def test_a_kernel_that_only_some_layers_fit_is_used_for_these() -> None:
    class FullOnly(FlashOnCpu):
        def misfit(self, layer: AttentionLayer) -> str | None:
            return "no windows" if layer.window is not None else None

    choice = choose_kernels(tiny_model("gemma3", torch.float32), pack(GROUPS), Candidates(FullOnly(), CCE))
    assert choice.kernels == Kernels(FullOnly(), CCE)
    assert choice.reason.startswith("attention by flash, segment by segment where it fits not (no windows); ")


def test_each_kind_of_layer_is_tried() -> None:
    windows = []

    def seeing(*arguments: Any, window_size: tuple[int, int], **options: Any) -> Tensor:
        windows.append(window_size)
        return varlen_attn(*arguments, window_size=window_size, **options)

    choose_kernels(tiny_model("gemma3", torch.float32), pack(GROUPS), Candidates(FlashOnCpu(seeing), CCE))
    assert len(windows) == len(set(windows)) == 2


def test_a_head_that_is_not_known_needs_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preftune.model.forward.packed.find_head", lambda *_: None)
    choice = choose_kernels(tiny_model("llama", torch.float32), pack(GROUPS), BOTH)
    assert choice.kernels == Kernels(FLASH, None)
    assert choice.reason.endswith("log-probs from the model's own logits (its head is not known here)")


def test_a_cpu_has_no_kernels_and_nothing_is_said_of_them() -> None:
    assert candidates_on(torch.device("cpu")) is None
    choice = choose_forward(tiny_model("llama", torch.float32))
    assert choice.forward == PackedForward()
    assert "attention" not in choice.reason


def test_on_cuda_the_kernels_at_hand_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "find_cut_cross_entropy", lambda: "not installed")
    assert candidates_on(torch.device("cuda:1")) == Candidates(find_varlen_attention(), "not installed")


def with_candidates(monkeypatch: pytest.MonkeyPatch, candidates: Candidates) -> None:
    monkeypatch.setattr(self_check, "candidates_on", lambda _: candidates)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_forward_of_a_run_gets_the_kernels_that_passed(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    with_candidates(monkeypatch, BOTH)
    choice = choose_forward(tiny_model("llama", dtype))
    assert choice.forward == PackedForward(kernels=Kernels(FLASH, CCE))
    assert choice.reason.startswith("packed rows: log-probs differ by ")
    assert choice.reason.endswith("; attention by flash; log-probs by cce")


def test_autocast_is_that_of_training_when_kernels_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Seeing(FlashOnCpu):
        def misfit(self, layer: AttentionLayer) -> str | None:
            seen.append(layer.dtype)
            return None

    with_candidates(monkeypatch, Candidates(Seeing(), CCE))
    with torch.autocast("cpu", torch.bfloat16):
        choose_forward(tiny_model("llama", torch.float32))
    assert set(seen) == {torch.bfloat16}


def test_kernels_that_pass_alone_but_not_in_the_model_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_on_short_rows(query: Tensor, key: Tensor, value: Tensor, *others: Any, **options: Any) -> Tensor:
        output = varlen_attn(query, key, value, *others, **options)
        return output if len(query) > 100 else output.flip(0)

    with_candidates(monkeypatch, Candidates(FlashOnCpu(wrong_on_short_rows), CCE))
    choice = choose_forward(tiny_model("llama", torch.float32))
    assert choice.forward == PackedForward()
    assert "; no kernels: with attention by flash; log-probs by cce, log-probs differ by " in choice.reason


def test_kernels_that_raise_in_the_model_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising_on_short_rows(query: Tensor, *others: Any, **options: Any) -> Tensor:
        if len(query) < 100:
            raise RuntimeError("no kernel image is available")
        return varlen_attn(query, *others, **options)

    with_candidates(monkeypatch, Candidates(FlashOnCpu(raising_on_short_rows), CCE))
    choice = choose_forward(tiny_model("llama", torch.float32))
    assert choice.forward == PackedForward()
    assert choice.reason.endswith("; no kernels: RuntimeError: no kernel image is available")


def test_a_model_that_packed_rows_are_wrong_for_is_not_asked_about_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: torch.device) -> Candidates:
        raise AssertionError("kernels for rows that are not packed")

    monkeypatch.setattr(self_check, "candidates_on", never)
    model = build(MambaConfig(vocab_size=80, hidden_size=16, num_hidden_layers=2, state_size=4))
    assert choose_forward(model).forward.layout == "sequences"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["llama", "mistral_window", "gemma2", "gpt_oss"])
def test_on_a_gpu_the_choice_is_exact_in_gradients_too(name: str) -> None:
    model = tiny_model(name, torch.bfloat16)
    torch.nn.Module.to(model, "cuda")
    choice = choose_forward(model)
    assert isinstance(choice.forward, PackedForward), choice.reason
    batch = pack(GROUPS).to("cuda")
    found, plain = (
        gradients(model, forward.token_logps(model, batch).cpu())
        for forward in (choice.forward, replace(choice.forward, kernels=PLAIN))
    )
    size = max(float(gradient.norm()) for gradient in plain.values())
    for parameter, gradient in plain.items():
        assert (found[parameter] - gradient).norm() <= 0.1 * gradient.norm() + 0.01 * size


def test_policy_and_reference_share_the_kernels_that_are_right_for_both() -> None:
    both = Kernels(FLASH, CCE)
    assert both.shared_with(both) == both
    assert both.shared_with(Kernels(attention=FlashOnCpu())) == Kernels(attention=FLASH)
    assert PLAIN.shared_with(both) == PLAIN
