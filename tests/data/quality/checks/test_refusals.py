import pytest

from preftune.data.quality.checks.completions import is_refusal
from tests.data.quality.groups import finding, findings, numbered, pair, thumb


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "I cannot provide instructions for this.",
        "I won't do that.",
        "Unfortunately, I am unable to open links.",
        "I'm not able to share personal data.",
        "I am not comfortable with that.",
        "As an AI language model, I don't have opinions.",
        "I apologize, but as an AI assistant I cannot say.",
        "Sorry, I can't do that.",
        "It is not appropriate to discuss this.",
        "I don't think that's a good idea.",
        "That’s a good question, but I can’t answer it!",
        "I don't want to help you hurt someone.",
    ],
)
def test_a_refusal_is_recognised(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that. You could rest for a day.",
        "I can't help but smile at this.",
        "Sure! Here is how you can help.",
        "You can't say that in chess.",
        "He said: we cannot provide it.",
        "Unfortunately, the train was late.",
        "I am happy to help.",
        "It is illegal to park there.",
        "The AI can't see colours.",
    ],
)
def test_what_only_sounds_like_one_is_not(text: str) -> None:
    assert not is_refusal(text)


def test_only_the_beginning_counts() -> None:
    assert not is_refusal("word " * 80 + "I can't help with that.")


def test_chosen_and_rejected_are_counted_apart_and_thumbs_as_well() -> None:
    no = "I'm sorry, but I can't help with that."
    found = finding("refusals", numbered([pair("q", no, "Yes."), pair("r", "Yes.", no), thumb("s", no, False)]))
    assert (found.measures["chosen"], found.measures["rejected"]) == (1, 2)
    assert (found.count, found.total, found.severity) == (1, 2, "warning")
    assert found.examples[0].text == no


def test_a_few_refusals_among_many_are_a_note() -> None:
    others = [pair(f"q{number}", "Yes.", "No.") for number in range(60)]
    assert finding("refusals", numbered([*others, pair("q", "I can't do that.", "Yes.")])).severity == "note"
    assert findings("refusals", numbered(others)) == []
