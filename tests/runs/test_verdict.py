"""Verdicts on sick, healthy and idle runs, from logs written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.losses import Method
from preftune.metrics.intervals import share_interval
from preftune.runs.data_report import PartReport
from preftune.runs.folder import RunFolder
from preftune.runs.run import train
from preftune.runs.verdict import Evidence, Verdict, judgements_of
from preftune.training.health.finding import HealthFinding, HealthRecord
from tests.runs.inputs import config_of, history

Log = Mapping[str, Any]

LEARNING = ({"step": 1, "loss": 0.69, "learning_rate": 1e-6, "grad_norm": 1.0, "logratios/absolute": 0.0},)


def verdict(
    *held_out: Log,
    method: str = "dpo",
    pairs: int = 0,
    thumbs: int = 0,
    prompts: int | None = None,
    steps: Sequence[Log] = LEARNING,
    findings: tuple[HealthFinding, ...] = (),
    **further: Any,
) -> Verdict:
    """The verdict on a run with an evaluation before it, and after each further ten steps."""
    logs = [
        {"step": 10 * place, **{f"eval_{name}": value for name, value in log.items()}}
        for place, log in enumerate(held_out)
    ]
    counts: dict[str, Any] = {"num_pairs": pairs, "num_desirable": thumbs // 2, "num_undesirable": thumbs - thumbs // 2}
    number = prompts or pairs or thumbs
    data = PartReport(num_prompts=number, num_tokens=9, **counts) if number else None
    evidence = Evidence(Method.named(method), sorted([*logs, *steps], key=lambda log: log["step"]), data, **further)
    return Verdict.of(judgements_of(evidence), HealthRecord(findings), is_finished=True)


def of_pairs(accuracy: float, *, distance: float = 5.0, loss: float = 0.69) -> Log:
    return {"loss": loss, "rewards/accuracies": accuracy, "logratios/absolute": distance}


START = of_pairs(0.5, distance=0.0)


@pytest.mark.parametrize(
    ("accuracy", "pairs", "outcome", "tone"),
    [
        (0.0, 11, "worse", "error"),
        (0.40, 1000, "worse", "error"),
        (0.545, 11, "unclear", "warning"),
        (1.0, 3, "unclear", "warning"),
        (0.0, 1, "unclear", "warning"),
        (0.65, 254, "better", "good"),
        (1.0, 11, "better", "good"),
    ],
)
def test_the_accuracy_counts_as_far_as_its_interval_allows(
    accuracy: float, pairs: int, outcome: str, tone: str
) -> None:
    found = verdict(START, of_pairs(accuracy), pairs=pairs)
    assert (found.outcome, found.tone) == (outcome, tone)
    assert f"{pairs:,} held-out pair" in found.judgements[0].text
    assert "50.0 % before training" in found.judgements[0].text


def test_a_run_from_50_to_0_percent_says_that_it_is_worse() -> None:
    lines = list(verdict(START, of_pairs(0.0), pairs=11).lines())
    assert lines[0] == "Verdict: Worse than the model you began with."
    assert lines[1].startswith("  On 11 held-out pairs it is worse than chance: 0.0 % (0.0 % to ")


@given(st.floats(0, 1), st.integers(2, 400))
def test_the_verdict_is_never_green_unless_chance_is_below_the_interval(accuracy: float, pairs: int) -> None:
    found = verdict(START, of_pairs(accuracy), pairs=pairs)
    error = (accuracy * (1 - accuracy) / pairs) ** 0.5
    low = share_interval(accuracy, error, num_prompts=pairs, num_rows=pairs).low
    assert (found.tone == "good") == (low > 0.5)


@given(st.integers(0, 60), st.integers(2, 60))
def test_an_interval_of_a_share_holds_it_and_stays_a_share(right: int, number: int) -> None:
    share = min(right, number) / number
    error = (share * (1 - share) / (number - 1)) ** 0.5
    found = share_interval(share, error, num_prompts=number, num_rows=number)
    assert 0 <= found.low <= share <= found.high <= 1
    assert found.low < found.high


def test_pairs_of_the_same_prompts_count_by_their_standard_error() -> None:
    alone = verdict(START, {**of_pairs(0.6), "rewards/accuracies_error": 0.025}, pairs=400)
    together = verdict(START, {**of_pairs(0.6), "rewards/accuracies_error": 0.08}, pairs=400, prompts=40)
    assert (alone.outcome, together.outcome) == ("better", "unclear")


def test_without_a_reference_the_model_before_training_is_what_counts() -> None:
    def after(accuracy: float) -> str:
        before = {"loss": 1.0, "rewards/accuracies": 0.62, "rewards/accuracies_error": 0.03}
        now = {"loss": 0.9, "rewards/accuracies": accuracy, "rewards/accuracies_error": 0.03}
        return verdict(before, now, method="simpo", pairs=260).outcome

    assert (after(0.63), after(0.5), after(0.8)) == ("unclear", "worse", "better")


def thumbs(margin: float, error: float, distance: float) -> Log:
    return {"loss": 0.5, "rewards/margins": margin, "rewards/margins_error": error, "logratios/absolute": distance}


def test_a_kto_run_whose_rewards_stay_at_zero_changed_nothing() -> None:
    found = verdict(thumbs(0.0, 0.0, 0.0), thumbs(0.0, 0.0, 0.0), method="kto", thumbs=40)
    assert (found.outcome, found.tone) == ("unchanged", "warning")
    assert found.headline == "The run changed next to nothing."
    assert "moved by 0 nats on average" in found.judgements[0].text


def test_thumbs_are_judged_by_their_margin() -> None:
    start = thumbs(0.0, 0.0, 0.0)
    assert verdict(start, thumbs(0.3, 0.1, 4.0), method="kto", thumbs=40).outcome == "better"
    assert verdict(start, thumbs(-0.3, 0.1, 4.0), method="kto", thumbs=40).outcome == "worse"
    assert verdict(start, thumbs(0.1, 0.1, 4.0), method="kto", thumbs=40).outcome == "unclear"


@pytest.mark.parametrize("num_steps", [1, 5])
def test_a_learning_rate_of_zero_throughout_changes_nothing_whatever_was_measured(num_steps: int) -> None:
    steps = [{"step": step, "loss": 0.69, "learning_rate": 0.0} for step in range(1, num_steps + 1)]
    for found in (verdict(steps=steps), verdict(START, START, pairs=99, steps=steps)):
        assert (found.outcome, found.tone) == ("unchanged", "warning")
        assert "The learning rate was 0 in" in found.judgements[0].text


def test_gradients_of_zero_throughout_change_nothing() -> None:
    steps = [{"step": step, "loss": 0.69, "learning_rate": 1e-3, "grad_norm": 0.0} for step in (1, 2)]
    assert verdict(steps=steps).outcome == "unchanged"


def test_a_policy_that_hardly_moved_has_changed_next_to_nothing() -> None:
    found = verdict(START, of_pairs(0.545, distance=0.0123), pairs=11)
    assert (found.outcome, found.tone) == ("unchanged", "warning")
    assert "moved by 0.012 nats" in found.judgements[0].text
    assert "--learning-rate" in found.judgements[0].text
    assert verdict(START, of_pairs(0.7, distance=0.05), pairs=500).outcome == "better"


def test_without_held_out_data_the_training_steps_tell_that_nothing_moved() -> None:
    def steps(*distances: float) -> list[Log]:
        return [
            {"step": place, "loss": 0.69, "learning_rate": 1e-6, "logratios/absolute": distance}
            for place, distance in enumerate(distances, start=1)
        ]

    assert verdict(steps=steps(0.0, 0.001, 0.002)).outcome == "unchanged"
    moved = verdict(steps=steps(0.0, 0.5, 2.0))
    assert (moved.outcome, moved.tone) == ("unknown", "neutral")
    assert "Nothing was measured on held-out data" in moved.headline
    assert verdict(steps=steps(0.0)).outcome == "unknown"  # a step is measured before it changes the weights


@pytest.mark.parametrize(("last", "outcome"), [(1.5, "better"), (2.5, "worse"), (2.01, "unclear"), (2.0, "unchanged")])
def test_demonstrations_are_judged_by_the_held_out_loss(last: float, outcome: str) -> None:
    assert verdict({"loss": 2.0}, {"loss": last}, method="sft", prompts=20).outcome == outcome


def test_a_few_demonstrations_say_nothing() -> None:
    assert verdict({"loss": 2.0}, {"loss": 1.5}, method="sft", prompts=3).outcome == "unclear"


def test_the_kept_checkpoint_is_what_is_judged() -> None:
    logs = (START, of_pairs(0.7), of_pairs(0.3))
    assert verdict(*logs, pairs=200).outcome == "worse"
    assert verdict(*logs, pairs=200, kept_step=10).outcome == "better"


def test_the_samples_of_a_judge_are_judged_by_their_number() -> None:
    def judged(rate: float, number: int, against: str = "start") -> Verdict:
        now = {**of_pairs(0.55), "win_rate": rate, "num_judged": float(number)}
        return verdict(START, now, pairs=40, judge="python:rules:polite", judge_against=against)

    assert judged(1 / 3, 3).outcome == "unclear"
    assert judged(0.2, 64).outcome == "worse"
    assert judged(0.8, 64).outcome == "better"
    assert judged(0.2, 64, against="chosen").outcome == "unclear"
    assert "on 3 prompts, its samples are not distinguishable" in judged(1 / 3, 3).judgements[-1].text


def test_a_sick_run_is_never_green() -> None:
    finding = HealthFinding(
        rule="margin", severity="suspect", title="it is", text="it is", advice="Stop.", step=1, worst_step=1, size=1.0
    )
    assert verdict(START, of_pairs(0.9), pairs=200, findings=(finding,)).tone == "warning"


def test_numbers_that_are_not_finite_are_no_evidence() -> None:
    assert verdict(START, of_pairs(float("nan")), pairs=20).outcome in ("unknown", "unclear", "unchanged")


def test_only_an_evaluation_after_the_first_step_counts() -> None:
    assert verdict(START, pairs=20).outcome == "unknown"


def test_the_standard_errors_of_a_run_are_those_over_its_prompts(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    result = train(config_of(model_folder, pairs_file, folder, eval_fraction=0.5, learning_rate=1e-2))
    accuracies, errors = (history(folder, f"eval_rewards/accuracies{end}") for end in ("", "_error"))
    number = result.data["held out"].num_prompts
    assert errors[-1] == pytest.approx((accuracies[-1] * (1 - accuracies[-1]) / (number - 1)) ** 0.5)
    assert "squares/" not in (folder / "metrics.jsonl").read_text()
    assert RunFolder(folder).summary() == result
    assert result.verdict is not None
    assert f"On {number} held-out pairs" in result.verdict.judgements[-1].text
