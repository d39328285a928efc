"""Points that Optuna proposes, kept in a file so that an interrupted search goes on."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preftune.errors import ConfigError
from preftune.settings.space import Choice, Dimension, Range, Setup, fitting

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.trial import FrozenTrial, Trial

_FILE, _STUDY, _SETUP = "trials.sqlite", "sweep", "setup"
_MOST_REPEATED = 20
"""Repeated proposals in a row after which the space counts as exhausted."""


class Trials:
    """A search for points with high value and low KL, within a KL budget if there is one.

    A proposal depends only on its number and earlier results, so an interrupted search continues with the proposals it
    would have made anyway.

    Args:
        method: Method of the base config, unless the method is searched.
        kl_budget: Most KL, in nats; None: no limit.
    Raises:
        ConfigError: Optuna is not installed.
    Source: multi-objective tree-structured Parzen estimator: Ozaki et al. 2022, JAIR 73.
    """

    def __init__(self, folder: Path, space: Mapping[str, Dimension], method: str, kl_budget: float | None) -> None:
        check_installed()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._method, self._kl_budget = space, method, kl_budget
        self._kls: dict[int, float] = {}
        self._storage = optuna.storages.RDBStorage(f"sqlite:///{folder / _FILE}")
        self._study = optuna.create_study(
            study_name=_STUDY,
            storage=self._storage,
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )

    def setups(self, total: int) -> Iterator[tuple[int, Setup]]:
        """Number and settings of each point: first those of earlier calls, then new ones, without repetition.

        Call `tell` with the result of one before taking the next.

        Args:
            total: Number of points, including earlier calls. There are fewer if the space is exhausted.
        """
        for point in self._points():
            yield point.number, dict(point.user_attrs[_SETUP])
        num_repeated = 0
        while len(self._points()) < total and num_repeated < _MOST_REPEATED:
            trial, setup = self._ask()
            earlier = [item for item in self._points() if item.user_attrs[_SETUP] == setup]
            if earlier:
                num_repeated += 1
                self.tell(trial.number, tuple(earlier[0].values) if earlier[0].values else None)
            else:
                num_repeated = 0
                trial.set_user_attr(_SETUP, setup)
                yield trial.number, setup

    def tell(self, number: int, found: tuple[float, ...] | None) -> None:
        """Report value and KL of a point, or None for a failure. A point reported earlier is not changed."""
        from optuna.trial import TrialState

        if self._study.get_trials(deepcopy=False)[number].state.is_finished():
            return
        self._study.sampler = self._sampler(number)
        if found is None:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._kls[number] = found[1]
            self._study.tell(number, list(found))

    def close(self) -> None:
        """Close the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _points(self) -> "list[FrozenTrial]":
        """Trials that are points; the others are repetitions, or were interrupted while being drawn."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if _SETUP in trial.user_attrs]

    def _ask(self) -> "tuple[Trial, Setup]":
        self._study.sampler = self._sampler(len(self._study.get_trials(deepcopy=False)))
        trial = self._study.ask()
        drawn: dict[str, Any] = {}
        for name in sorted(self._space, key=lambda name: name != "method"):  # the method says which options apply
            if name in fitting({**drawn, name: None}, self._space, self._method):
                drawn[name] = _suggest(trial, name, self._space[name])
        return trial, {name: drawn[name] for name in self._space if name in drawn}

    def _sampler(self, number: int) -> "TPESampler":
        from optuna.samplers import TPESampler

        with warnings.catch_warnings():
            # Optuna 4 calls constraints experimental, Optuna 5 calls this way deprecated; it is the one that both have.
            warnings.simplefilter("ignore")
            return TPESampler(seed=number, constraints_func=None if self._kl_budget is None else self._excess)

    def _excess(self, trial: "FrozenTrial") -> tuple[float, ...]:
        assert self._kl_budget is not None, "there is no budget"
        return (self._kls[trial.number] - self._kl_budget,)


def check_installed() -> None:
    """Raise a ConfigError if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(["search: needs Optuna. Install it: pip install 'preftune[sweep]'."]) from None


def _suggest(trial: "Trial", name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[trial.suggest_categorical(name, list(range(len(dimension.values))))]
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return _rounded(trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log), dimension)


def _rounded(value: float, within: Range) -> float:
    """The value rounded to three significant digits, within the range.

    >>> _rounded(0.354537, Range(0.01, 1)), _rounded(0.99999, Range(0.01, 0.9999))
    (0.355, 0.9999)
    """
    return min(max(float(f"{value:.3g}"), within.low), within.high)
