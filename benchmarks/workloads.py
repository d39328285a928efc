"""The work that is measured: pairs of given lengths, as text rows and as token groups, and the model they go to."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.groups import Origin, Pair

__all__ = ["FULL", "SMOKE", "WORKLOADS", "ModelSize", "Workload", "make_groups", "make_model", "make_tokenizer"]

NUM_SPECIAL_TOKENS = 3
END_OF_SEQUENCE = 2


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A model with random weights. Settings that are not named here have the defaults of its family.

    Args:
        num_key_heads: Heads of keys and values; None for as many as queries have.
        head_width: None for hidden size / heads.
        tied: True if head and embedding share their weight.
    """

    hidden_size: int
    num_layers: int
    intermediate_size: int
    num_heads: int
    vocabulary_size: int
    family: Literal["llama", "qwen3"] = "llama"
    num_key_heads: int | None = None
    head_width: int | None = None
    tied: bool = False

    def config(self) -> PreTrainedConfig:
        """Config of transformers."""
        family = LlamaConfig if self.family == "llama" else Qwen3Config
        return family(
            vocab_size=self.vocabulary_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_key_heads or self.num_heads,
            head_dim=self.head_width or self.hidden_size // self.num_heads,
            max_position_embeddings=4096,
            tie_word_embeddings=self.tied,
            bos_token_id=None,
            eos_token_id=END_OF_SEQUENCE,
            pad_token_id=1,
        )

    @property
    def layer_weights(self) -> int:
        """Weights of the matrix products of one layer."""
        width = self.head_width or self.hidden_size // self.num_heads
        heads = 2 * self.num_heads + 2 * (self.num_key_heads or self.num_heads)
        return self.hidden_size * width * heads + 3 * self.hidden_size * self.intermediate_size


FULL = ModelSize(hidden_size=512, num_layers=8, intermediate_size=1376, num_heads=8, vocabulary_size=32_000)
"""42M parameters with one embedding, 58M with a head of its own, as here."""
SMOKE = ModelSize(hidden_size=32, num_layers=2, intermediate_size=48, num_heads=2, vocabulary_size=300)


@dataclass(frozen=True, slots=True)
class Workload:
    """Pairs, or lists, of one step. The pairs of a list are its best answer against each of the others.

    Args:
        title: What the lengths are like.
        lengths: Tokens of prompt, best answer and others, the end-of-sequence token counted. One row per prompt.
    """

    title: str
    lengths: tuple[tuple[int, ...], ...]

    @property
    def num_pairs(self) -> int:
        """Pairs of a step."""
        return sum(len(answers) - 1 for _, *answers in self.lengths)

    @property
    def has_lists(self) -> bool:
        """True if a prompt has more than two answers."""
        return self.num_pairs > len(self.lengths)

    @property
    def packed_tokens(self) -> int:
        """Tokens when every prompt and every answer stands once."""
        return sum(map(sum, self.lengths))

    @property
    def padded_tokens(self) -> int:
        """Tokens of two padded rows per pair."""
        return 2 * self.num_pairs * max(prompt + max(answers) for prompt, *answers in self.lengths)

    @property
    def pair_tokens(self) -> int:
        """Tokens of two rows per pair without padding."""
        return sum(2 * prompt + best + other for prompt, best, *others in self.lengths for other in others)

    @property
    def biggest_pair(self) -> int:
        """Tokens of the biggest pair, its prompt once."""
        return max(prompt + best + max(others) for prompt, best, *others in self.lengths)

    @property
    def num_targets(self) -> int:
        """Completion tokens."""
        return sum(sum(answers) for _, *answers in self.lengths)

    def texts(self, vocabulary_size: int, seed: int = 0) -> list[list[str]]:
        """Prompt and answers in random words, one token each, but for the end-of-sequence token."""
        rng = random.Random(seed)

        def words(count: int) -> str:
            return " ".join(f"t{rng.randrange(NUM_SPECIAL_TOKENS, vocabulary_size)}" for _ in range(count)) + " "

        return [[words(prompt), *(words(answer - 1) for answer in answers)] for prompt, *answers in self.lengths]

    def rows(self, vocabulary_size: int, seed: int = 0) -> list[dict[str, str]]:
        """The pairs; both sides put the end-of-sequence token behind an answer."""
        return [
            {"prompt": prompt, "chosen": best, "rejected": other}
            for prompt, best, *others in self.texts(vocabulary_size, seed)
            for other in others
        ]

    def shrunk(self, factor: int, num_prompts: int) -> "Workload":
        """Like this, but small: for smoke tests."""
        shorter = (tuple(max(2, length // factor) for length in lengths) for lengths in self.lengths[:num_prompts])
        return Workload(self.title, tuple(shorter))


def _workloads() -> Iterator[tuple[str, Workload]]:
    """One random stream for both, so that these are the lengths of the first trials."""
    rng = random.Random(1)

    def log_normal(median: float, sigma: float) -> int:
        return max(8, min(1500, int(median * math.exp(rng.gauss(0, sigma)))))

    hh = tuple((log_normal(120, 0.8), log_normal(60, 0.7), log_normal(60, 0.7)) for _ in range(8))
    ultra = tuple((log_normal(120, 0.9), log_normal(280, 0.6), log_normal(240, 0.6)) for _ in range(4))
    yield "hh", Workload("HH-like lengths, 8 pairs", hh)
    yield "long-prompt", Workload("prompt 512, answers 64, 4 pairs", ((512, 64, 64),) * 4)
    yield "ultrafeedback", Workload("UltraFeedback-like lengths, 4 pairs", ultra)
    lists = tuple((log_normal(120, 0.9), *(log_normal(260, 0.6) for _ in range(4))) for _ in range(3))
    yield "lists", Workload("UltraFeedback-like lengths, 3 lists of 4, the best against each", lists)


WORKLOADS: Mapping[str, Workload] = dict(_workloads())


def make_groups(
    lengths: Sequence[tuple[int, Sequence[int]]], vocabulary_size: int, *, seed: int = 0
) -> list[TokenGroup]:
    """Random tokens, from (prompt length, completion lengths); the first completion is chosen over the second."""
    rng = np.random.default_rng(seed)

    def tokens(length: int) -> TokenIds:
        return rng.integers(NUM_SPECIAL_TOKENS, vocabulary_size, length).astype(np.int32)

    return [
        TokenGroup(
            tokens(prompt),
            tuple(map(tokens, completions)),
            (Pair(0, 1),) if len(completions) > 1 else (),
            Origin("random", row),
        )
        for row, (prompt, completions) in enumerate(lengths, start=1)
    ]


def make_model(
    size: ModelSize, folder: Path | None = None, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The model with random weights, always the same; `folder` is where it will seem to come from."""
    torch.manual_seed(0)
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(size.config(), dtype=dtype)
    if folder is not None:
        model.config._name_or_path = str(folder)
    return model


def make_tokenizer(vocabulary_size: int) -> PreTrainedTokenizerFast:
    """One token per word, `t3` to the last."""
    words = {f"t{token}": token for token in range(NUM_SPECIAL_TOKENS, vocabulary_size)}
    vocabulary = {"<unk>": 0, "<pad>": 1, "<eos>": END_OF_SEQUENCE} | words
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
