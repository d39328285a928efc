"""Estimates against exact values: 200 seeded trials, of which so many must have the exact value in their interval that
fair 95 % intervals miss the bound with a probability of 1 in 1000."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from preftune.evaluation.calibration import calibrate
from preftune.evaluation.pairs import PairTable
from preftune.evaluation.samples import evaluate_samples
from preftune.evaluation.win_rate import rate_wins
from preftune.groups import Text
from preftune.judges.function import ScoringJudge
from preftune.judges.judge import Comparison, JudgedComparison, Keep, Question, Verdict
from preftune.judges.judging import judge_comparisons
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Bootstrap, Interval
from preftune.model.reference.logps import Runner, referenced_logps
from preftune.model.reference.reference import FrozenCopy
from studies.enumerable import World, expected_reward, kl_divergence
from studies.enumerable.feedback import Pairs
from tests.evaluation.table_model import TableForward, TableModel, draw_pairs, draw_prompts, draw_samples

NUM_TRIALS = 200
FEWEST_HITS = int(binom.ppf(0.001, NUM_TRIALS, 0.95))
NUM_PROMPTS = 250
BOOTSTRAP = Bootstrap(num_resamples=300)

WORLD = World.drawn(num_prompts=6, seed=1)
OVERCONFIDENT = World(WORLD.reference, 2.5 * WORLD.rewards, WORLD.beta).optimum
POLICIES = {"optimum": WORLD.optimum, "overconfident": OVERCONFIDENT}


def hits(trials: Iterator[dict[str, Interval | None]], exact: dict[str, float]) -> dict[str, int]:
    """How often the exact value was inside of the interval, by name."""
    counts = Counter(dict.fromkeys(exact, 0))
    for found in trials:
        for name, value in exact.items():
            interval = found[name]
            assert interval is not None
            counts[name] += value in interval
    return dict(counts)


def frozen(logps: Tensor) -> FrozenCopy:
    return FrozenCopy(TableModel(logps))  # type: ignore[arg-type]


def test_the_bound_is_what_the_binomial_distribution_says() -> None:
    assert FEWEST_HITS == 179
    assert binom.cdf(FEWEST_HITS - 1, NUM_TRIALS, 0.95) < 0.001


def exact_preferences(policy: Tensor, num_bins: int) -> dict[str, float]:
    pairs = Pairs.of(WORLD)
    rewards = WORLD.beta * (policy - WORLD.reference)
    margins = rewards[pairs.prompts, pairs.chosen] - rewards[pairs.prompts, pairs.rejected]
    is_right = (margins > 0).double()
    sure = margins.abs().sigmoid()
    places = ((sure - 0.5) * 2 * num_bins).long().clamp(max=num_bins - 1)
    gaps = torch.zeros(num_bins, dtype=torch.float64).index_add(0, places, pairs.weights * (is_right - sure))
    return {
        "accuracy": float(pairs.weights @ is_right),
        "margin": float(pairs.weights @ margins),
        "log loss": float(-(pairs.weights @ margins.sigmoid().log())),
        "calibration": float(gaps.abs().sum()),
    }


def estimated_preferences(policy: Tensor, seed: int) -> dict[str, Interval | None]:
    groups = draw_pairs(WORLD, NUM_PROMPTS, seed)
    logps = referenced_logps(TableModel(policy), frozen(WORLD.reference), groups, Runner(TableForward()))
    table = PairTable.of(groups, logps, ImplicitReward("logratio", WORLD.beta))
    assert table is not None
    calibration = calibrate(table, BOOTSTRAP)
    return {
        "accuracy": BOOTSTRAP.share(table.mean_of(table.is_right), table.num_prompts),
        "margin": BOOTSTRAP.interval(table.mean_of(table.margin), table.num_prompts),
        "log loss": calibration.log_loss,
        "calibration": calibration.expected_error,
    }


@pytest.mark.parametrize("name", POLICIES)
def test_preference_estimates_hold_the_exact_values(name: str) -> None:
    exact = exact_preferences(POLICIES[name], num_bins=10)
    # At the optimum the implicit reward is the true one, up to a term per prompt: perfectly calibrated.
    assert exact["calibration"] == pytest.approx(0.0 if name == "optimum" else 0.14, abs=0.01)
    found = hits((estimated_preferences(POLICIES[name], seed) for seed in range(NUM_TRIALS)), exact)
    assert all(count >= FEWEST_HITS for count in found.values()), found


def estimated_samples(policy: Tensor, seed: int) -> dict[str, Interval | None]:
    kinds = draw_prompts(WORLD, NUM_PROMPTS, seed)
    drawn = draw_samples(policy, kinds, 2, seed)
    samples = evaluate_samples(
        TableModel(policy),
        frozen(WORLD.reference),
        drawn,
        None,
        Runner(TableForward()),
        prompts=[""] * len(kinds),
        max_new_tokens=1,
        bootstrap=BOOTSTRAP,
    )
    return {"kl": samples.kl, "kl per token": samples.kl_per_token, "entropy": samples.entropy}


@pytest.mark.parametrize("name", POLICIES)
def test_kl_and_entropy_of_samples_hold_the_exact_values(name: str) -> None:
    policy = POLICIES[name]
    kl = kl_divergence(policy, WORLD.reference)
    exact = {"kl": kl, "kl per token": kl, "entropy": float(-(policy.exp() * policy).sum(-1).mean())}
    found = hits((estimated_samples(policy, seed) for seed in range(NUM_TRIALS)), exact)
    assert all(count >= FEWEST_HITS for count in found.values()), found


def comparisons_of(kinds: Sequence[int], seed: int) -> list[Comparison]:
    """The optimum against the reference, two samples each. The prompt's text is its kind."""
    ours, theirs = (
        draw_samples(logps, kinds, 2, seed + add) for logps, add in ((WORLD.optimum, 0), (WORLD.reference, 7))
    )
    return [
        Comparison(number, str(kind), own.text, other.text)
        for number, kind in enumerate(kinds)
        for own, other in zip(ours[number], theirs[number], strict=True)
    ]


