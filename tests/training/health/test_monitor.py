from typing import Any

from preftune.groups import Origin
from preftune.training.health.finding import HealthFinding
from preftune.training.health.monitor import HealthMonitor
from preftune.training.health.table import RULES
from tests.training.health.histories import facts


def see(monitor: HealthMonitor, *margins: float, first_step: int = 1) -> list[list[HealthFinding]]:
    logs: list[dict[str, Any]] = [{"loss": 0.5, "rewards/margins": margin} for margin in margins]
    return [monitor.see(step, log) for step, log in enumerate(logs, start=first_step)]


def test_a_rule_is_reported_once_and_again_when_it_is_twice_as_bad() -> None:
    monitor = HealthMonitor(facts())
    news = see(monitor, 9.0, 11.0, 12.0, 21.0, 23.0, 21.0, 50.0)
    assert [len(found) for found in news] == [0, 1, 0, 0, 1, 0, 1]
    assert [found[0].worst_step for found in news if found] == [2, 5, 7]


def test_a_finding_keeps_where_it_began_and_where_it_was_worst() -> None:
    monitor = HealthMonitor(facts())
    see(monitor, 11.0, 30.0, 15.0)
    [finding] = monitor.findings
    assert (finding.rule, finding.step, finding.worst_step, finding.size) == ("margin", 1, 2, 3.0)
    assert "is 30" in finding.text


def test_the_same_logs_give_the_same_findings() -> None:
    monitors = HealthMonitor(facts()), HealthMonitor(facts())
    for monitor in monitors:
        see(monitor, 11.0, 30.0, 15.0)
    assert monitors[0].findings == monitors[1].findings


def test_rules_that_do_not_apply_are_skipped() -> None:
    assert "margin" not in HealthMonitor(facts("simpo")).rules
    assert not any(see(HealthMonitor(facts("simpo")), 50.0))


def test_nan_metrics_are_no_evidence() -> None:
    assert not any(see(HealthMonitor(facts()), float("nan"), float("inf")))


def test_only_rules_that_blame_a_step_name_its_rows() -> None:
    monitor = HealthMonitor(facts())
    for step in range(1, 21):
        monitor.see(step, {"loss": 0.5, "grad_norm": 1.0})
    found = monitor.see(
        21, {"loss": 0.5, "grad_norm": 99.0, "rewards/margins": 11.0}, lambda: [Origin("prefs.jsonl", 7)]
    )
    assert {finding.rule: finding.rows for finding in found} == {"gradient": ("prefs.jsonl:7",), "margin": ()}


def test_rules_that_had_too_little_to_look_at_are_named_with_what_they_lacked() -> None:
    monitor = HealthMonitor(facts(batch_size=16, num_held_out=3, max_steps=3))
    see(monitor, 0.0, 0.1, 0.1)
    record = monitor.record
    assert {"start", "not_finite"} == set(record.rules)
    assert {"margin", "flat", "gradient", "divergence", "gap", "held_out_loss"} <= set(record.too_short)
    assert record.not_applied["margin"] == "runs with 4 steps, which hold 64 pairs; there were 3"
    assert record.not_applied["held_out_loss"] == "runs with 32 held-out pairs; there are 3"
    assert {*record.rules, *record.not_applied} == RULES.keys()
    assert "no finding by 2 rules; too short to judge by 11 of 14 rules" in record.text


def test_a_rule_that_could_judge_once_has_judged() -> None:
    monitor = HealthMonitor(facts(batch_size=64, num_train=128, num_held_out=0))
    for step in range(1, 9):  # the rule on shortcuts looks at the first epoch, of two steps
        monitor.see(step, {"loss": 0.5, "rewards/margins": 0.1, "rewards/accuracies": 0.6})
    assert {"shortcut", "margin", "divergence"} <= set(monitor.record.rules)
    assert "shortcut" not in monitor.record.too_short


def test_before_the_first_log_no_rule_on_metrics_has_judged() -> None:
    record = HealthMonitor(facts()).record
    assert set(record.rules) == {"start", "not_finite"}
    assert record.not_applied["margin"] == "runs with logged metrics; there were none yet"
