"""Exactness of packed rows for one model class, tested on a tiny random model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel

from benchmarks.tiny_config import VOCABULARY_SIZE, tiny_configs
from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.groups import Origin
from preftune.model.forward.head.head import find_head
from preftune.model.forward.packed import language_model_of
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.self_check import choose_forward
from preftune.model.forward.sequences import SequencesForward

__all__ = ["Outcome", "Verdict", "judge"]

Outcome = Literal["packed, exact", "packed, WRONG", "falls back", "not causal", "not run", "not built"]

MAX_PARAMETERS = 120_000_000
MAX_LOGP_ERROR, MAX_GRADIENT_ERROR = 1e-3, 1e-2
"""Relative errors in float32: several times the rounding error observed here, far below the error of a wrong token.
Weights are enlarged so that a wrong token shows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result for one class.

    Args:
        model_type: Key of the configuration.
        model_class: Name of the model's class.
        reason: Short reason for an outcome other than packed.
        head: `fused`, or `own logits` for a head of unknown kind; empty if the model was not run.
        logp_error, gradient_error: Largest difference from one row per completion, relative to the largest value.
    """

    model_type: str
    model_class: str
    outcome: Outcome
    reason: str = ""
    head: str = ""
    logp_error: float | None = None
    gradient_error: float | None = None


def judge(model_type: str, model_class: str) -> Verdict:
    """Build a tiny model of the class on the CPU, and compare packed rows with one row per completion in float32."""
    failed: tuple[Outcome, Exception] | None = None
    try:
        for config in _configs(model_type, model_class):
            try:
                model = _build(config, model_class)
            except Exception as error:
                failed = failed or ("not built", error)
                continue
            try:
                return _compared(model, model_type, model_class)
            except Exception as error:
                failed = ("not run", error)
    except Exception as error:
        failed = failed or ("not built", error)
    assert failed is not None
    return Verdict(model_type, model_class, failed[0], _in_a_line(failed[1]))


def _configs(model_type: str, model_class: str) -> Iterator[PretrainedConfig]:
    config_class = getattr(transformers, model_class).config_class or CONFIG_MAPPING[model_type]
    return tiny_configs(config_class)


def _build(config: PretrainedConfig, model_class: str) -> PreTrainedModel:
    """A random model in eval mode, with enlarged weights so that each token matters."""
    built: type[Any] = getattr(transformers, model_class)
    with torch.device("meta"):
        num_parameters = sum(parameter.numel() for parameter in built(config).parameters())
    if num_parameters > MAX_PARAMETERS:
        raise ValueError(f"{num_parameters / 1e6:,.0f}M parameters after shrinking")
    torch.manual_seed(0)
    model: PreTrainedModel = built(config).float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5 * max(1, parameter.shape[-1:].numel()) ** -0.5)
    model.train(False)
    return model


def _compared(model: PreTrainedModel, model_type: str, model_class: str) -> Verdict:
    batch = pack(_groups())
    plain = SequencesForward()
    expected = plain.token_logps(model, batch)
    gradients = _gradients(model, expected)
    if not bool(expected.isfinite().all()):
        raise ValueError("log-probs are not finite")
    if (leak := _future_leak(model)) > MAX_LOGP_ERROR:
        return Verdict(model_type, model_class, "not causal", f"later tokens change earlier logits by {leak:.0e}")
    choice = choose_forward(model)
    head = "fused" if find_head(model, language_model_of(model)) else "own logits"
    if choice.forward.layout != "packed":
        reason = choice.reason.removeprefix("one row per completion: ").partition(" Use SequencesForward")[0]
        reason = reason.removeprefix("ModelError: ").replace(", so its prompt cannot be shared among completions", "")
        return Verdict(model_type, model_class, "falls back", _short(reason), head)
    found = choice.forward.token_logps(model, batch)
    logp_error = _relative_error(found, expected)
    gradient_error = _gradient_error(_gradients(model, found), gradients)
    is_exact = logp_error < MAX_LOGP_ERROR and gradient_error < MAX_GRADIENT_ERROR
    outcome: Outcome = "packed, exact" if is_exact else "packed, WRONG"
    return Verdict(model_type, model_class, outcome, "", head, logp_error, gradient_error)


def _future_leak(model: PreTrainedModel) -> float:
    """Change of earlier logits by the last token, as a share of the largest logit."""
    token_ids = torch.arange(3, 23)[None]
    changed = token_ids.clone()
    changed[0, -1] = 60
    with torch.no_grad():
        first, second = (model(input_ids=ids, use_cache=False).logits[0, :-1] for ids in (token_ids, changed))
    return float((first - second).abs().max() / first.abs().max())


def _groups() -> Sequence[TokenGroup]:
    """Prompts and completions both shorter and longer than the window, with other lengths than in the self-check."""
    random = np.random.default_rng(1)

    def tokens(length: int) -> TokenIds:
        return random.integers(3, VOCABULARY_SIZE, length).astype(np.int32)

    lengths = ((11, (7, 13)), (3, (9, 1, 10)), (17, (4,)), (1, (2, 12)))
    return [
        TokenGroup(tokens(prompt), tuple(map(tokens, completions)), (), Origin("random", row))
        for row, (prompt, completions) in enumerate(lengths, start=1)
    ]


def _gradients(model: PreTrainedModel, logps: Tensor) -> dict[str, Tensor]:
    weights = torch.randn(logps.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad(set_to_none=True)
    (logps * weights).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def _relative_error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def _gradient_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Largest relative error over the parameters; tiny gradients count as 1 % of the largest."""
    floor = 1e-2 * max(float(gradient.abs().max()) for gradient in expected.values())
    errors = []
    for name in found.keys() | expected.keys():
        ours, plain = (gradients.get(name, torch.zeros(())) for gradients in (found, expected))
        errors.append(float((ours - plain).abs().max()) / max(float(plain.abs().max()), floor))
    return max(errors)


def _in_a_line(error: Exception) -> str:
    return _short(f"{type(error).__name__}: {str(error).strip()}")


def _short(text: str, length: int = 140) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
