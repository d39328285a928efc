"""The model that the demo starts from: a Llama that trains in a minute on a CPU, and its tokenizer."""

import random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from preftune.demo.reviews.grammar import ReviewGrammar

_PAD, _BOS, _EOS = "<pad>", "<bos>", "<eos>"


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


def train_tokenizer(
    *, vocab_size: int = 1536, num_reviews: int = 4000, seed: int = 0, max_length: int = 256
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on reviews of the grammar; the same arguments give the same tokenizer.

    Every byte is a token, so it can encode any text. Like Llama's it prepends the beginning-of-text token and leaves
    the end-of-text token to the caller. It pads on the left, as generation needs.

    Args:
        vocab_size: Number of tokens, including the 256 bytes and 3 special tokens; at least 259.
        max_length: Context length of models with this tokenizer. Unit: tokens.
    Raises:
        ValueError: the vocabulary is too small for all bytes.

    >>> tokenizer = train_tokenizer(vocab_size=300, num_reviews=10)
    >>> len(tokenizer), tokenizer.convert_ids_to_tokens([0, 1, 2])
    (300, ['<pad>', '<bos>', '<eos>'])
    >>> tokenizer.decode(tokenizer("Très bon!").input_ids, skip_special_tokens=True)
    'Très bon!'
    """
    if vocab_size < 259:
        raise ValueError(f"vocab_size = {vocab_size}: 256 bytes and 3 special tokens need at least 259.")
    rng = random.Random(f"tokenizer {seed}")
    reviews = [ReviewGrammar().sample(rng) for _ in range(num_reviews)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[_PAD, _BOS, _EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((review.prompt + review.continuation for review in reviews), trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", pair=f"{_BOS} $A $B", special_tokens=[(_BOS, core.token_to_id(_BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=_PAD,
        bos_token=_BOS,
        eos_token=_EOS,
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
