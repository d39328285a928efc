"""Empty, cut off, in another language, with odd characters or marks of templates."""

import pytest

from preftune.data.quality import CheckSettings
from preftune.data.quality.checks.completions import ends_open
from preftune.data.quality.checks.texts import TEMPLATE_TOKENS, bad_characters
from preftune.data.quality.texts import main_script
from preftune.data.rows import BadRow, DataRow
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
from tests.data.quality.groups import by_word, checked, finding, findings, numbered, pair

LONG = "word " * 25


def chat(prompt: str, chosen: str, rejected: str) -> PromptGroup:
    turns = [(Message("assistant", text),) for text in (chosen, rejected)]
    return PromptGroup((Message("user", prompt),), tuple(map(Completion, turns)), (Pair(0, 1),), Origin("prefs", 1))


def test_empty_rows_signs_and_prompts_are_three_findings() -> None:
    rows: list[DataRow] = [
        BadRow(Origin("prefs", 5), "an empty completion", "empty"),
        pair("", "yes", "?!"),
        pair("q", "1", "🙂"),
    ]
    found = {item.title: item.severity for item in findings("empty", rows)}
    assert found == {
        "Rows with an empty completion: 1": "error",
        "Completions without a letter or digit: 2": "warning",
        "Empty prompts: 1": "warning",
    }


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


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("tabs\tand\nbreaks", []),
        ("an emoji 👩‍🚀 and می‌خواهم", []),
        ("bell \x07", ["control codes"]),
        ("next line \x85", ["control codes"]),
        ("zero\u200bwidth", ["invisible signs"]),
        ("lost \ufffd", ["lost characters (\ufffd)"]),
        ("itâ€™s cafÃ©", ["wrongly decoded text"]),
        ("SÃO PAULO, Â ok", []),
    ],
)
def test_characters_that_no_one_typed(text: str, kinds: list[str]) -> None:
    assert bad_characters(text) == kinds


def test_a_row_with_several_bad_characters_counts_once() -> None:
    found = finding("control-characters", [pair("q\x00", "a\x07", "b\ufffd")])
    assert (found.count, found.total) == (1, 1)
    assert found.examples[0].note == "control codes, lost characters (\ufffd)"


@pytest.mark.parametrize("mark", TEMPLATE_TOKENS)
def test_marks_of_templates_are_found_in_completions_and_messages(mark: str) -> None:
    assert finding("template-tokens", [pair("q", f"yes.{mark} no", "no")]).count == 1
    assert finding("template-tokens", [chat(f"q {mark}", "yes", "no")]).count == 1


def test_marks_in_a_prompt_of_text_are_how_it_was_written() -> None:
    assert findings("template-tokens", [pair("\n\nHuman: hi\n\nAssistant:", " hello", " no")]) == []


def test_marks_are_an_error_from_one_percent_of_the_texts() -> None:
    marked = pair("q", "yes.<|im_end|>", "no")
    for others, severity in ((30, "error"), (60, "warning")):
        rows = [marked, *(pair(f"q{row}", f"yes {row}", f"no {row}") for row in range(others))]
        assert finding("template-tokens", rows).severity == severity


def test_special_tokens_are_those_of_the_tokenizer() -> None:
    settings = CheckSettings(special_tokens=("<eos>",))
    report = checked([pair("q <eos>", "yes<eos>no", "</s>")], "special-tokens", settings=settings, count_tokens=by_word)
    [found] = report.findings
    assert (found.count, found.total) == (1, 2)
    assert found.measures == {"'<eos>'": 1}
