"""Prompts without differences that make no other prompt."""

from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.normalised import normalised_prompt
from preftune.groups import Message, Text

PLAIN = "What is 2+2?"


@pytest.mark.parametrize(
    "prompt",
    [
        "what IS 2+2?",
        " What  is\t2+2?\n",
        "What\u00a0is 2+2?",
        "What is 2\uff0b2?",
        "\ufeffWhat is 2+\u200b2?",
        (Message("user", "What is 2+2?"),),
        "\n\nHuman: What is 2+2?\n\nAssistant:",
        "\n\nHuman: What is 2+2? \n\nAssistant: ",
        "Human: What is 2+2?\n\nAssistant:",
    ],
)
def test_case_white_space_form_and_layout_make_no_other_prompt(prompt: Text) -> None:
    assert normalised_prompt(prompt) == "what is 2+2?"


@pytest.mark.parametrize(
    "prompt",
    [
        "What is 2+3?",
        "Whatis 2+2?",
        (Message("system", PLAIN),),
        (Message("user", PLAIN), Message("assistant", "4"), Message("user", PLAIN)),
        "\n\nHuman: What is 2+2?\n\nAssistant: 4\n\nHuman: What is 2+2?\n\nAssistant:",
        "\n\nHuman: What is 2+2?\n\nAssistant: It is",
    ],
)
def test_other_words_and_other_turns_make_another_prompt(prompt: Text) -> None:
    assert normalised_prompt(prompt) != normalised_prompt(PLAIN)


def test_a_transcript_is_the_same_as_its_turns() -> None:
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", PLAIN))
    transcript = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: What is 2+2?\n\nAssistant:"
    assert normalised_prompt(transcript) == normalised_prompt(turns) == "user: hi\nassistant: hello\nuser: what is 2+2?"


@settings(max_examples=200, deadline=None, database=None)
@given(text=st.text(max_size=20), form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_the_unicode_form_of_a_text_makes_no_difference(text: str, form: str) -> None:
    assert normalised_prompt(normalize(form, text)) == normalised_prompt(text)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None, database=None)
@given(text=st.text(max_size=20))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised_prompt(normalised_prompt(text)) == normalised_prompt(text)
