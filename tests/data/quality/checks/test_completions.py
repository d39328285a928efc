"""Refusals, completions that are cut off, and other languages."""

import pytest

from preftune.data.quality.checks.completions import ends_open, is_refusal
from preftune.data.quality.texts import main_script
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


LONG = "word " * 25


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("and then the", True),
        ("and then,", True),
        ("it is (", True),
        ("in the year 1998", True),
        ("```python\nprint(1)", True),
        ("and then the end.", False),
        ("really?", False),
        ("he said “no”", False),
        ("（完）", False),
        ("Buy:\n- milk\n- eggs", False),
        ("1. one\n2. two", False),
        ("```python\nprint(1)\n```", False),
        ("see https://example.org/a", False),
        ("| a | b |", False),
        ("", False),
    ],
)
def test_where_a_sentence_ends_open(text: str, is_open: bool) -> None:
    assert ends_open(text) is is_open


def test_only_long_completions_can_be_truncated() -> None:
    groups = [pair("q", f"{LONG}and", f"{LONG}end."), pair("r", "Paris", "London")]
    found = finding("truncated", numbered(groups))
    assert (found.count, found.total) == (1, 2)
    assert found.examples[0].text.endswith("word and")


def test_where_open_ends_are_the_custom_no_row_is_blamed() -> None:
    found = finding("truncated", numbered(pair(f"q{n}", f"{LONG}{n}", f"{LONG}{n + 1}") for n in range(9)))
    assert (found.severity, found.num_rows) == ("note", 0)


def test_a_side_that_is_cut_more_often_is_a_warning() -> None:
    groups = [pair(f"q{n}", f"{LONG}a", f"{LONG}b.") for n in range(2)]
    groups += [pair(f"r{n}", f"{LONG}a.", f"{LONG}b.") for n in range(18)]
    found = finding("truncated", numbered(groups))
    assert (found.severity, found.measures["chosen_share"], found.measures["rejected_share"]) == ("warning", 0.1, 0.0)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("This is Latin script.", "Latin"),
        ("Это кириллица, IMHO", "Cyrillic"),
        ("你好，今天天气怎么样？很好", "Chinese or Japanese"),
        ("これは日本語の文章です", "Chinese or Japanese"),
        ("Déjà vu à Málaga", "Latin"),
        ("“Quoted” — with dashes…", "Latin"),
        ("هذه جملة عربية", "Arabic"),
        ("12345 + 67890", None),
        ("short", None),
    ],
)
def test_the_script_of_most_letters(text: str, script: str | None) -> None:
    assert main_script(text) == script


def test_answers_in_another_script_than_data_or_prompt_are_reported() -> None:
    english = [pair(f"Question number {n}?", "An answer of words.", "Another answer.") for n in range(20)]
    russian = pair("Вопрос на русском языке?", "Ответ на русском языке.", "An answer in English.")
    found = findings("language", numbered([*english, russian]))
    assert [(item.title[:30], item.count) for item in found] == [
        ("Completions in another script ", 1),
        ("Completions in another script ", 1),
    ]
    assert found[0].measures == {"Cyrillic": 1, "Latin": 41}


def test_a_data_set_of_two_languages_blames_no_row() -> None:
    groups = [pair("Question of words?", "An answer of words.", "Another answer.")] * 3
    groups += [pair("Вопрос на русском языке?", "Ответ на русском языке.", "Другой ответ здесь.")] * 2
    found = finding("language", numbered(groups))
    assert (found.severity, found.num_rows) == ("note", 0)
