"""Small models and groups that many tests need."""

from typing import Any

import numpy as np
from transformers import LlamaConfig, LlamaForCausalLM

from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.groups import Completion, Origin, Pair, PromptGroup

__all__ = ["prompt_group", "tiny_llama", "token_groups"]

VOCABULARY = 61


def tiny_llama(*, vocab_size: int = VOCABULARY, hidden_size: int = 16, **settings: Any) -> LlamaForCausalLM:
    """A Llama of some thousand parameters, randomly initialised with large weights, so that log-probs differ."""
    defaults: dict[str, Any] = {
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "vocab_size": vocab_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    config = LlamaConfig(**{**defaults, **settings})
    return LlamaForCausalLM(config)


def token_groups(
    count: int, *, seed: int = 0, completions: int = 2, longest: int = 12, vocab_size: int = VOCABULARY
) -> list[TokenGroup]:
    """Groups of random tokens and random lengths; the first completion is the chosen one, the second the rejected."""
    rng = np.random.default_rng(seed)

    def ids() -> TokenIds:
        return rng.integers(3, vocab_size, rng.integers(1, longest + 1)).astype(np.int32)

    pairs = (Pair(0, 1),) if completions > 1 else ()
    return [
        TokenGroup(ids(), tuple(ids() for _ in range(completions)), pairs, Origin("random", row))
        for row in range(1, count + 1)
    ]


def prompt_group(prompt: str = "2+2=", *completions: str, pairs: tuple[Pair, ...] = ()) -> PromptGroup:
    """A group of texts."""
    texts = completions or ("4",)
    return PromptGroup(prompt, tuple(Completion(text) for text in texts), pairs, Origin("sums.jsonl", 1))
