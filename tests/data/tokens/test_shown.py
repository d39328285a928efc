"""What goes into a chat template is compared with what comes out."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.tokens.shown import is_shown
from preftune.data.tokens.tokenize import TokenizedGroups, tokenize_groups
from preftune.errors import DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup, TemplateInputs
from tests.data.tokenizers_for_tests import CHATML, make_tokenizer

USER = Message("user", "What is 2+2?")
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris", "days": 3}}}
_START, _END = "{% for m in messages %}<|im_start|>{{ m.role }}\n", "<|im_end|>\n{% endfor %}"
_OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
WITHOUT_THINK = f"{_START}{{{{ m.content.split('</think>')[-1].strip() }}}}{_END}{_OPEN}"
WITHOUT_SYSTEM = CHATML.replace(
    "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
)
OTHER_OPENING = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
_CALLS = "{{% for call in m.tool_calls or [] %}}<call>{}</call>{{% endfor %}}"
_CONTENT = f"{_START}{{{{ m.content }}}}"
_CALL = "{{ call.function.name }} {{ call.function.arguments"
ENCODES = f"{_CONTENT}{_CALLS.format(_CALL + ' | tojson }}')}{_END}{_OPEN}"
PRINTS = f"{_CONTENT}{_CALLS.format(_CALL + ' }}')}{_END}{_OPEN}"
BOTH = ENCODES.replace(
    "call.function.arguments | tojson",
    "call.function.arguments if call.function.arguments is string else call.function.arguments | tojson",
)
WITH_THOUGHTS = f"{_START}{{{{ m.reasoning_content }}}}{{{{ m.content }}}}{_END}{_OPEN}"


def group(*answers: Message | str, prompt: tuple[Message, ...] = (USER,), **further: Any) -> PromptGroup:
    contents = [Message("assistant", answer) if isinstance(answer, str) else answer for answer in answers]
    pairs = (Pair(0, 1),) if len(answers) > 1 else ()
    completions = tuple(Completion((content,)) for content in contents)
    return PromptGroup(prompt, completions, pairs, Origin("rows", 1), **further)


def tokenized(template: str, *groups: PromptGroup) -> TokenizedGroups:
    return tokenize_groups(groups, make_tokenizer(chat_template=template), max_length=None)


def hidden(template: str, *groups: PromptGroup) -> set[str]:
    return {kind for found in tokenized(template, *groups).groups for kind in found.hidden}


def text_of(template: str, found: PromptGroup) -> str:
    tokenizer = make_tokenizer(chat_template=template)
    [tokens] = tokenize_groups([found], tokenizer, max_length=None).groups
    return str(tokenizer.decode([*tokens.prompt, *tokens.completions[0]]))


@pytest.mark.parametrize(
    ("template", "found", "kind"),
    [
        (WITHOUT_THINK, group("<think>\nadd\n</think>\n\nIt is 4.", "5"), "hidden_texts"),
        (WITHOUT_THINK, group("5", "<think>add</think>It is 4."), "hidden_texts"),
        (CHATML, group(Message("assistant", "4", {"reasoning_content": "add both"}), "5"), "hidden_thoughts"),
        (CHATML, group(Message("assistant", "See.", {"tool_calls": [CALL]}), "5"), "hidden_calls"),
        (CHATML, group("4", "5", inputs=TemplateInputs(tools=({"function": {"name": "add"}},))), "hidden_tools"),
        (WITHOUT_SYSTEM, group("4", "5", prompt=(Message("system", "Be brief."), USER)), "hidden_systems"),
        (OTHER_OPENING, group("4", "5"), "other_generation_prompts"),
    ],
)
def test_what_a_template_does_not_show_is_counted_and_named(template: str, found: PromptGroup, kind: str) -> None:
    report = tokenized(template, found, group("6")).report
    origins = getattr(report, kind)
    assert set(origins) == {Origin("rows", 1)}
    assert hidden(template, found) == {kind}


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (CHATML, group(" 4 \n", "5")),
        (CHATML, group("4", "5", prompt=(Message("system", "Be brief."), USER, Message("assistant", "4"), USER))),
        (WITHOUT_THINK, group("It  is\n4.", "5")),
        (ENCODES, group(Message("assistant", "", {"tool_calls": [CALL]}), "5")),
        (WITH_THOUGHTS, group(Message("assistant", "4", {"reasoning_content": "add both"}), "5")),
        (f"{_START}{{{{ m.content | tojson }}}}{_END}{_OPEN}", group('It is "4".\n', "é")),
    ],
)
def test_what_a_template_shows_is_not_reported(template: str, found: PromptGroup) -> None:
    assert hidden(template, found) == set()


@pytest.mark.parametrize(
    ("template", "answer", "name"),
    [
        (CHATML, Message("assistant", "", {"tool_calls": [CALL]}), "tool_calls"),
        (CHATML, Message("assistant", "", {"tool_calls": [CALL], "reasoning_content": "a"}), "tool_calls, reasoning"),
        (CHATML.replace("message['content'] }}", "message['content'] if message.role == 'user' }}"), "4", "text"),
        (WITHOUT_THINK, "<think>add</think>", "text"),
    ],
)
def test_a_completion_of_which_nothing_is_shown_is_an_error(template: str, answer: Any, name: str) -> None:
    with pytest.raises(DataError, match=f"rows:1: completion 0: the chat template shows nothing of its {name},"):
        tokenized(template, group(answer))


@pytest.mark.parametrize("arguments", [{"city": "Paris"}, '{"city": "Paris"}'])
@pytest.mark.parametrize("template", [ENCODES, PRINTS, BOTH])
def test_arguments_of_tools_are_written_as_json_once(template: str, arguments: Any) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": arguments}}
    text = text_of(template, group(Message("assistant", "", {"tool_calls": [call]})))
    assert '<call>weather {"city": "Paris"}</call>' in text


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(max_size=10), st.text(max_size=5), st.text(max_size=5))
def test_a_text_is_shown_verbatim_in_json_and_with_other_white_space(text: str, before: str, after: str) -> None:
    assert is_shown(text, before + text + after)
    assert is_shown(text, before + json.dumps(text) + after)
    assert is_shown(text, before + "\n ".join(text.split()) + after)
