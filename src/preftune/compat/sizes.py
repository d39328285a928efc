"""Checks and sizes of token groups: what fits a model, and the tokens that a batch needs."""

from collections.abc import Sequence
from math import ceil

from preftune.compat.given import Model
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary
from preftune.errors import ConfigError
from preftune.losses import Unit
from preftune.model.forward.model_size import context_length, num_embeddings
from preftune.planning.sizes import Layout, sizes_of
from preftune.planning.step import MicroBatchShape


def check_fits(groups: Sequence[TokenGroup], models: Sequence[Model]) -> None:
    """Check that policy and reference have all tokens in their vocabulary and enough positions.

    Raises:
        TokenizerError: a token that a model lacks.
        ConfigError: a row longer than a model's context.
    """
    whole = with_mismatched_groups(groups)
    for model in models:
        check_vocabulary(groups, num_embeddings(model))
        context = context_length(model.config)
        longest = max(whole, key=lambda group: len(group.prompt) + max(group.completion_lengths))
        length = len(longest.prompt) + max(longest.completion_lengths)
        if context is not None and length > context:
            raise ConfigError(
                [
                    f"max_length: {longest.origin} has {length:,} tokens, and {type(model).__name__} has positions for "
                    f"{context:,}. Set max_length={context} or less."
                ]
            )


def with_mismatched_groups(groups: Sequence[TokenGroup]) -> list[TokenGroup]:
    """The groups, followed by their prompts with mismatched completions where a method uses them."""
    mismatched = (group.mismatched_group for group in groups)
    return [*groups, *(group for group in mismatched if group is not None)]


def most_tokens(groups: Sequence[TokenGroup], layout: Layout, unit: Unit, num_at_once: int) -> int:
    """Most tokens that `num_at_once` units can take in this layout; at least the largest group."""
    sizes = sizes_of(groups)
    needs = [MicroBatchShape().with_group(size).num_tokens(layout) for size in sizes]
    biggest_group = max(needs)
    biggest_unit = max(need / (size.count(unit) or 1) for need, size in zip(needs, sizes, strict=True))
    return max(biggest_group, ceil(num_at_once * biggest_unit))
