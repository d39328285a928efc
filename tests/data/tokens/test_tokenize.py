"""Groups to token ids."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary, tokenize_groups
from preftune.errors import ConfigError, DataError, TokenizerError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
from tests.data.tokenizers_for_tests import BOS, CHATML, EOS, make_tokenizer

TOKENIZER = make_tokenizer()
WITH_BOS = make_tokenizer(post_processing=f"{BOS} $A", bos=BOS)
WITH_BOTH = make_tokenizer(post_processing=f"{BOS} $A {EOS}", bos=BOS)
TURN_END = make_tokenizer(eos="<|im_end|>")


def texts(prompt: str, *completions: str, row: int = 1) -> PromptGroup:
    pairs = (Pair(0, 1),) if len(completions) > 1 and completions[0] != completions[1] else ()
    return PromptGroup(prompt, tuple(map(Completion, completions)), pairs, Origin("rows", row))


def turns(*contents: str, system: str | None = None, answers: Sequence[str] = ("yes", "no")) -> PromptGroup:
    """A conversation of user and assistant in turn, answered by the assistant."""
    roles = ("user", "assistant") * len(contents)
    prompt = tuple(Message(role, content) for role, content in zip(roles, contents, strict=False))
    if system is not None:
        prompt = (Message("system", system), *prompt)
    completions = tuple(Completion((Message("assistant", answer),)) for answer in answers)
    return PromptGroup(prompt, completions, (), Origin("rows", 1))


def tokens(group: PromptGroup, tokenizer: PreTrainedTokenizerFast = TOKENIZER, **options: Any) -> TokenGroup:
    [result] = tokenize_groups([group], tokenizer, **{"max_length": None} | options).groups
    return result


def decoded(group: TokenGroup, tokenizer: PreTrainedTokenizerFast = TOKENIZER) -> tuple[str, list[str]]:
    return str(tokenizer.decode(group.prompt)), [str(tokenizer.decode(ids)) for ids in group.completions]


def encoded(text: str, tokenizer: PreTrainedTokenizerFast = TOKENIZER) -> list[int]:
    return [int(token) for token in tokenizer(text)["input_ids"]]


def plain(groups: Sequence[TokenGroup]) -> list[Any]:
    return [(group.prompt.tolist(), [ids.tolist() for ids in group.completions], group.pairs) for group in groups]


def test_text_gives_prompt_and_completions_that_end_with_eos() -> None:
    group = tokens(texts("What is the capital of France?", " It is Paris.", " I do not know."))
    assert decoded(group) == ("What is the capital of France?", [f" It is Paris.{EOS}", f" I do not know.{EOS}"])
    assert group.prompt.dtype == group.completions[0].dtype == np.int32
    assert (group.pairs, group.origin) == ((Pair(0, 1),), Origin("rows", 1))


words = st.text("France capital?\n ü", min_size=1, max_size=20)


@settings(max_examples=100, deadline=None, database=None)
@given(prompt=words, completions=st.lists(words, min_size=1, max_size=3), with_bos=st.booleans())
def test_prompt_and_completion_are_the_tokens_of_the_whole(prompt: str, completions: list[str], with_bos: bool) -> None:
    tokenizer = WITH_BOS if with_bos else TOKENIZER
    try:
        group = tokens(texts(prompt, *completions), tokenizer)
    except DataError:
        assert not with_bos  # no token is left to the prompt
        return
    alone = encoded(prompt, tokenizer)
    assert alone[: len(group.prompt)] == group.prompt.tolist()
    for text, completion in zip(completions, group.completions, strict=True):
        assert [*group.prompt, *completion] == [*encoded(prompt + text, tokenizer), tokenizer.eos_token_id]


def test_a_token_across_the_boundary_belongs_to_the_completion() -> None:
    whole = encoded("The capital")
    assert len(encoded("The cap")) > len(encoded("The")) + 1 or encoded("The cap") != whole[: len(encoded("The cap"))]
    group = tokens(texts("The cap", "ital", "s"))
    assert decoded(group) == ("The", [f" capital{EOS}", f" caps{EOS}"])


def test_a_prompt_whose_only_token_joins_with_the_completion_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^rows:1: no token of the prompt .*its only token joins with the completion"):
        tokens(texts("c", "e"))


def test_bos_and_eos_of_the_tokenizer_stand_once() -> None:
    group = tokens(texts("What is it?", " Cake"), WITH_BOTH)
    assert decoded(group, WITH_BOTH) == (f"{BOS}What is it?", [f" Cake{EOS}"])


def test_a_conversation_is_rendered_by_the_chat_template() -> None:
    prompt, completions = decoded(tokens(turns("Hi", system="Be kind.")))
    assert prompt == "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert completions == [f"yes<|im_end|>\n{EOS}", f"no<|im_end|>\n{EOS}"]


@settings(max_examples=50, deadline=None, database=None)
@given(contents=st.lists(words, min_size=1, max_size=4), answer=words)
def test_a_conversation_has_the_tokens_of_its_rendering(contents: list[str], answer: str) -> None:
    group = tokens(turns(*contents, answers=[answer]), TURN_END)
    messages = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * 4, contents, strict=False)
    ]
    render = TURN_END.apply_chat_template
    prompt = render(messages, tokenize=False, add_generation_prompt=True)
    whole = render([*messages, {"role": "assistant", "content": answer}], tokenize=False)
    assert [*group.prompt, *group.completions[0]] == encoded(str(whole).removesuffix("\n"), TURN_END)
    assert group.prompt.tolist() == encoded(str(prompt), TURN_END)[: len(group.prompt)]


def test_a_beginning_token_of_the_chat_template_is_not_doubled_by_the_tokenizer() -> None:
    tokenizer = make_tokenizer(post_processing=f"{BOS} $A", bos=BOS, chat_template="{{ bos_token }}" + CHATML)
    group = tokens(turns("Hi"), tokenizer)
    assert decoded(group, tokenizer)[0] == f"{BOS}<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_a_turn_end_that_is_eos_is_kept_and_what_follows_is_cut() -> None:
    assert decoded(tokens(turns("Hi"), TURN_END), TURN_END)[1] == ["yes<|im_end|>", "no<|im_end|>"]


def test_texts_and_conversations_may_be_mixed() -> None:
    groups = [texts("1", "2"), turns("Hi"), texts("3", "4", "5")]
    together = tokenize_groups(groups, TOKENIZER, max_length=None).groups
    assert plain(together) == plain([tokens(group) for group in groups])


def test_an_empty_prompt_is_the_beginning_token() -> None:
    late_bos = make_tokenizer(bos=BOS)
    assert decoded(tokens(texts("", "Cake"), late_bos), late_bos) == (BOS, [f"Cake{EOS}"])
    with pytest.raises(
        DataError,
        match=r"^rows:1: no token of the prompt .*the prompt is empty.*Lengthen the prompt or leave the row out",
    ):
        tokens(texts("", "Cake"))


def test_a_completion_without_own_tokens_is_an_error() -> None:
    only_users = (
        "{% for message in messages %}{% if message.role == 'user' %}{{ message.content }}{% endif %}{% endfor %}"
    )
    with pytest.raises(DataError, match=r"^rows:1: completion 0 has no tokens after the prompt"):
        tokens(turns("Hi"), make_tokenizer(chat_template=only_users))


def test_a_conversation_without_chat_template_is_an_error_with_the_ways_out() -> None:
    with pytest.raises(TokenizerError, match=r"^rows:1: .*no chat template.*--chat-template FILE, or give the data as"):
        tokens(turns("Hi"), make_tokenizer(chat_template=None))


def test_a_template_that_fails_is_an_error_that_names_the_row() -> None:
    template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match=r"^rows:1: the chat template cannot render .*\(user\): roles must alternate"):
        tokens(turns("Hi"), make_tokenizer(chat_template=template))


def test_half_a_surrogate_pair_in_a_further_field_is_an_error_that_names_the_row() -> None:
    template = CHATML + "{{ messages[-1]['name'] }}"
    answer = Completion((Message("assistant", "yes", {"name": "\ud800"}),))
    group = PromptGroup((Message("user", "Hi"),), (answer,), (), Origin("rows", 1))
    with pytest.raises(DataError, match=r"^rows:1: the chat template cannot render"):
        tokens(group, make_tokenizer(chat_template=template))


def test_a_tokenizer_without_eos_is_an_error() -> None:
    with pytest.raises(TokenizerError, match=r"no end-of-sequence token.*Set tokenizer\.eos_token"):
        tokens(texts("a", "b"), make_tokenizer(eos=None))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_length": 1}, "max_length = 1: must be at least 2"),
        ({"too_long": "trim"}, "too_long = 'trim': must be one of cut, drop, error, keep_start"),
        ({"num_processes": 0}, "num_processes = 0: must be at least 1"),
    ],
)
def test_an_option_out_of_range_is_an_error(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        tokens(texts("a", "b"), **options)


def test_several_processes_give_the_same_as_one() -> None:
    groups = [texts(f"What is {row} plus two?", f" {row + 2}", " four " * (row % 9 + 1), row=row) for row in range(200)]
    groups[150] = turns("Hi", "Hello", "How do I bake a cake?")
    one = tokenize_groups(groups, TOKENIZER, max_length=24)
    two = tokenize_groups(groups, TOKENIZER, max_length=24, num_processes=2)
    assert plain(two.groups) == plain(one.groups)
    assert two.report == one.report
    assert one.report.prompts_cut


def test_no_groups_give_no_groups() -> None:
    result = tokenize_groups([], TOKENIZER, max_length=8, num_processes=2)
    assert (result.groups, asdict(result.report)["num_groups"]) == ([], 0)


def test_a_progress_bar_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    tokens(texts("a", "b"), show_progress=True)
    assert capsys.readouterr().out == ""


def test_a_token_that_the_model_does_not_have_is_an_error_that_names_the_row() -> None:
    group = tokens(texts("a", "b"))
    largest = max(int(group.prompt.max()), int(group.completions[0].max()))
    check_vocabulary([group], largest + 1)
    with pytest.raises(TokenizerError, match=f"^rows:1: token id {largest} is not in the model.*{largest} rows"):
        check_vocabulary([group], largest)
