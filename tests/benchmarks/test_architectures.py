"""The table of architectures says what is so."""

import pytest

from benchmarks.architecture_verdict import Verdict, judge
from benchmarks.architectures import judge_apart, page

pytestmark = pytest.mark.filterwarnings("ignore")  # those of old models


@pytest.mark.parametrize(
    ("model_type", "model_class"),
    [("llama", "LlamaForCausalLM"), ("mistral", "MistralForCausalLM"), ("gpt2", "GPT2LMHeadModel")],
)
def test_models_that_can_be_packed_are_found_exact(model_type: str, model_class: str) -> None:
    verdict = judge(model_type, model_class)
    assert verdict.outcome == "packed, exact", verdict.reason
    assert verdict.head == "fused"
    assert verdict.gradient_error is not None
    assert verdict.gradient_error < 1e-3


def test_a_model_with_state_falls_back() -> None:
    verdict = judge("jamba", "JambaForCausalLM")
    assert verdict.outcome == "falls back"
    assert "linear_attention" in verdict.reason


def test_a_model_that_sees_what_comes_is_not_causal() -> None:
    assert judge("xlnet", "XLNetLMHeadModel").outcome == "not causal"


def test_a_class_that_cannot_be_built_says_why() -> None:
    verdict = judge("zaya", "NoSuchModel")
    assert verdict.outcome == "not built"
    assert "NoSuchModel" in verdict.reason


def test_a_class_that_takes_too_long_is_left() -> None:
    verdict = judge_apart("llama", "LlamaForCausalLM", seconds=0.0)
    assert verdict.outcome == "not run"
    assert "more than 0 s" in verdict.reason


def test_the_page_counts_and_escapes() -> None:
    verdicts = [Verdict("a", "A", "packed, exact", "", "fused", 1e-7, 2e-6), Verdict("b", "B", "not built", "x | y_z")]
    text = page(verdicts)
    assert "| packed, exact | 1 |" in text
    assert "| a | A | packed, exact | fused | 1e-07, 2e-06 |  |" in text
    assert r"x \| y\_z" in text
