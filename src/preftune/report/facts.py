"""Facts of a run: method, model, data, environment, settings, and data left out."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preftune.files.number_text import bytes_text, duration_text, value_text
from preftune.files.run_files import CONFIG
from preftune.losses import Option, Part, loss_options
from preftune.losses.texts import loss_text
from preftune.report.page import PageTable, Row
from preftune.report.run_record import RunRecord
from preftune.runs.data_report import LOST_TEXTS, PartReport
from preftune.settings import SECTIONS, SETTINGS, settings_of


@dataclass(frozen=True, slots=True)
class Fact:
    """A named fact.

    Args:
        text: In words; text in backticks is code.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class MethodPart:
    """A loss of the method with its description.

    Args:
        weight: Weight in a sum of losses; empty for a single loss.
        summary, formula, source: As in its docstring.
        options: Options that differ from their defaults, with values and meaning; None if there are none.
        defaults: The others.
    """

    name: str
    weight: str
    summary: str
    formula: str
    source: str
    options: PageTable | None
    defaults: PageTable | None


def method_parts(run: RunRecord) -> list[MethodPart]:
    """The losses of the run's method; empty for a method that this version does not know."""
    if run.method is None:
        return []
    is_sum = len(run.method.parts) > 1
    found = []
    for part in run.method.parts:
        text = loss_text(part.loss)
        changed = [option for option in loss_options(part.loss) if part.options[option.name] != option.default]
        rest = [option for option in loss_options(part.loss) if option not in changed]
        weight = f"{part.weight:g} times" if is_sum else ""
        tables = (_options(part, changed), _options(part, rest))
        found.append(MethodPart(part.name, weight, text.summary, text.formula, text.source, *tables))
    return found


def _options(part: Part, options: Sequence[Option]) -> PageTable | None:
    rows = tuple(Row((option.name, value_text(part.options[option.name]), option.help)) for option in options)
    return PageTable("", ("option", "value", "meaning"), rows, is_text=True) if rows else None


def run_facts(run: RunRecord) -> Iterator[Fact]:
    """Model, reference, data, steps, seed."""
    settings = run.settings
    yield Fact("model", _named(settings.get("model"), settings.get("revision")))
    if run.method is None or run.method.needs_reference:
        yield Fact("reference", _reference(settings))
    yield Fact("trained", _trained(settings))
    for name in ("data", "mix", "held out", "longest"):
        keys = [key for key, item in SETTINGS.items() if item.decides == name]
        parts = [_setting(key, settings[key]) for key in keys if settings.get(key)]
        if parts:
            yield Fact(name, "; ".join(parts))
    if not run.holds_out:
        yield Fact("held out", "nothing")
    if run.summary is not None and run.summary.chat:
        yield Fact("chat", run.summary.chat)
    yield Fact("steps", _steps(run))
    yield Fact("optimizer", _optimizer(settings))
    if "seed" in settings:
        yield Fact("seed", str(settings["seed"]))


