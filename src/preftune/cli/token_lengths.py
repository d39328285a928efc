"""Lengths in tokens for `preftune check`, as training will see them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from preftune.data.quality import TokenCounter, TokenCounts
from preftune.groups import PromptGroup

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["special_tokens", "token_counter"]


def token_counter(tokenizer: "PreTrainedTokenizerBase") -> TokenCounter:
    """Counts tokens of groups; chat template, special tokens and the end of the sequence included."""
    from preftune.data.tokens.encoder import GroupEncoder

    encoder = GroupEncoder(tokenizer)

    def count(groups: Sequence[PromptGroup]) -> Sequence[TokenCounts]:
        return [
            TokenCounts(len(group.prompt), tuple(len(ids) for ids in group.completions))
            for group in encoder.encode(groups)
        ]

    return count


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """Texts that the tokenizer takes for special tokens."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return tuple(sorted({*tokenizer.all_special_tokens, *added} - {""}))
