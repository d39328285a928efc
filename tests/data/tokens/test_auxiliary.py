"""Further reward of completions."""

import pytest

from preftune.data.tokens.tokenize import tokenize_groups
from preftune.errors import DataError
from preftune.groups import Completion, Origin, Pair, PromptGroup
from tests.data.tokenizers_for_tests import make_tokenizer

TOKENIZER = make_tokenizer()


def group(*scores: float | None) -> PromptGroup:
    """Completions of one, two, ... digits and the end token."""
    completions = tuple(
        Completion("123456789"[: index + 1], extra_scores={} if score is None else {"safety": score})
        for index, score in enumerate(scores)
    )
    return PromptGroup("What is it?", completions, (Pair(0, 1),), Origin("rows", 7))


def auxiliary(record: PromptGroup, max_length: int | None = None, **weights: float) -> tuple[float, ...]:
    [tokens] = tokenize_groups([record], TOKENIZER, max_length=max_length, auxiliary=weights).groups
    return tokens.auxiliary


def test_the_further_reward_is_the_weighted_sum_of_the_scores() -> None:
    assert auxiliary(group(4.0, 1.0), safety=0.5) == (2.0, 0.5)
    assert auxiliary(group(4.0, 1.0), safety=0.5, length=-0.25) == (2.0 - 0.25 * 2, 0.5 - 0.25 * 3)


def test_the_length_is_that_after_the_cut() -> None:
    assert auxiliary(group(4.0, 1.0), max_length=3, length=1.0) == (2.0, 2.0)


def test_without_weights_there_is_no_further_reward() -> None:
    assert auxiliary(group(4.0, 1.0)) == ()


def test_a_completion_without_the_score_is_an_error_that_names_row_and_score() -> None:
    with pytest.raises(DataError, match=r"^rows:7: a completion has no score 'safety', but --auxiliary asks for it"):
        auxiliary(group(4.0, None), safety=0.5)


def test_groups_that_were_dropped_shift_no_scores() -> None:
    long = PromptGroup("What is it? " * 9, (Completion("1"), Completion("2")), (), Origin("rows", 1))
    tokenized = tokenize_groups(
        [long, group(4.0, 1.0)], TOKENIZER, max_length=15, too_long="drop", auxiliary={"safety": 1.0}
    )
    assert [tokens.auxiliary for tokens in tokenized.groups] == [(4.0, 1.0)]
