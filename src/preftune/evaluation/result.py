"""The result of an evaluation, as JSON and as tables."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from preftune.errors import DataError
from preftune.evaluation.best_of import BestOf
from preftune.evaluation.preferences import PairAgreement, Preferences
from preftune.evaluation.samples import Samples
from preftune.evaluation.win_rate import WinRate
from preftune.files.json_files import as_json, from_json, write_whole
from preftune.metrics.intervals import Interval


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Result of an evaluation. The same settings on the same machine give the same record.

    Args:
        model: Hub id or folder of the policy.
        reference: Name of its reference; None for none.
        confidence: Coverage of the intervals, in (0, 1).
        preferences: Agreement with held-out preference data; None without data.
        samples: Estimates from samples; None if none were drawn.
        win_rates: Win rates by temperature; empty without a judge.
        best_of: Best-of-N by the implicit reward; None if not requested.
        strength: Strength of the evaluated mix of reference (0) and model (1); None: the model by itself.
    """

    model: str
    reference: str | None
    data: tuple[str, ...]
    confidence: float
    num_resamples: int
    seed: int
    preferences: Preferences | None
    samples: Samples | None
    win_rates: tuple[WinRate, ...]
    best_of: BestOf | None
    strength: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON; NaN and infinity become null."""
        found: dict[str, Any] = as_json(self)
        return found

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "EvaluationResult":
        """Inverse of `as_dict`."""
        found: EvaluationResult = from_json(EvaluationResult, values)
        return found

    def write(self, path: Path) -> None:
        """Write the result as JSON, atomically."""
        write_whole(path, json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def read(path: str | Path) -> "EvaluationResult":
        """The result in a file.

        Raises:
            DataError: the file does not exist or holds something else.
        """
        try:
            return EvaluationResult.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: holds no readable result of `preftune eval`. {error}. Run the evaluation again."
            ) from error


_PERCENT = "percent"


def tables_of(result: EvaluationResult) -> Iterator[Table]:
    """Tables for the console, one for each part of the result."""
    level = f"{result.confidence:.0%} interval"
    mix = "" if result.strength is None else f" at strength {result.strength:g}"
    if result.preferences is not None:
        yield _preferences(result.preferences, level, mix)
        if result.preferences.pairs is not None:
            yield _slices(result.preferences.pairs, level)
            yield _reliability(result.preferences.pairs, level)
    if result.samples is not None:
        yield _samples(result.samples, level, mix)
    if result.win_rates:
        yield _win_rates(result.win_rates, level, mix)
    if result.best_of is not None:
        yield _best_of(result.best_of, level, mix)


def _preferences(found: Preferences, level: str, mix: str) -> Table:
    reward = "" if found.reward is None else f"; implicit reward: {found.reward.beta:g} x {found.reward.kind}"
    table = _table(f"Preferences of {found.num_groups:,} prompts{mix}{reward}", "", "value", level)
    if found.pairs is not None:
        pairs = found.pairs
        calibration = pairs.calibration
        _row(table, f"accuracy on {pairs.num_pairs:,} pairs", pairs.accuracy, _PERCENT)
        _row(table, "margin", pairs.margin)
        _row(table, "reward of the chosen", pairs.chosen_reward)
        _row(table, "reward of the rejected", pairs.rejected_reward)
        _row(table, "log loss, nats (0.693: chance)", calibration.log_loss)
        _row(table, "expected calibration error", calibration.expected_error)
        table.add_row("  by chance, if calibrated", f"{calibration.expected_error_if_calibrated:.3f}", "")
    if found.lists is not None:
        lists = found.lists
        table.add_section()
        _row(table, f"Kendall's tau on {lists.num_lists:,} lists", lists.kendall_tau)
        _row(table, f"best of list (by chance {lists.best_by_chance:.1%})", lists.best_of_list, _PERCENT)
    table.add_section()
    free = found.reference_free
    _row(table, f"log-prob per token, {free.num_completions:,} completions", free.logp_per_token)
    _row(table, "  of the chosen", free.chosen_per_token)
    _row(table, "  of the rejected", free.rejected_per_token)
    _row(table, "accuracy by log-prob", free.accuracy_by_sum, _PERCENT)
    _row(table, "accuracy by log-prob per token", free.accuracy_by_mean, _PERCENT)
    return table


def _slices(pairs: PairAgreement, level: str) -> Table:
    table = _table("Parts of the pairs", "", "pairs", "accuracy", level, "margin")
    kind = ""
    for part in pairs.slices:
        if kind and part.kind != kind:
            table.add_section()
        kind = part.kind
        label = {"length": part.label, "source": part.label, "margin": f"data's margin {part.label}"}[part.kind]
        accuracy = part.accuracy
        numbers = (f"{part.num_pairs:,}", f"{accuracy.value:.1%}", _ends(accuracy, _PERCENT))
        table.add_row(label, *numbers, f"{part.margin.value:z.3f}")
    return table


def _reliability(pairs: PairAgreement, level: str) -> Table:
    table = _table("Calibration", "confidence", "pairs", "accuracy", level)
    for part in pairs.calibration.bins:
        table.add_row(
            f"{part.confidence:.1%}",
            f"{part.num_pairs:,}",
            f"{part.accuracy.value:.1%}",
            _ends(part.accuracy, _PERCENT),
        )
    return table


def _samples(found: Samples, level: str, mix: str) -> Table:
    count = f"{found.num_prompts:,} prompts x {found.samples_per_prompt}"
    title = f"Samples{mix}: {count}, temperature 1, at most {found.max_new_tokens:,} tokens"
    table = _table(title, "", "value", level)
    if found.kl is not None:
        _row(table, "KL to the reference, nats", found.kl)
        table.add_row("  standard error", f"{found.kl.standard_error:.3f}", "")
    _row(table, "KL per token, nats", found.kl_per_token)
    _row(table, "entropy per token, nats", found.entropy)
    for label, writing in (("policy", found.policy), ("reference", found.reference)):
        if writing is not None:
            _row(table, f"{label}: length, tokens", writing.length)
            _row(table, f"{label}: finished", writing.finished, _PERCENT)
            if writing.ended_at_once:
                table.add_row(f"{label}: ended at once, without text", f"{writing.ended_at_once:.1%}", "")
            distinct = ", ".join(f"{share:.1%}" for share in writing.distinct)
            table.add_row(f"{label}: distinct 1-3-grams", distinct, "")
    _row(table, "length drift, tokens", found.length_drift)
    return table


def _win_rates(rates: tuple[WinRate, ...], level: str, mix: str) -> Table:
    first = rates[0]
    table = _table(f"{first.judge}: the model{mix} against {first.against}", "", "value", level)
    for rate in rates:
        table.add_section()
        left = f" ({rate.num_without_verdict:,} have no verdict)" if rate.num_without_verdict else ""
        _row(table, f"temperature {rate.temperature:g}: win rate", rate.rate, _PERCENT)
        table.add_row("  comparisons", f"{rate.num_comparisons:,}", left.strip())
        table.add_row("  wins, ties, losses", f"{rate.wins:.1%}, {rate.ties:.1%}, {rate.losses:.1%}", "")
        _row(table, "  at equal length", rate.length_controlled, _PERCENT)
        _row(table, "  longer by, characters", rate.length_difference)
        _row(table, "  verdicts for the first shown", rate.first_share, _PERCENT)
        _row(table, "  orders contradict", rate.disagreement, _PERCENT)
        _row(table, "  score of the model", rate.our_score)
        _row(table, f"  score of {rate.against}", rate.their_score)
    return table


def _best_of(found: BestOf, level: str, mix: str) -> Table:
    of_policy = f"a sample of the policy{mix}"
    title = f"Best of {found.num_samples} from the {found.source} by the implicit reward, against {of_policy}"
    table = _table(title, "", "value", level)
    _row(table, "reward of the best", found.reward)
    _row(table, "reward of the policy's sample", found.plain_reward)
    _row(table, "length of the best, tokens", found.length)
    _row(table, "length of the policy's sample", found.plain_length)
    table.add_row(f"KL to the {found.source}, nats, at most", f"{found.kl:.3f}", "")
    if found.win_rate is not None:
        _row(table, f"win rate of the best ({found.win_rate.judge})", found.win_rate.rate, _PERCENT)
        _row(table, "  at equal length", found.win_rate.length_controlled, _PERCENT)
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    return table


def _row(table: Table, label: str, interval: Interval | None, unit: str = "") -> None:
    if interval is not None:
        value = f"{interval.value:.1%}" if unit == _PERCENT else f"{interval.value:z.3f}"
        table.add_row(label, value, _ends(interval, unit))


def _ends(interval: Interval, unit: str = "") -> str:
    """Both ends, or nothing if they are unknown.

    >>> _ends(Interval(0.5, 0.4, 0.6, 0.05, 10), "percent")
    '40.0% to 60.0%'
    """
    if interval.low != interval.low:
        return ""
    form = "{:.1%}" if unit == _PERCENT else "{:z.3f}"
    return f"{form.format(interval.low)} to {form.format(interval.high)}"
