"""Groups that are too long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.tokens.tokenize import TokenizedGroups, TooLong, tokenize_groups
from preftune.errors import DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
from tests.data.tokenizers_for_tests import BOS, make_tokenizer

TOKENIZER = make_tokenizer()
WITH_BOS = make_tokenizer(post_processing=f"{BOS} $A", bos=BOS)
EOS_ID = TOKENIZER.eos_token_id


def digits(num_prompt: int, *nums_completion: int) -> PromptGroup:
    """A token for each digit: 0123... as the prompt, completions of as many digits as named, and EOS."""
    completions = tuple(Completion("".join(str(index % 10) for index in range(num))) for num in nums_completion)
    prompt = "".join(str(index % 10) for index in range(num_prompt))
    return PromptGroup(prompt, completions, (), Origin("rows", 7))


def cut(group: PromptGroup, max_length: int, *, bos: bool = False, too_long: TooLong = "cut") -> TokenizedGroups:
    return tokenize_groups([group], WITH_BOS if bos else TOKENIZER, max_length=max_length, too_long=too_long)


def shape(result: TokenizedGroups) -> tuple[str, tuple[int, ...]]:
    return str(TOKENIZER.decode(result.groups[0].prompt)), result.groups[0].completion_lengths


def test_a_group_that_fits_is_unchanged() -> None:
    result = cut(digits(5, 4, 2), 10)
    assert shape(result) == ("01234", (5, 3))
    assert result.report.prompts_cut == result.report.completions_cut == result.report.dropped == ()


def test_the_prompt_gives_way_first_from_its_start_by_what_the_longest_completion_needs() -> None:
    result = cut(digits(8, 6, 2), 12)
    assert shape(result) == ("34567", (7, 3))
    assert all(completion[-1] == EOS_ID for completion in result.groups[0].completions)
    assert result.report.prompts_cut == (Origin("rows", 7),)
    assert result.report.completions_cut == ()


def test_the_beginning_token_is_kept() -> None:
    assert shape(cut(digits(8, 6, 2), 12, bos=True)) == (f"{BOS}4567", (7, 3))


def test_the_prompt_keeps_a_quarter_and_then_completions_lose_their_end() -> None:
    result = cut(digits(8, 20, 30, 3), 12)
    assert shape(result) == ("567", (9, 9, 4))
    ends = [int(completion[-1]) == EOS_ID for completion in result.groups[0].completions]
    assert ends == [False, False, True]
    assert result.report.completions_cut == (Origin("rows", 7),) * 2
    assert result.report.prompts_cut == (Origin("rows", 7),)


def test_a_prompt_shorter_than_a_quarter_is_not_cut() -> None:
    result = cut(digits(2, 30), 12)
    assert shape(result) == ("01", (10,))
    assert result.report.prompts_cut == ()


def test_a_completion_that_loses_only_its_end_token_counts_as_cut() -> None:
    assert cut(digits(2, 10), 12).report.completions_cut == (Origin("rows", 7),)


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(1, 30), st.lists(st.integers(1, 30), min_size=1, max_size=3), st.integers(2, 40), st.booleans())
def test_a_cut_group_fits_and_nothing_of_it_is_empty(
    num_prompt: int, nums: list[int], max_length: int, bos: bool
) -> None:
    group = cut(digits(num_prompt, *nums), max_length, bos=bos).groups[0]
    assert len(group.prompt) + max(group.completion_lengths) <= max_length
    assert len(group.prompt) >= min(num_prompt + bos, max_length // 4, 1)
    assert min(group.completion_lengths) >= 1


def test_a_pair_that_becomes_equal_is_counted() -> None:
    group = PromptGroup("01", (Completion("2345678"), Completion("2345679")), (Pair(0, 1),), Origin("rows", 7))
    assert cut(group, 20).report.equal_pairs == ()
    assert cut(group, 8).report.equal_pairs == (Origin("rows", 7),)


def test_too_long_can_drop_and_count() -> None:
    groups = [digits(3, 3), digits(9, 9), digits(2, 2)]
    result = tokenize_groups(groups, TOKENIZER, max_length=10, too_long="drop")
    assert [len(group.prompt) for group in result.groups] == [3, 2]
    assert (result.report.num_groups, result.report.dropped) == (3, (Origin("rows", 7),))


def test_all_groups_dropped_is_an_error() -> None:
    with pytest.raises(DataError, match=r"all 1 rows are longer than --max-length 4 .*Raise --max-length or use --too"):
        cut(digits(9, 9), 4, too_long="drop")


def test_too_long_can_be_an_error_with_lengths_and_ways_out() -> None:
    with pytest.raises(DataError) as caught:
        cut(digits(9, 4, 5), 12, too_long="error")
    assert str(caught.value) == (
        "rows:7: the row has 15 tokens (9 of the prompt, up to 6 of a completion), but --max-length is 12. "
        "Raise --max-length, or use --too-long cut or --too-long drop."
    )


def test_keep_start_cuts_completions_and_never_the_prompt() -> None:
    group = digits(6, 5, 2)
    whole, result = cut(group, 100).groups[0], cut(group, 10, too_long="keep_start")
    [kept] = result.groups
    room = 10 - len(whole.prompt)
    assert kept.prompt.tolist() == whole.prompt.tolist()
    for ids, all_ids in zip(kept.completions, whole.completions, strict=True):
        assert ids.tolist() == all_ids[:room].tolist()
    assert result.report.completions_cut == (group.origin,)
    assert result.report.prompts_cut == ()


def test_keep_start_drops_a_group_whose_prompt_reaches_the_limit() -> None:
    groups = [digits(10, 2), digits(3, 2)]
    result = tokenize_groups(groups, TOKENIZER, max_length=10, too_long="keep_start")
    assert (len(result.groups), len(result.report.dropped)) == (1, 1)
    with pytest.raises(DataError, match="no row is left to train on: each of the 1 prompts alone has max_length = 10"):
        cut(digits(10, 2), 10, too_long="keep_start")


def test_prompts_can_be_learned_too() -> None:
    group = digits(4, 2)
    [whole] = tokenize_groups([group], TOKENIZER, max_length=None).groups
    [learned] = tokenize_groups([group], TOKENIZER, max_length=None, learns_prompts=True).groups
    assert learned.prompt.tolist() == whole.prompt[:1].tolist()
    assert learned.completions[0].tolist() == [*whole.prompt[1:].tolist(), *whole.completions[0].tolist()]


def conversation(*roles_and_contents: str) -> PromptGroup:
    split = (turn.split(": ") for turn in roles_and_contents)
    prompt = tuple(Message(role, content) for role, content in split)
    return PromptGroup(prompt, (Completion((Message("assistant", "9"),)),), (), Origin("rows", 7))


TALK = conversation("system: 0", "user: 1", "assistant: 2", "user: 3", "assistant: 4", "user: 5")


def spoken(max_length: int, group: PromptGroup = TALK) -> str:
    result = cut(group, max_length)
    assert result.report.completions_cut == ()
    return "".join(letter for letter in str(TOKENIZER.decode(result.groups[0].prompt)) if letter.isdigit())


def test_a_conversation_loses_its_oldest_turns_but_not_the_system_message_or_the_last_user_message() -> None:
    whole = cut(TALK, 1000).groups[0]
    length = len(whole.prompt) + whole.completion_lengths[0]
    assert spoken(length) == "012345"
    assert spoken(length - 1) == "0345"
    shorter = cut(TALK, length - 1).groups[0]
    length = len(shorter.prompt) + shorter.completion_lengths[0]
    assert spoken(length) == "0345"
    assert spoken(length - 1) == "05"
    last = cut(TALK, length - 1).groups[0]
    assert spoken(len(last.prompt) + last.completion_lengths[0] - 1) == "05"  # a token of the header is cut


def test_a_shortened_conversation_starts_with_a_user_turn() -> None:
    greeting = conversation("assistant: 1", "user: 2", "assistant: 3", "user: 4")
    whole = cut(greeting, 1000).groups[0]
    length = len(whole.prompt) + whole.completion_lengths[0]
    assert [spoken(length, greeting), spoken(length - 1, greeting)] == ["1234", "234"]


def test_a_conversation_of_one_long_turn_is_cut_by_tokens() -> None:
    long = conversation("user: " + "0123456789" * 10)
    result = cut(long, 60)
    assert len(result.groups[0].prompt) + result.groups[0].completion_lengths[0] == 60
    assert str(TOKENIZER.decode(result.groups[0].prompt)).endswith("89<|im_end|>\n<|im_start|>assistant\n")
