"""Judge the labels of preference data by a model that was tuned, or by models that have not seen them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from preftune.data import load_groups
from preftune.data.feedback import groups_for
from preftune.data.quality.texts import plain_text, shortened
from preftune.errors import ConfigError, DataError, ModelError
from preftune.evaluation.folds import fold_config, fold_run, folds_by_prompt
from preftune.evaluation.label_check import JudgedPair, LabelCheck
from preftune.evaluation.label_noise import label_noise
from preftune.evaluation.margins import PairMargins, config_of_run, pair_margins
from preftune.groups import PromptGroup
from preftune.settings import TrainConfig

__all__ = ["check_labels"]

_FOLDS = "folds"


def check_labels(
    run: str | Path,
    data: str | Sequence[str],
    *,
    folds: int = 0,
    split: str | None = None,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    fold_folder: Path | None = None,
    num_shown: int = 20,
    with_texts: bool = True,
    console: Console | None = None,
) -> LabelCheck:
    """Estimate how many labels are flipped, and list the likeliest.

    A pair is judged by its margin: implicit reward of the chosen minus that of the rejected completion. See
    `label_noise` for what follows from it.

    Args:
        run: Folder of a run of a method with an implicit reward against a reference, such as dpo.
        data: Files, folders or data sets of the hub. Rows that cannot be used are left out.
        folds: Train so many runs by the settings of `run`, each from the model that it began from and without one part
            of the prompts, and let each judge that part. 0: the model of `run` judges all pairs, those that it has
            learned as well. Takes `folds` times the time of the run.
        split, format, columns: As in `load_groups`.
        fold_folder: Where the runs of the folds go, and are found again by a later call. Default: `folds` in `run`.
        num_shown: Pairs to list.
        with_texts: Whether excerpts are kept, not places alone.
        console: Where progress goes; default: nowhere.
    Raises:
        ConfigError: a run that cannot judge pairs, or a number of folds out of its range.
        DataError: data without pairs, or with fewer prompts than folds.
        ModelError: a model that cannot be loaded, or has learned nothing.
    """
    console = console or Console(quiet=True)
    if folds < 0 or folds == 1:
        raise ConfigError([f"folds = {folds}: must be 0, to train nothing, or at least 2."])
    config = config_of_run(run)
    loaded = load_groups(data, split=split, format=format, columns=columns, on_bad_row="skip")
    groups = _paired(loaded.groups, config)
    if folds:
        found = _cross_fitted(config, groups, folds, fold_folder or Path(run) / _FOLDS, console)
    else:
        found = pair_margins(run, config, groups, console=console)
    try:
        noise = label_noise(found.margins)
    except ValueError as error:
        raise ModelError(f"model = {run}: cannot judge labels. {error}") from None
    pairs = tuple(_judged(group, number, with_texts=with_texts) for group, number in found.pairs)
    return LabelCheck(str(run), folds, pairs, noise, num_shown)


def _paired(groups: Sequence[PromptGroup], config: TrainConfig) -> list[PromptGroup]:
    """The groups with the pairs that the run would make of them."""
    with_pairs = [group for group in groups if group.pairs or len(group.completions) > 1]
    if not with_pairs:
        raise DataError("no prompt has two completions to compare, so there are no labels to judge. Give pairs.")
    rule = config.data if config.method.feedback in ("pairs", "thumbs") else None
    is_given = all(group.pairs for group in with_pairs)
    if rule is None or is_given:
        return groups_for("pairs", with_pairs).groups
    return groups_for("pairs", with_pairs, pairing=rule.pairing, min_score_gap=rule.min_score_gap).groups


def _cross_fitted(
    config: TrainConfig, groups: Sequence[PromptGroup], num_folds: int, folder: Path, console: Console
) -> PairMargins:
    """Each pair by a run that has not seen its prompt, in the order of the data."""
    found: list[PairMargins] = []
    for number, fold in enumerate(folds_by_prompt(groups, num_folds, seed=config.steps.seed), start=1):
        console.rule(f"fold {number} of {num_folds}: judges {len(fold.held_out):,} prompts", align="left")
        run = fold_run(fold_config(config, fold.train, folder), console=console)
        found.append(pair_margins(run, config, fold.held_out, console=console))
    pairs = [pair for part in found for pair in part.pairs]
    place = {id(group): index for index, group in enumerate(groups)}
    order = sorted(range(len(pairs)), key=lambda row: (place[id(pairs[row][0])], pairs[row][1]))
    return PairMargins(tuple(pairs[row] for row in order), torch.cat([part.margins for part in found])[order])


def _judged(group: PromptGroup, number: int, *, with_texts: bool) -> JudgedPair:
    if not with_texts:
        return JudgedPair(group.origin)
    pair = group.pairs[number]
    texts = (group.prompt, group.completions[pair.chosen].content, group.completions[pair.rejected].content)
    return JudgedPair(group.origin, *(shortened(plain_text(text)) for text in texts))
