from preftune.data.quality import CheckSettings
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
