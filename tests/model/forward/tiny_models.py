"""Tiny random models of many architectures, in honest float64, and groups of tokens to run them on."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, PreTrainedModel
from transformers.masking_utils import eager_mask

from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin, Pair

VOCABULARY_SIZE = 97
WINDOW = 8

_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_WITHOUT_GROUPS = {name: value for name, value in _SMALL.items() if name != "num_key_value_heads"}
_WITHOUT_WIDTH = {name: value for name, value in _WITHOUT_GROUPS.items() if name != "intermediate_size"}
_SLIDING: dict[str, Any] = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_experts_per_tok": 2, "num_local_experts": 4}

ARCHITECTURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _SMALL),
    "llama_tied_biased": ("LlamaConfig", _SMALL | {"tie_word_embeddings": True, "attention_bias": True}),
    "qwen2": ("Qwen2Config", _SMALL),
    "qwen3": ("Qwen3Config", _SMALL | {"head_dim": 16}),
    "mistral_window": ("MistralConfig", _SMALL | {"sliding_window": WINDOW}),
    "gemma2": (
        "Gemma2Config",
        _SMALL | _SLIDING | {"head_dim": 16, "attn_logit_softcapping": 1.5, "final_logit_softcapping": 3.0},
    ),
    "gemma3": ("Gemma3TextConfig", _SMALL | _SLIDING | {"head_dim": 16}),
    "phi3": ("Phi3Config", _SMALL | {"sliding_window": WINDOW}),
    "gpt2": ("GPT2Config", _WITHOUT_GROUPS | {"n_inner": 48}),
    "opt": ("OPTConfig", _WITHOUT_WIDTH | {"ffn_dim": 48, "word_embed_proj_dim": 16}),
    "gpt_neox": ("GPTNeoXConfig", _WITHOUT_GROUPS),
    "olmo2": ("Olmo2Config", _SMALL),
    "cohere2": ("Cohere2Config", _SMALL | _SLIDING | {"head_dim": 8}),
    "granite": ("GraniteConfig", _SMALL | {"logits_scaling": 8.0}),
    "gpt_oss": (
        "GptOssConfig",
        _SMALL | _SLIDING | _EXPERTS | {"head_dim": 8, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    ),
    "mixtral": ("MixtralConfig", _SMALL | _EXPERTS),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        _SMALL | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    ),
}
"""Configuration class and settings of the architectures on which packed rows must be exact."""


def tiny_model(name: str, dtype: torch.dtype = torch.float64, **changes: Any) -> PreTrainedModel:
    """A random model in eval mode; in float64 with the plain attention of this file.

    Weights are larger than at a usual start, so that soft-caps bend and wrong tokens show.
    """
    config_class, settings = ARCHITECTURES[name]
    return build(getattr(transformers, config_class)(**(settings | changes)), dtype)


def build(config: Any, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    """A random model of this configuration in eval mode."""
    torch.manual_seed(0)
    experts = {"experts_implementation": "eager"} if hasattr(config, "num_experts_per_tok") else {}
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, dtype=dtype, attn_implementation=PLAIN_ATTENTION, **experts
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.7 * parameter.shape[-1] ** -0.5)
    model.train(False)
    return model


def enable_checkpointing(model: PreTrainedModel, *, use_reentrant: bool) -> None:
    """Let the layers of a model in training mode run again in backward."""
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # transformers 5.23 has a new name for it.
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    model.enable_input_require_grads()


PLAIN_ATTENTION = "plain_attention_of_the_tests"


def _plain_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as the textbook has it, with the mask that transformers made; float64 stays float64."""
    share = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
    scores = query @ key.mT * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + attention_mask
    if s_aux is not None:
        scores = torch.cat([scores, s_aux.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)], -1)
    weights = scores.softmax(-1)[..., : key.shape[2]]
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(PLAIN_ATTENTION, _plain_attention)
AttentionMaskInterface.register(PLAIN_ATTENTION, eager_mask)


class HonestFloat64(TorchFunctionMode):
    """Keeps float64 where models compute norms, routers and the like in float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            args = tuple(torch.float64 if value is torch.float32 else value for value in args)
            kwargs = {name: torch.float64 if value is torch.float32 else value for name, value in kwargs.items()}
        return func(*args, **kwargs)


def token_groups(lengths: Sequence[tuple[int, Sequence[int]]], seed: int = 0) -> list[TokenGroup]:
    """Random groups from (prompt length, completion lengths); the first of several completions is chosen."""
    random = np.random.default_rng(seed)

    def tokens(length: int) -> np.ndarray:
        return random.integers(3, VOCABULARY_SIZE, length).astype(np.int32)

    return [
        TokenGroup(
            tokens(prompt),
            tuple(tokens(length) for length in completions),
            (Pair(0, 1),) if len(completions) > 1 else (),
            Origin("random", row),
        )
        for row, (prompt, completions) in enumerate(lengths, start=1)
    ]


GROUPS = token_groups([(11, (7, 13)), (3, (9, 1, 10)), (17, (4,)), (1, (2, 12))])
"""Prompts and completions both shorter and longer than the window."""


def one_by_one_logps(model: PreTrainedModel, groups: Sequence[TokenGroup]) -> Tensor:
    """The plainest forward there is: one sequence at a time, all logits, no padding. Shape: (target,)."""
    logps = []
    for group in groups:
        for completion in group.completions:
            token_ids = torch.from_numpy(np.concatenate([group.prompt, completion]).astype(np.int64))
            logits = model(input_ids=token_ids[None], use_cache=False).logits[0]
            predictions = logits[len(group.prompt) - 1 : -1].log_softmax(-1)
            logps.append(predictions.gather(1, token_ids[len(group.prompt) :, None])[:, 0])
    return torch.cat(logps)


def gradients(model: nn.Module, logps: Tensor) -> dict[str, Tensor]:
    """Gradients of all parameters for a fixed random weighting of the log-probs, which are left cleared."""
    weights = torch.randn(logps.shape, dtype=logps.dtype, generator=torch.Generator().manual_seed(1))
    model.zero_grad(set_to_none=True)
    (logps * weights).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def largest_gradient_error(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Largest relative error over the parameters.

    Gradients that are zero but for rounding (of a key's bias under softmax) are measured by the model's largest one.
    """
    assert found.keys() == expected.keys()
    floor = 1e-4 * max(float(gradient.abs().max()) for gradient in expected.values())
    return max(
        float((found[name] - gradient).abs().max()) / max(float(gradient.abs().max()), floor)
        for name, gradient in expected.items()
    )
