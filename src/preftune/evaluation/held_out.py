"""Data of an evaluation, as text and as tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from preftune.data.load import LoadedGroups, load_groups
from preftune.data.prompts import split_by_prompt
from preftune.data.tokens.pipeline import TokenPipeline
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import CUT_TEXTS
from preftune.data.views import PairRule, has_margins, pairs_by_score, scores_of, with_margins
from preftune.errors import DataError
from preftune.groups import Pair, PromptGroup
from preftune.settings import DataSettings
from preftune.settings.evaluation_config import EvaluationConfig


def read_groups(config: EvaluationConfig, *, show_progress: bool = False) -> LoadedGroups:
    """Groups to evaluate on, with their pairs: the data in the config, else the data that the run held out.

    Groups keep all their completions. Scores make pairs if the data have none, as in training.
    """
    settings = config.data
    if settings is not None:
        loaded = _load(settings, settings.data, settings.split, show_progress=show_progress)
    else:
        assert config.run is not None, "an evaluation without data reads no groups"
        settings = config.run.data
        loaded = _held_out_of(settings, seed=config.run.steps.seed, show_progress=show_progress)
    rule = PairRule(settings.pairing, settings.min_score_gap)
    return replace(loaded, groups=[_paired(group, rule) for group in loaded.groups])


def tokens_of(
    groups: Sequence[PromptGroup],
    tokenizer: PreTrainedTokenizerBase,
    config: EvaluationConfig,
    context: int | None,
    *,
    show_progress: bool = False,
) -> tuple[list[TokenGroup], list[str]]:
    """Tokenized groups, and a line for each kind of group that was cut or left out. Log-probs ignore token weights.

    Args:
        context: Number of positions of the model; None for no limit.
    """
    settings = config.data or (config.run.data if config.run is not None else None)
    assert settings is not None, "groups come from data"
    pipeline = TokenPipeline(
        tokenizer=tokenizer,
        chat=config.model.chat_choice,
        max_length=settings.max_length or context,
        too_long=settings.too_long,
        num_processes=settings.num_processes,
        show_progress=show_progress,
    )
    found = pipeline.tokens(groups)
    texts = {**CUT_TEXTS, "equal_pairs": "pairs became equal in tokens and count as ties"}
    counts = {text: getattr(found.report, field) for field, text in texts.items()}
    return found.groups, [f"  {len(places):,} {text}: {places[0]}, ..." for text, places in counts.items() if places]


def describe(loaded: LoadedGroups) -> Iterator[str]:
    """Lines for the console on the groups that were read."""
    num_pairs = sum(len(group.pairs) for group in loaded.groups)
    yield f"data: {len(loaded.groups):,} prompts, {num_pairs:,} pairs"
    for what, rows in (("could not be used and were left out", loaded.skipped), ("were left out", loaded.left_out)):
        if rows:
            yield f"  {len(rows):,} rows {what}: {rows[0]}, ..."
    yield from (f"  {note}" for note in loaded.notes)


def _load(settings: DataSettings, sources: Sequence[str], split: str | None, *, show_progress: bool) -> LoadedGroups:
    return load_groups(
        sources,
        split=split,
        format=settings.format,
        columns=settings.columns,
        where=settings.where,
        on_bad_row=settings.on_bad_row,
        show_progress=show_progress,
    )


def _held_out_of(settings: DataSettings, *, seed: int, show_progress: bool) -> LoadedGroups:
    """Groups that a run held out: separate data, or a share of the prompts."""
    if settings.eval_data:
        return _load(settings, settings.eval_data, settings.eval_split, show_progress=show_progress)
    loaded = _load(settings, settings.data, settings.split, show_progress=show_progress)
    _, held_out = split_by_prompt(loaded.groups, settings.eval_fraction, seed=seed)
    if not held_out:
        raise DataError("the run held out no prompt of its data. Name held-out data with --data.")
    return replace(loaded, groups=held_out)


def _paired(group: PromptGroup, rule: PairRule) -> PromptGroup:
    """The group with the pairs that training would make of it, and with their margins if these are known."""
    score_rule, scores = rule.score_rule(group), scores_of(group)
    if score_rule is not None:
        pairs: tuple[Pair, ...] = ()
        if scores is not None:
            pairs = pairs_by_score(group.completions, scores, score_rule, min_score_gap=rule.min_score_gap).pairs
        group = replace(group, pairs=pairs)
    return with_margins(group) if has_margins(group) else group
