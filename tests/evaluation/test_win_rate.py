import numpy as np
import pytest
from scipy.stats import binom

from preftune.evaluation.win_rate import WinRate, rate_wins
from preftune.judges.judge import Choice, Comparison, JudgedComparison, Verdict
from preftune.metrics.intervals import Bootstrap
from preftune.metrics.logistic import sigmoid

BOOTSTRAP = Bootstrap(num_resamples=100)


def judged(
    ours_first: Choice, theirs_first: Choice, *, prompt: int = 0, ours: str = "aa", theirs: str = "b"
) -> JudgedComparison:
    return JudgedComparison(Comparison(prompt, "p", ours, theirs), Verdict(ours_first), Verdict(theirs_first))


def rate(items: list[JudgedComparison], bootstrap: Bootstrap = BOOTSTRAP) -> WinRate:
    found = rate_wins(items, judge="judge", against="reference", temperature=1.0, bootstrap=bootstrap)
    assert found is not None
    return found


def test_both_orders_make_the_points_of_a_comparison() -> None:
    found = rate(
        [
            judged("first", "second", prompt=0),  # ours both times
            judged("second", "first", prompt=1),  # theirs both times
            judged("first", "first", prompt=2),  # always the first
            judged("first", "tie", prompt=3),
        ]
    )
    assert found.rate.value == pytest.approx((1 + 0 + 0.5 + 0.75) / 4)
    assert (found.wins, found.ties, found.losses) == (0.5, 0.25, 0.25)
    assert found.disagreement is not None
    assert found.first_share is not None
    assert found.disagreement.value == 0.25
    assert found.first_share.value == pytest.approx(5 / 7)  # of the verdicts that are no ties
    assert found.length_difference.value == 1.0


def test_comparisons_without_a_verdict_are_counted_and_left_out() -> None:
    unreadable, missing = judged("first", "unreadable"), JudgedComparison(Comparison(0, "p", "a", "b"), None, None)
    found = rate([judged("first", "second", prompt=1), unreadable, missing])
    assert (found.num_comparisons, found.num_without_verdict, found.rate.value) == (1, 2, 1.0)
    assert rate_wins([missing], judge="judge", against="x", temperature=1.0) is None


def test_a_judge_that_scores_has_no_position_bias_and_mean_scores() -> None:
    items = [
        JudgedComparison(Comparison(0, "p", "a", "b"), Verdict("first", scores=(3.0, 1.0)), None),
        JudgedComparison(Comparison(1, "p", "a", "b"), None, Verdict("first", scores=(5.0, 2.0))),
    ]
    found = rate(items)
    assert found.rate.value == 0.5
    assert (found.first_share, found.disagreement) == (None, None)
    assert found.our_score is not None
    assert found.their_score is not None
    assert (found.our_score.value, found.their_score.value) == (2.5, 3.0)


def test_ties_are_no_evidence_of_position_bias() -> None:
    found = rate([judged("tie", "tie", prompt=number) for number in range(3)])
    assert (found.rate.value, found.ties, found.first_share) == (0.5, 1.0, None)
    assert found.disagreement is not None
    assert found.disagreement.value == 0.0


def test_samples_of_one_prompt_count_as_one_for_the_interval() -> None:
    items = [judged("first", "second", prompt=0), judged("second", "first", prompt=1)] * 50
    found = rate(items, Bootstrap(num_resamples=500))
    assert found.rate.num_prompts == 2
    assert found.rate.high - found.rate.low == 1.0


def by_length(count: int, seed: int, *, skill: float, liking: float) -> list[JudgedComparison]:
    """Verdicts of a judge with a liking for length, on texts of ours that are longer."""
    rng = np.random.default_rng(seed)
    differences = rng.normal(20, 40, size=count).round().astype(int)
    wins = rng.random(count) < sigmoid(skill + liking * np.tanh(differences / 40))
    return [
        judged(
            *(("first", "second") if win else ("second", "first")),
            prompt=number,
            ours="x" * (200 + gap),
            theirs="x" * 200,
        )
        for number, (win, gap) in enumerate(zip(wins, differences, strict=True))
    ]


def test_at_equal_length_a_judge_who_likes_length_gives_half() -> None:
    found = rate(by_length(3000, seed=0, skill=0.0, liking=2.0))
    assert found.rate.value > 0.6
    assert 0.5 in found.length_controlled
    assert found.length_controlled.standard_error < 0.02


def test_the_rate_at_equal_length_holds_the_true_value_in_19_of_20_trials() -> None:
    true = float(sigmoid(np.array(0.4)))
    trials = (rate(by_length(200, seed, skill=0.4, liking=1.5)).length_controlled for seed in range(200))
    assert sum(true in interval for interval in trials) >= binom.ppf(0.001, 200, 0.95)


def test_without_differences_of_length_both_rates_are_the_same() -> None:
    items = [judged("first", "second", prompt=number, theirs="bb") for number in range(3)]
    found = rate([*items, judged("second", "first", prompt=3, theirs="bb")])
    assert found.length_controlled.value == pytest.approx(0.75, abs=0.001)