def true_scores(prompts: Sequence[Text], completions: Sequence[str]) -> list[float]:
    pairs = zip(prompts, completions, strict=True)
    return [float(WORLD.rewards[int(str(prompt)), int(text)]) for prompt, text in pairs]


def test_win_rate_and_mean_reward_by_a_judge_that_knows_the_reward_hold_the_exact_values() -> None:
    both = WORLD.optimum.exp()[:, :, None] * WORLD.reference.exp()[:, None, :]
    gap = WORLD.rewards[:, :, None] - WORLD.rewards[:, None, :]
    exact = {
        "rate": float((both * (gap.sign() + 1) / 2).sum((1, 2)).mean()),
        "our score": expected_reward(WORLD.optimum, WORLD),
        "their score": expected_reward(WORLD.reference, WORLD),
    }

    def trial(seed: int) -> dict[str, Interval | None]:
        comparisons = comparisons_of(draw_prompts(WORLD, NUM_PROMPTS, seed), seed)
        judged = judge_comparisons(ScoringJudge("true", true_scores), comparisons, None)
        found = rate_wins(judged, judge="true", against="reference", temperature=1.0, bootstrap=BOOTSTRAP)
        assert found is not None
        return {"rate": found.rate, "our score": found.our_score, "their score": found.their_score}

    found = hits((trial(seed) for seed in range(NUM_TRIALS)), exact)
    assert all(count >= FEWEST_HITS for count in found.values()), found


class Biased:
    """Chooses as Bradley and Terry say, with a liking for what it is shown first."""

    name, identity, asks_both_orders, bias = "biased", None, True, 0.7

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        for question in questions:
            first, second = true_scores([question.prompt] * 2, [question.first, question.second])
            likes_first = self._rng.random() < 1 / (1 + np.exp(second - first - self.bias))
            keep(question, Verdict("first" if likes_first else "second"))


def judge_all(judge: Biased, comparisons: Sequence[Comparison]) -> list[JudgedComparison]:
    """Each comparison by itself: a judge that draws lots may say something else of the same texts."""
    return [judge_comparisons(judge, [item], None)[0] for item in comparisons]


def test_win_rate_and_position_bias_by_a_biased_judge_hold_the_exact_values() -> None:
    both = WORLD.optimum.exp()[:, :, None] * WORLD.reference.exp()[:, None, :]
    both = both * (1 - torch.eye(both.shape[1], dtype=both.dtype))  # equal texts are a tie, without being asked
    gap = WORLD.rewards[:, :, None] - WORLD.rewards[:, None, :]
    shown_first, shown_second = (gap + Biased.bias).sigmoid(), (gap - Biased.bias).sigmoid()
    equal = 1 - both.sum((1, 2))
    points = (both * (shown_first + shown_second) / 2).sum((1, 2)) + equal / 2
    firsts = (both * (shown_first + 1 - shown_second)).sum((1, 2)) / 2
    same_place = shown_first * (1 - shown_second) + (1 - shown_first) * shown_second
    exact = {
        "rate": float(points.mean()),
        "first": float(firsts.mean() / (1 - equal).mean()),
        "disagreement": float((both * same_place).sum((1, 2)).mean()),
    }

    def trial(seed: int) -> dict[str, Interval | None]:
        judged = judge_all(Biased(seed), comparisons_of(draw_prompts(WORLD, 120, seed), seed))
        found = rate_wins(judged, judge="biased", against="reference", temperature=1.0, bootstrap=BOOTSTRAP)
        assert found is not None
        return {"rate": found.rate, "first": found.first_share, "disagreement": found.disagreement}

    found = hits((trial(seed) for seed in range(NUM_TRIALS)), exact)
    assert all(count >= FEWEST_HITS for count in found.values()), found
