"""A language model small enough to train in a minute on a CPU."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

__all__ = ["make_llama"]


def make_llama(
    tokenizer: PreTrainedTokenizerBase, *, hidden_size: int = 128, num_layers: int = 4, seed: int = 0
) -> LlamaForCausalLM:
    """A Llama with random weights for the tokenizer's vocabulary; the same seed gives the same weights.

    Heads of 32, a feed-forward width of 8/3 of the hidden size, tied input and output embeddings. About 1 million
    parameters with the default sizes and a vocabulary of 1536. The state of torch's generator is preserved.

    Args:
        tokenizer: Provides the vocabulary size, the special tokens and the context length.
        hidden_size: Width of the residual stream; a multiple of 32.
    Raises:
        ValueError: a width that is not a multiple of 32.
    """
    if hidden_size < 32 or hidden_size % 32:
        raise ValueError(f"hidden_size = {hidden_size}: heads are 32 wide, so it must be a multiple of 32.")
    num_heads = hidden_size // 32
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=-(-hidden_size * 8 // 3 // 32) * 32,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=tokenizer.model_max_length,
        initializer_range=0.02,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(model.generation_config, name, getattr(config, name))
    return model
