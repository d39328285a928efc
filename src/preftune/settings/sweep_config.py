"""Settings of a sweep, all checked at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.errors import ConfigError
from preftune.files.number_text import value_text
from preftune.metrics.intervals import Bootstrap
from preftune.settings.config import build_section, check_texts, coerce, names_of, shown, unknown_settings
from preftune.settings.space import (
    NOT_SWEPT,
    Dimension,
    Point,
    Setup,
    Value,
    corners,
    grid,
    parse_dimension,
    parse_values,
    safe_name,
    setup_name,
)
from preftune.settings.sweep_sections import SweepSettings, ValueKind, evaluation_problems, resolved, value_kind
from preftune.settings.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """The settings of a sweep.

    Args:
        base: Settings of a run, by name. All points have them unless they are swept.
        over: Values of each swept setting of a grid.
        space: Ranges and choices of a search. One of `over` and `space` is empty.
        evaluation: Settings of each evaluation, by name.
    """

    settings: SweepSettings
    base: Mapping[str, Any]
    over: Mapping[str, tuple[Value, ...]]
    space: Mapping[str, Dimension]
    evaluation: Mapping[str, Any]
    value: ValueKind

    @staticmethod
    def of(
        base: Mapping[str, Any], sweep: Mapping[str, Any], evaluation: Mapping[str, Any] | None = None
    ) -> "SweepConfig":
        """The config of some settings by name.

        Args:
            base: Settings of a run, as `TrainConfig.of` takes them; `output`, `overwrite` and `resume` are ignored.
            sweep: Settings of `SweepSettings`.
            evaluation: Settings of `EVALUATION`.
        Raises:
            ConfigError: Everything that cannot work, all at once.

        >>> config = SweepConfig.of(
        ...     {"model": "gpt2", "data": "prefs.jsonl", "eval_fraction": 0.1}, {"output": "s", "over": "beta=0.1,0.3"}
        ... )
        >>> [point.name for point in config.points()]
        ['beta=0.1,seed=0', 'beta=0.3,seed=0']
        """
        evaluation = dict(evaluation or {})
        problems = list(unknown_settings(sweep, names_of([SweepSettings]), command="sweep"))
        built = build_section(SweepSettings, sweep, problems)
        settings = _stand_in(sweep) if built is None else built  # the rest is checked all the same
        config = SweepConfig(
            settings=settings,
            base={name: value for name, value in base.items() if name == "seed" or name not in NOT_SWEPT},
            over=_parsed("over", settings.over, parse_values, problems),
            space=_parsed("search", settings.search, parse_dimension, problems),
            evaluation=resolved(settings, evaluation),
            value=value_kind(settings, evaluation),
        )
        of_points = list(config._point_problems())
        holds_out = None if of_points else all(point.config.data.holds_out for point in config.probes())
        problems += [*of_points, *evaluation_problems(settings, evaluation, holds_out=holds_out)]
        if problems:
            raise ConfigError(problems)
        return config

    @property
    def folder(self) -> Path:
        """Folder of the sweep."""
        return Path(self.settings.output)

    @property
    def bootstrap(self) -> Bootstrap:
        """Settings of the intervals."""
        names = {"resamples": "num_resamples", "confidence": "confidence"}
        given = {own: self.evaluation[name] for name, own in names.items() if name in self.evaluation}
        return Bootstrap(**given)

    def points(self) -> list[Point]:
        """The points of a grid, seed by seed; empty for a search."""
        return self.points_of(grid(self.over)) if self.over else []

    def points_of(self, setups: list[Setup], prefix: str = "") -> list[Point]:
        """The runs of some setups, one for each seed.

        Args:
            setups: Swept settings of each point.
            prefix: First part of the names.
        Raises:
            ConfigError: Settings that cannot work.
        """
        seeds = self.settings.seed_numbers or (self.base.get("seed", 0),)
        return [self._point(setup, seed, prefix) for seed in seeds for setup in setups]

    def template(self) -> TrainConfig:
        """The settings of one point, for what all have in common."""
        return self.probes()[0].config

    def probes(self) -> list[Point]:
        """Points known before any run: all of a grid, or the corners of the space of a search."""
        return self.points() or self.points_of(list(self._corners()))

    def _corners(self) -> Iterator[Setup]:
        return corners(self.space, str(self.base.get("method", "dpo")))

    def _point(self, setup: Setup, seed: Value, prefix: str) -> Point:
        parts = [prefix, *(f"{name}={value_text(value, '+')}" for name, value in setup.items()), f"seed={shown(seed)}"]
        name = safe_name(",".join(part for part in parts if part))
        settings = {**self.base, **setup, "seed": seed, "output": str(self.folder / name)}
        return Point(name, setup, TrainConfig.of(**settings))

    def _point_problems(self) -> Iterator[str]:
        """Problems of points, each once, with the first point that has it unless all have it."""
        setups = grid(self.over) if self.over else list(self._corners())
        found: dict[str, list[str]] = {}
        for setup in setups:
            try:
                self.points_of([setup])
            except ConfigError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(setup_name(setup))
        for problem, names in found.items():
            where = f" (point {names[0]})" if len(names) < len(setups) else ""
            yield problem + where


def _stand_in(sweep: Mapping[str, Any]) -> SweepSettings:
    """The swept names alone, in place of settings that cannot work."""
    over, search = (_texts(sweep.get(name)) for name in ("over", "search"))
    return SweepSettings(output="-", over=over, search=search)


def _texts(value: Any) -> list[str]:
    """The value as a list of texts; empty if it cannot be one."""
    try:
        texts: list[str] = coerce(value, list[str])
        check_texts(texts, is_path=False)
        return texts
    except ValueError:
        return []


def _parsed(flag: str, texts: list[str], parse: Any, problems: list[str]) -> dict[str, Any]:
    """The values or ranges of each swept setting."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, rest = (part.strip() for part in text.partition("="))
        if not (name and equals and rest):
            problems.append(f"{flag} = {text}: must be written as NAME=VALUES, such as beta=0.03,0.1,0.3.")
        elif name in found:
            problems.append(f"{flag} = {text}: {name} is named twice. Give all its values at once.")
        else:
            try:
                found[name] = parse(name, rest)
            except ValueError as error:
                problems.append(str(error))
    return found
