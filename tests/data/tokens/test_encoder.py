"""Feedback on its way to tokens: scores, thumbs and weights."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from preftune.data.tokens.encoder import GroupEncoder
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import tokenize_groups
from preftune.errors import DataError, TokenizerError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup, WeightedSpan
from tests.data.tokenizers_for_tests import BOS, CHATML, EOS, make_tokenizer

TOKENIZER = make_tokenizer()
ORIGIN = Origin("rows", 1)


def tokens(group: PromptGroup, tokenizer: PreTrainedTokenizerFast = TOKENIZER, **options: Any) -> TokenGroup:
    [result] = tokenize_groups([group], tokenizer, **{"max_length": None} | options).groups
    return result


def weighted(text: str, *spans: tuple[int, int, float], prompt: str = "What is it?") -> PromptGroup:
    """A group of a weighted completion and one without weights."""
    completion = Completion(text, weights=tuple(WeightedSpan(*span) for span in spans))
    return PromptGroup(prompt, (completion, Completion(" No")), (), ORIGIN)


def conversation(answer: str, *spans: tuple[int, int, float], question: str = "Hi") -> PromptGroup:
    weights = tuple(WeightedSpan(*span) for span in spans)
    completion = Completion((Message("assistant", answer), Message("user", "Bye")), weights=weights)
    return PromptGroup((Message("user", question),), (completion,), (), ORIGIN)


def by_token(group: TokenGroup, tokenizer: PreTrainedTokenizerFast = TOKENIZER) -> list[tuple[str, float]]:
    ids, weights = group.completions[0], group.weights[0]
    return [(str(tokenizer.decode([token])), float(weight)) for token, weight in zip(ids, weights, strict=True)]


def test_scores_are_those_of_all_completions_or_none() -> None:
    completions = (Completion(" a", score=2.0), Completion(" b", score=0.0))
    group = PromptGroup("What?", completions, (Pair(0, 1),), ORIGIN)
    assert tokens(group).scores == (2.0, 0.0)
    assert tokens(PromptGroup("What?", (completions[0], Completion(" c")), (), ORIGIN)).scores == ()


def test_thumbs_are_those_of_all_completions_or_none() -> None:
    completions = (Completion(" a", desirable=False), Completion(" b", desirable=True))
    assert tokens(PromptGroup("What?", completions, (), ORIGIN)).desirable == (False, True)
    assert tokens(PromptGroup("What?", (completions[0], Completion(" c")), (), ORIGIN)).desirable == ()


def test_a_group_without_weights_has_none() -> None:
    assert tokens(weighted(" It is Paris")).weights == ()


def test_tokens_count_as_their_characters_do_and_the_end_token_1() -> None:
    group = tokens(weighted(" 1234", (0, 3, 0.25), (4, 5, 2.0)))
    assert by_token(group) == [(" ", 0.25), ("1", 0.25), ("2", 0.25), ("3", 1.0), ("4", 2.0), (EOS, 1.0)]
    assert group.weights[0].dtype == np.float32
    assert group.weights[1].tolist() == [1.0] * group.completion_lengths[1]


def test_a_token_across_the_border_of_a_span_counts_in_part() -> None:
    group = tokens(weighted(" capital", (0, 2, 0.0)))
    assert by_token(group) == [(" capital", 0.75), (EOS, 1.0)]


def test_characters_of_the_prompt_in_a_token_of_the_completion_count_1() -> None:
    group = tokens(weighted("ital", (0, 4, 0.0), prompt="The cap"))
    assert by_token(group) == [(" capital", 0.5), (EOS, 1.0)]


def test_a_letter_of_several_tokens_gives_each_its_weight() -> None:
    group = tokens(weighted(" ü", (1, 2, 0.5)))
    assert [weight for _, weight in by_token(group)] == [1.0, 0.5, 0.5, 1.0]


def test_an_end_token_in_the_text_counts_1_too() -> None:
    assert by_token(tokens(weighted("1" + EOS, (0, 8, 0.0)))) == [("1", 0.0), (EOS, 1.0)]


letters = st.text("capital France?\n ü", min_size=1, max_size=30)


@settings(max_examples=100, deadline=None, database=None)
@given(text=letters, ends=st.sets(st.integers(1, 30), max_size=6), data=st.data())
def test_spans_count_as_many_characters_as_they_hold(text: str, ends: set[int], data: st.DataObject) -> None:
    """Behind a prompt whose end joins no completion; a letter of two tokens would be counted twice."""
    text = "." + text.replace("ü", "u")
    borders = [0, *sorted({1} | {end for end in ends if end <= len(text)})]
    spans = [(start, stop, data.draw(st.sampled_from([0.0, 0.25, 1.0, 3.0]))) for start, stop in pairwise(borders)]
    group = tokens(weighted(text, *spans, prompt="12"))
    assert len(group.prompt) == 2
    lengths = [len(letters) for letters, _ in by_token(group)[:-1]]
    found = sum(length * weight for length, (_, weight) in zip(lengths, by_token(group), strict=False))
    wanted = sum((stop - start) * weight for start, stop, weight in spans) + len(text) - borders[-1]
    assert sum(lengths) == len(text)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_weights_are_cut_with_their_tokens() -> None:
    group = tokens(weighted("123456789", (0, 2, 0.5), prompt="12345678"), max_length=8)
    assert by_token(group) == [("1", 0.5), ("2", 0.5), ("3", 1.0), ("4", 1.0), ("5", 1.0), ("6", 1.0)]


def test_a_beginning_token_shifts_no_weights() -> None:
    tokenizer = make_tokenizer(post_processing=f"{BOS} $A", bos=BOS)
    assert by_token(tokens(weighted(" 12", (1, 2, 0.5)), tokenizer)) == by_token(tokens(weighted(" 12", (1, 2, 0.5))))


def test_weights_of_a_message_count_its_content_in_the_rendered_conversation() -> None:
    found = by_token(tokens(conversation("12", (0, 1, 0.5))))
    assert found[:3] == [("1", 0.5), ("2", 1.0), ("<|im_end|>", 1.0)]
    assert all(weight == 1.0 for _, weight in found[2:])


def test_a_content_that_the_prompt_and_its_header_hold_too_is_found_behind_them() -> None:
    found = by_token(tokens(conversation("assistant", (0, 9, 0.5), question="assistant")))
    assert "".join(letters for letters, weight in found if weight == 0.5) == "assistant"
    assert found[0][1] == 0.5


def test_a_template_that_opens_the_answer_itself_is_no_hindrance() -> None:
    thinking = CHATML.replace("assistant\n{% endif", "assistant\n<think>{% endif")
    found = by_token(tokens(conversation("<think>4", (7, 8, 0.5)), make_tokenizer(chat_template=thinking)))
    assert [letters for letters, weight in found if weight == 0.5] == ["4"]


def test_a_template_that_changes_a_weighted_text_is_an_error_with_the_ways_out() -> None:
    trims = make_tokenizer(chat_template=CHATML.replace("message['content']", "message['content'] | trim"))
    with pytest.raises(DataError, match=r"^rows:1: completion 0 has weights, but the chat template changes its text"):
        tokens(conversation(" yes", (0, 1, 0.5)), trims)
    assert tokens(conversation(" yes"), trims).weights == ()


def test_weights_with_a_slow_tokenizer_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TOKENIZER), "is_fast", property(lambda _: False))
    assert tokens(weighted(" 1")).weights == ()
    with pytest.raises(TokenizerError, match=r"does not map tokens to characters: .*Use a fast tokenizer"):
        tokens(weighted(" 1", (0, 1, 0.5)))


def test_offsets_are_requested_only_for_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bool]] = []
    call = type(TOKENIZER).__call__

    def spy(self: Any, texts: Sequence[str], *, return_offsets_mapping: bool, **options: Any) -> Any:
        asked.append((len(texts), return_offsets_mapping))
        return call(self, texts, return_offsets_mapping=return_offsets_mapping, **options)

    monkeypatch.setattr(type(TOKENIZER), "__call__", spy)
    GroupEncoder(TOKENIZER).encode([weighted(" 1"), weighted(" 2", (0, 1, 0.5)), weighted(" 3")])
    assert sorted(asked) == [(3, True), (6, False)]
