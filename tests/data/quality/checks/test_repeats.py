"""Rows and prompts that repeat others."""

from preftune.data.quality.check import CheckSettings
from preftune.data.quality.run import prompt_keys
from preftune.data.rows import BadRow
from preftune.groups import Origin
from tests.data.quality.groups import checked, finding, findings, numbered, pair, scored, thumb
from tests.data.quality.planted import clean_rows


def test_case_and_white_space_do_not_make_a_row_new() -> None:
    groups = [pair("What is it?", "A cat.", "A dog."), pair(" what  is it?", "a cat.", "A DOG.")]
    found = finding("duplicates", numbered(groups))
    assert [(origin.row, found.examples[0].note) for origin in found.rows] == [(2, "like prefs:1")]


def test_a_row_three_times_is_two_repeats() -> None:
    assert finding("duplicates", numbered([pair("q", "a", "b")] * 3)).count == 2


def test_another_preference_is_another_row() -> None:
    assert findings("duplicates", [pair("q", "a", "b"), pair("q", "b", "a")]) == []
    assert findings("duplicates", [thumb("q", "a", True), thumb("q", "a", False)]) == []


def test_the_order_of_completions_does_not_matter() -> None:
    groups = [scored("q", {"a": 1.0, "b": 2.0}), scored("q", {"b": 5.0, "a": 4.0})]
    assert finding("duplicates", numbered(groups)).count == 1


def test_near_duplicates_leave_out_repeats_and_contradictions() -> None:
    rows = [pair(row["prompt"], row["chosen"], row["rejected"]) for row in clean_rows(5)]
    turned = [pair(row["prompt"], row["rejected"], row["chosen"]) for row in clean_rows(5)]
    assert findings("near-duplicates", numbered([*rows, *rows, *turned])) == []


def test_a_word_changed_makes_a_near_duplicate() -> None:
    row = clean_rows(1)[0]
    changed = row["chosen"].replace(row["chosen"].split()[5], "else", 1)
    groups = [pair(row["prompt"], row["chosen"], row["rejected"]), pair(row["prompt"], changed, row["rejected"])]
    found = finding("near-duplicates", numbered(groups))
    assert (found.count, found.total) == (1, 2)
    assert {found.rows[0].row, int(found.examples[0].note[-1])} == {1, 2}


def test_the_same_answer_to_another_prompt_is_no_near_duplicate() -> None:
    one, other = clean_rows(2)
    groups = [
        pair(one["prompt"], one["chosen"], one["rejected"]),
        pair(other["prompt"], one["chosen"], one["rejected"]),
    ]
    assert findings("near-duplicates", numbered(groups)) == []


def test_the_same_completion_up_and_down_is_no_near_duplicate() -> None:
    text = clean_rows(1)[0]["chosen"]
    assert findings("near-duplicates", numbered([thumb("q", text, True), thumb("q", text, False)])) == []


def test_a_seed_can_be_given() -> None:
    assert checked(numbered([pair("q", "a", "b")] * 2), "duplicates", settings=CheckSettings(seed=9)).findings


def test_prompts_are_distinct_but_for_case_and_white_space() -> None:
    found = finding("prompts", numbered([pair("A  cat", "a", "b"), pair("a cat", "c", "d"), pair("dog", "a", "b")]))
    assert (found.count, found.total, found.measures["most_rows_of_a_prompt"]) == (2, 3, 2)


def test_a_prompt_with_a_large_part_of_the_rows_is_a_warning() -> None:
    groups = [pair(f"q{n}" if n > 9 else "same", f"a{n}", "b") for n in range(120)]
    assert finding("prompts", numbered(groups)).severity == "warning"


def test_neighbours_and_the_biggest_cluster_of_prompts() -> None:
    first, *others = [row["prompt"] for row in clean_rows(6)]
    prompts = [first, f"so {first}", f"well {first}", *others]
    found = findings("prompts", numbered(pair(prompt, "a", "b") for prompt in prompts))
    assert (found[0].count, found[0].measures["biggest_cluster"]) == (3, 3)
    assert found[0].examples[0].note == "a cluster of 3"


def test_overlap_is_reported_in_rows_and_prompts() -> None:
    held_out = prompt_keys([pair("Q", "x", "y"), pair("r", "x", "y"), BadRow(Origin("held out", 3), "bad")])
    groups = numbered([pair("q ", "a", "b"), pair("q", "c", "d"), pair("s", "a", "b")])
    found = finding("overlap", groups, CheckSettings(held_out=held_out))
    assert (found.count, found.total, found.severity) == (2, 3, "error")
    assert found.title.endswith("prompts concerned: 1 of 2")
