"""Text through the chat template: training, generation and already rendered text agree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.token_group import TokenGroup, common_prefix_length
from preftune.data.tokens.tokenize import tokenize_groups
from preftune.errors import ConfigError, DataError
from preftune.groups import Completion, Message, Origin, Pair, Prompt, PromptGroup, TemplateInputs, Text
from preftune.model.generation.prompts import encode_prompts
from preftune.settings.chat import RAW, ChatChoice
from tests.data.tokenizers_for_tests import BOS, CHATML, EOS, make_tokenizer

AUTO = ChatChoice()
LLAMA_2 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] {{ message['content'] }} "
    "[/INST]{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
WITH_DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
)
WITH_THOUGHTS = (
    CHATML.removesuffix("{% endif %}")
    + "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
WITH_TOOLS = "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}" + CHATML
BEGINS = f"{BOS} $A"
TOKENIZERS = {
    "chatml": make_tokenizer(),
    "chatml, begins": make_tokenizer(bos=BOS, post_processing=BEGINS),
    "bos in the template": make_tokenizer(chat_template="{{ bos_token }}" + CHATML, bos=BOS, post_processing=BEGINS),
    "llama 2": make_tokenizer(chat_template=LLAMA_2, bos=BOS, post_processing=BEGINS),
    "default system turn": make_tokenizer(chat_template=WITH_DEFAULT_SYSTEM),
    "thoughts": make_tokenizer(chat_template=WITH_THOUGHTS),
    "turns end the sequence": make_tokenizer(eos="<|im_end|>"),
}
TEXTS = st.text(st.sampled_from("What is 2+2?\n\t éß🙂:'\""), min_size=1).filter(str.strip)


def group_of(prompt: str, *completions: str, inputs: TemplateInputs | None = None) -> PromptGroup:
    pairs = (Pair(0, 1),) if len(completions) > 1 else ()
    given_inputs: dict[str, Any] = {} if inputs is None else {"inputs": inputs}
    return PromptGroup(prompt, tuple(map(Completion, completions)), pairs, Origin("rows", 1), **given_inputs)


def tokens(group: PromptGroup, tokenizer: PreTrainedTokenizerBase, chat: ChatChoice = AUTO) -> TokenGroup:
    [found] = tokenize_groups([group], tokenizer, max_length=None, chat=chat).groups
    return found


def wholes(group: TokenGroup) -> list[list[int]]:
    """Tokens of the prompt with each completion."""
    return [[*group.prompt.tolist(), *ids.tolist()] for ids in group.completions]


def rendered(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]], *, is_prompt: bool = False, **variables: Any
) -> str:
    messages = [{"role": role, "content": content} for role, content in turns]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_prompt, **variables))


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def assert_ends_once(found: list[int], expected: list[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """`found` is `expected` with one end-of-sequence token, which may replace a line break behind the turn."""
    shared = common_prefix_length([np.array(found), np.array(expected)])
    assert found[shared:] in ([], [tokenizer.eos_token_id])
    assert found[-1] == tokenizer.eos_token_id
    assert not str(tokenizer.decode(expected[shared:])).strip()


@pytest.mark.parametrize("name", TOKENIZERS)
@given(prompt=TEXTS, chosen=TEXTS, rejected=TEXTS)
def test_text_pairs_are_the_messages_of_the_template(name: str, prompt: str, chosen: str, rejected: str) -> None:
    tokenizer = TOKENIZERS[name]
    answers = (chosen, rejected) if chosen != rejected else (chosen,)
    found = tokens(group_of(prompt, *answers), tokenizer)
    user = ("user", prompt)
    for whole, answer in zip(wholes(found), answers, strict=True):
        assert_ends_once(whole, ids_of(tokenizer, rendered(tokenizer, [user, ("assistant", answer)])), tokenizer)
    [generated] = encode_prompts(tokenizer, [prompt], AUTO)
    assert generated.tolist() == ids_of(tokenizer, rendered(tokenizer, [user], is_prompt=True))
    assert generated.tolist()[: len(found.prompt)] == found.prompt.tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
@given(turns=st.lists(TEXTS, min_size=2, max_size=4), is_stripped=st.booleans())
def test_rendered_text_has_the_tokens_of_its_messages(name: str, turns: list[str], is_stripped: bool) -> None:
    tokenizer = TOKENIZERS[name]
    turns = [*turns[: len(turns) // 2 * 2 - 1], turns[-1]]
    messages = tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns))
    prompt, answer = messages[:-1], messages[-1:]
    expected = tokens(PromptGroup(prompt, (Completion(answer),), (), Origin("rows", 1)), tokenizer)
    spoken = [(message.role, message.content) for message in messages]
    start = rendered(tokenizer, spoken[:-1], is_prompt=True)
    whole = rendered(tokenizer, spoken)
    if not whole.startswith(start):  # a generation prompt that opens more than the turn
        return
    text = start.removeprefix(BOS) if is_stripped and len(turns) == 2 else start
    group = group_of(text, whole.removeprefix(start))
    found = tokens(group, tokenizer)
    assert wholes(found) == wholes(expected)
    assert found.prompt.tolist() == expected.prompt.tolist()
    [generated] = encode_prompts(tokenizer, [text], AUTO)
    assert generated.tolist() == encode_prompts(tokenizer, [prompt], AUTO)[0].tolist()


@pytest.mark.parametrize("chat", [AUTO, RAW], ids=["auto", "off"])
@pytest.mark.parametrize("template", [None, "{{ bos_token }}" + CHATML])
def test_text_never_has_two_beginnings(chat: ChatChoice, template: str | None) -> None:
    tokenizer = make_tokenizer(chat_template=template, bos=BOS, post_processing=BEGINS)
    with_bos, without = (
        tokens(group_of(f"{BOS}2+2=", "4"), tokenizer, chat),
        tokens(group_of("2+2=", "4"), tokenizer, RAW),
    )
    assert wholes(with_bos) == wholes(without)
    assert wholes(with_bos)[0].count(tokenizer.bos_token_id) == 1
    [prompt] = encode_prompts(tokenizer, [f"{BOS}2+2="], chat)
    assert prompt.tolist() == with_bos.prompt.tolist()


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("\n\nHuman: 2+2?\n\nAssistant: 4\n\nHuman: 3+3?\n\nAssistant:", " 6"),
        ("Human: 2+2?\n\nAssistant: 4\n\nHuman: 3+3?\n\nAssistant:", "6"),
        ("Human: 2+2?\nAssistant: 4\nHuman: 3+3?\nAssistant:", " 6"),
        ("### Human: 2+2?\n### Assistant: 4\n### Human: 3+3?\n### Assistant:", " 6\n"),
        ("USER: 2+2? ASSISTANT: 4 USER: 3+3? ASSISTANT:", " 6"),
        ("User: 2+2?\n\nAssistant: 4\n\nUser: 3+3?\n\nAssistant: ", "Assistant: 6"),
        ("<human>: 2+2?\n<bot>: 4\n<human>: 3+3?\n<bot>:", " 6"),
    ],
)
def test_transcripts_become_their_turns(prompt: str, completion: str) -> None:
    tokenizer = TOKENIZERS["chatml"]
    turns = tuple(map(Message, ["user", "assistant", "user"], ["2+2?", "4", "3+3?"]))
    messages = PromptGroup(turns, (Completion((Message("assistant", "6"),)),), (), Origin("rows", 1))
    found = tokens(group_of(prompt, completion), tokenizer)
    assert wholes(found) == wholes(tokens(messages, tokenizer))
    assert encode_prompts(tokenizer, [prompt], AUTO)[0].tolist() == found.prompt.tolist()


def test_without_a_template_auto_is_raw_text_and_on_is_an_error() -> None:
    tokenizer = make_tokenizer(chat_template=None)
    group = group_of("\n\nHuman: 2+2?\n\nAssistant:", " 4", " 5")
    assert wholes(tokens(group, tokenizer)) == wholes(tokens(group, tokenizer, RAW))
    with pytest.raises(ConfigError, match=r"chat = on: the tokenizer has no chat template.*--chat-template FILE"):
        ChatFormat.of(tokenizer, ChatChoice("on"))
    with pytest.raises(ConfigError, match=r"chat_template_kwargs = .*no chat template that could use them"):
        ChatFormat.of(tokenizer, ChatChoice("auto", {"enable_thinking": False}))


def test_variables_reach_training_and_generation_and_must_be_in_the_template() -> None:
    tokenizer = TOKENIZERS["thoughts"]
    off = ChatChoice("auto", {"enable_thinking": False})
    text = rendered(tokenizer, [("user", "2+2?")], is_prompt=True, enable_thinking=False)
    assert text.endswith("</think>\n\n")
    assert encode_prompts(tokenizer, ["2+2?"], off)[0].tolist() == ids_of(tokenizer, text)
    own = Prompt("2+2?", TemplateInputs(variables={"enable_thinking": False}))
    assert encode_prompts(tokenizer, [own], AUTO)[0].tolist() == ids_of(tokenizer, text)
    with pytest.raises(ConfigError, match="no variable 'enable_thinkin'"):
        ChatFormat.of(tokenizer, ChatChoice("auto", {"enable_thinkin": False}))


def test_tools_reach_the_template_and_need_one() -> None:
    tokenizer = make_tokenizer(chat_template=WITH_TOOLS)
    tools = ({"name": "weather"},)
    group = group_of("Rain?", "Yes.", "No.", inputs=TemplateInputs(tools))
    text = rendered(tokenizer, [("user", "Rain?"), ("assistant", "Yes.")], tools=list(tools))
    assert "weather" in text
    assert_ends_once(wholes(tokens(group, tokenizer))[0], ids_of(tokenizer, text), tokenizer)
    with pytest.raises(DataError, match=r"rows:1: has tools, which only a chat template can show"):
        tokens(group, tokenizer, RAW)


def test_the_line_says_what_becomes_of_the_prompts() -> None:
    form = ChatFormat.of(TOKENIZERS["chatml"], AUTO)
    turns = (Message("user", "2+2?"),)
    mixed: list[Text] = ["2+2?", "3+3?", "\n\nHuman: 2+2?\n\nAssistant:", "<|im_start|>user", turns]
    assert form.line(["2+2?"]) == (
        "chat: template of the tokenizer (text prompts become user turns; --chat off for raw text)"
    )
    assert form.line([turns]) == "chat: template of the tokenizer (conversations)"
    assert form.line(mixed) == (
        "chat: template of the tokenizer (2 text prompts become user turns, 1 transcripts become turns, 1 rendered "
        "prompts stay as they are, 1 conversations; --chat off for raw text)"
    )
    assert ChatFormat.of(TOKENIZERS["chatml"], RAW).line(mixed).startswith("chat: raw text, as chat = off asks")
    none = ChatFormat.of(make_tokenizer(chat_template=None), AUTO)
    assert none.line(mixed) == "chat: raw text (the tokenizer has no chat template; --chat-template FILE gives one)"


def test_an_answer_that_ends_the_sequence_itself_ends_it_once() -> None:
    tokenizer = TOKENIZERS["turns end the sequence"]
    assert wholes(tokens(group_of("2+2?", "4<|im_end|>"), tokenizer)) == wholes(
        tokens(group_of("2+2?", "4"), tokenizer)
    )
    assert EOS not in tokenizer.decode(wholes(tokens(group_of("2+2?", "4"), tokenizer))[0])