def environment_facts(run: RunRecord) -> Iterator[Fact]:
    """Start, time, machine, versions and command."""
    if (record := run.environment) is not None:
        yield Fact("started", record.started)
    if (summary := run.summary) is not None:
        yield Fact("time", duration_text(summary.seconds))
        if summary.num_tokens and summary.seconds:
            speed = summary.num_tokens / summary.seconds
            yield Fact("tokens", f"{summary.num_tokens:,}; {speed:,.0f} per second over the whole run")
        yield Fact("peak memory", bytes_text(summary.peak_memory_bytes))
    if record is not None:
        yield Fact("machine", f"{record.platform}, Python {record.python}")
        versions = {name: version for name, version in record.versions.items() if version}
        if versions:
            yield Fact("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))
        if record.git is not None:
            yield Fact("git", f"`{record.git.commit[:12]}`" + (", with changes" if record.git.has_changes else ""))
        if record.command:
            yield Fact("command", f"`{shlex.join(record.command)}`")
    yield Fact("to repeat it", f"`preftune train --config {shlex.quote(str(run.folder / CONFIG))} --output NEW`")


def settings_tables(run: RunRecord) -> list[PageTable]:
    """All settings by topic, with the default of each that was changed."""
    tables = []
    for section in SECTIONS.values():
        rows = tuple(
            Row((item.name, value_text(run.settings[item.name]), _changed(item.default, run.settings[item.name])))
            for item in settings_of(section)
            if item.name in run.settings
        )
        if rows:
            tables.append(PageTable(section.title, ("setting", "value", "by default"), rows, is_text=True))
    return tables


def _changed(default: Any, value: Any) -> str:
    """The default, if there is one and the value differs from it."""
    is_given = isinstance(default, (str, int, float, bool, list, dict)) or default is None
    return value_text(default) if is_given and default != value else ""


def _named(name: Any, revision: Any) -> str:
    return f"`{name}`" + (f", revision {revision}" if revision else "")


def _reference(settings: Mapping[str, Any]) -> str:
    named = settings.get("reference_model")
    text = "the model before training" if named is None else f"`{named}`"
    sync = settings.get("reference_sync", "off")
    return text if sync == "off" else f"{text}; it moves with the policy ({sync})"


def _trained(settings: Mapping[str, Any]) -> str:
    precision = f"{settings.get('precision', '?')} arithmetic, weights in {settings.get('weights_dtype', '?')}"
    if not settings.get("lora"):
        return f"all weights; {precision}"
    targets = value_text(settings.get("lora_targets"))
    return f"LoRA of rank {settings.get('lora_rank')}, alpha {settings.get('lora_alpha')}, on {targets}; {precision}"


def _setting(key: str, value: Any) -> str:
    if key in ("data", "eval_data"):
        return ", ".join(f"`{name}`" for name in value)
    return f"{key.replace('_', ' ')} {value_text(value)}"


def _steps(run: RunRecord) -> str:
    settings = run.settings
    parts = [f"{run.num_steps:,}", f"batches of {settings.get('batch_size', '?')}"]
    if settings.get("max_steps"):
        parts.append(f"at most {settings['max_steps']:,}")
    elif settings.get("epochs"):
        parts.append(f"{settings['epochs']:g} epoch" + "s" * (settings["epochs"] != 1))
    return ", ".join(parts)


def _optimizer(settings: Mapping[str, Any]) -> str:
    rate = settings.get("learning_rate")
    shown = "the method's default" if rate is None else f"{rate:g}"
    return (
        f"{settings.get('optimizer', '?')}, learning rate {shown}, {settings.get('schedule', '?')} schedule, "
        f"warmup {settings.get('warmup', '?')}"
    )


_COUNTS: tuple[tuple[str, Callable[[PartReport], int]], ...] = (
    ("prompts", lambda report: report.num_prompts),
    ("pairs", lambda report: report.num_pairs),
    ("desirable answers", lambda report: report.num_desirable),
    ("undesirable answers", lambda report: report.num_undesirable),
    ("tokens", lambda report: report.num_tokens),
)
_NUM_PLACES = 50


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Rows or texts that were left out or cut.

    Args:
        text: Number and reason.
        places: Places of the first of them.
        num_more: Number of further places.
    """

    part: str
    text: str
    places: tuple[str, ...] = ()
    num_more: int = 0


def data_table(run: RunRecord) -> PageTable | None:
    """Counts of each part of the data; None until the run has written them."""
    parts = _parts(run)
    if not parts:
        return None
    named = [(label, [count(report) for report in parts.values()]) for label, count in _COUNTS]
    rows = tuple(Row((label, *(f"{count:,}" for count in counts))) for label, counts in named if any(counts))
    return PageTable("", ("", *parts), rows)


def data_losses(run: RunRecord) -> Iterator[DataLoss]:
    """Everything left out or cut, part by part."""
    for part, report in _parts(run).items():
        for name, what in LOST_TEXTS.items():
            places: Sequence[str] = getattr(report, name)
            if places:
                shown = tuple(places[:_NUM_PLACES])
                yield DataLoss(part, f"{len(places):,} {what}", shown, len(places) - len(shown))
        for line in (*report.left_out, *(f"mix: {line}" for line in report.mix), *report.warnings):
            yield DataLoss(part, line)


def _parts(run: RunRecord) -> Mapping[str, PartReport]:
    return {} if run.summary is None else run.summary.data
