"""Empty texts, odd characters, and marks of templates."""

from collections.abc import Sequence

import pytest

from preftune.data.quality.check import CheckSettings
from preftune.data.quality.checks.texts import TEMPLATE_TOKENS, bad_characters
from preftune.data.quality.facts import TokenCounts
from preftune.data.rows import BadRow, DataRow
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
from tests.data.quality.groups import by_word, checked, finding, findings, numbered, pair


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


def test_parts_that_the_chat_template_hides_are_a_warning_by_kind() -> None:
    def count(groups: Sequence[PromptGroup]) -> list[TokenCounts]:
        hides = {"q1": ("prompts have tools",), "q2": ("prompts have tools", "prompts have reasoning")}
        return [TokenCounts(1, (1, 1), hides.get(str(group.prompt), ())) for group in groups]

    rows = numbered([pair(f"q{number}", "a", "b") for number in range(4)])
    report = checked(rows, "hidden-parts", count_tokens=count)
    assert [(found.title, found.severity, found.num_rows) for found in report.findings] == [
        ("2 prompts have tools", "warning", 2),
        ("1 prompts have reasoning", "warning", 1),
    ]
