from tests.data.quality.groups import finding, findings, numbered, pair, scored, thumb


def test_the_same_pair_both_ways_counts_once_however_often_it_is_judged() -> None:
    groups = [pair("q", "a", "b"), pair("Q", "b", "A"), pair("q", "a", "b"), pair("q", "a", "c")]
    found = finding("contradictions", numbered(groups))
    assert (found.count, found.total) == (1, 4)
    assert [origin.row for origin in found.rows] == [1, 2, 3]


def test_the_same_completions_of_another_prompt_do_not_contradict() -> None:
    assert findings("contradictions", [pair("q", "a", "b"), pair("r", "b", "a")]) == []


def test_scores_and_pairs_contradict_each_other() -> None:
    groups = [scored("q", {"a": 2.0, "b": 1.0}), pair("q", "b", "a")]
    assert finding("contradictions", numbered(groups)).count == 1


def test_a_cycle_over_rows_is_found_where_no_pair_is_judged_both_ways() -> None:
    groups = [pair("q", "a", "b"), pair("q", "b", "c"), pair("q", "c", "a"), pair("q", "c", "d")]
    found = finding("contradictions", numbered(groups))
    assert found.title == "Cycles (A better than B, B than C, C than A): 1"
    assert [origin.row for origin in found.rows] == [1, 2, 3]
    assert found.count == 1


def test_a_cycle_of_lists_is_found_through_their_scores() -> None:
    groups = [scored("q", {"a": 3.0, "b": 2.0}), scored("q", {"b": 9.0, "c": 1.0}), scored("q", {"c": 1.0, "a": 0.5})]
    assert finding("contradictions", numbered(groups)).count == 1


def test_a_chain_is_no_cycle() -> None:
    assert findings("contradictions", [pair("q", "a", "b"), pair("q", "b", "c"), pair("q", "a", "c")]) == []


def test_thumbs_up_and_down_contradict_each_other() -> None:
    groups = [thumb("q", "a", True), thumb("q", "A ", False), thumb("q", "b", True), thumb("r", "a", False)]
    found = finding("contradictions", numbered(groups))
    assert found.title == "Completions with thumbs up here and thumbs down there: 1"
    assert [origin.row for origin in found.rows] == [1, 2]


def test_few_contradictions_are_a_warning_and_many_an_error() -> None:
    agreed = [pair(f"q{number}", "a", "b") for number in range(200)]
    assert finding("contradictions", numbered([*agreed, pair("q0", "b", "a")])).severity == "warning"
    turned = [pair(f"q{number}", "b", "a") for number in range(9)]
    assert finding("contradictions", numbered([*agreed, *turned])).severity == "error"
