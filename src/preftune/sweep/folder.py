"""The folder of a sweep: check that it may be used, and that its settings agree with those of an earlier call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.errors import ConfigError, DataError
from preftune.files.json_files import as_json, read_json_object, write_json
from preftune.files.number_text import value_text
from preftune.files.outputs import check_writable, holds_earlier
from preftune.settings import SETTINGS
from preftune.settings.space import NOT_SWEPT
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import EVALUATION

_SETTINGS = "sweep-settings.json"
_FIXED = {name for name, item in SETTINGS.items() if item.changes in ("result", "course")} - NOT_SWEPT.keys()
"""Settings of a run with which a sweep cannot resume. Seeds are part of the grid."""

_FIXED_EVALUATION = {item.name for items in EVALUATION.values() for item in items if item.changes != "speed"}


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """A sweep's folder.

    It holds a run folder per point, `records/` (state of each point), `logs/` (console output of each run),
    `realigned/`, `sweep-settings.json`, `sweep.json` and the pictures; for a search also `trials.sqlite`.
    """

    path: Path

    def check(self, config: SweepConfig) -> None:
        """Check that the sweep of `config` may use the folder, without changing it.

        Raises:
            OutputError: it holds something else.
            ConfigError: it holds a sweep with other settings.
        """
        before = self._settings()
        if holds_earlier(self.path, "sweep", lambda _: before is not None):
            found = list(differences(before or {}, settings_record(config)))
            if found:
                raise ConfigError(found)

    def begin(self, config: SweepConfig) -> None:
        """Create the folder and write the settings.

        Raises:
            OutputError: it cannot be written.
        """
        check_writable(self.path)
        write_json(self.path / _SETTINGS, settings_record(config))

    def _settings(self) -> dict[str, Any] | None:
        try:
            return read_json_object(self.path / _SETTINGS, made_by="`preftune sweep`")
        except DataError:
            return None


def settings_record(config: SweepConfig) -> dict[str, Any]:
    """The settings that a later call must agree with, as JSON values."""
    swept = {*config.over, *config.space}
    flat = config.template().flat()
    fixed = _FIXED | (flat.keys() - SETTINGS.keys())  # the method and its options
    space = {name: getattr(dimension, "values", None) or str(dimension) for name, dimension in config.space.items()}
    record = {
        "value": config.value,
        "base": {name: value for name, value in flat.items() if name not in swept and name in fixed},
        "over": {name: [value_text(value, "+") for value in values] for name, values in config.over.items()},
        "search": {name: value_text(values, "+") for name, values in space.items()},
        "seeds": list(config.settings.seed_numbers or [int(config.base.get("seed", 0))]),
        "evaluation": {name: value for name, value in config.evaluation.items() if name in _FIXED_EVALUATION},
    }
    found: dict[str, Any] = as_json(record)
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Reasons why a sweep cannot continue with other settings. Values, seeds and trials may be added.

    Args:
        before, now: Settings at the start of the sweep and of this call, as `settings_record` gives them.

    >>> before = {"value": "accuracy", "base": {"epochs": 1.0}, "over": {"beta": ["0.1"]}, "search": {}, "seeds": [0],
    ...           "evaluation": {}}
    >>> list(differences(before, {**before, "over": {"beta": ["0.1", "0.3"]}, "seeds": [0, 1]}))
    []
    >>> print(*differences(before, {**before, "base": {"epochs": 2.0}}))
    epochs = 2.0: the sweep began with 1.0. Keep the old value to continue, or name another folder with --output.
    """
    advice = "Keep the old value to continue, or name another folder with --output."
    for part in ("base", "evaluation"):
        for name in sorted({*before[part], *now[part]}):
            known = part == "evaluation" or (name in before[part] and name in now[part])
            old, new = before[part].get(name), now[part].get(name)
            if known and old != new:
                yield f"{name} = {new!r}: the sweep began with {old!r}. {advice}"
    if before["value"] != now["value"]:
        yield f"value = {now['value']}: the sweep began with {before['value']}. {advice}"
    if before["search"] != now["search"] or list(before["over"]) != list(now["over"]):
        old, new = (", ".join({**item["over"], **item["search"]}) for item in (before, now))
        ranges = "" if old != new else f" in {before['search']}"
        yield f"{new}: the sweep began with {old}{ranges}. {advice}"
        return
    for name, values in {**before["over"], "seeds": before["seeds"]}.items():
        own = now["seeds"] if name == "seeds" else now["over"][name]
        missing = [str(value) for value in values if value not in own]
        if missing:
            yield f"{name}: the sweep began with {', '.join(missing)}, too. Values can be added, not removed."
