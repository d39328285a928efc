"""Data of a run: read, split, checked, tokenized and mixed as its settings say."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from preftune.data.load import LoadedGroups, load_groups
from preftune.data.mixture import Mixture
from preftune.data.prompts import normalised_prompt, split_by_prompt
from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.pipeline import MethodGroups, TokenPipeline
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.weights import LENGTH
from preftune.data.views import PairRule
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup
from preftune.losses import Method
from preftune.losses.thumbs import kto_weight_problem
from preftune.model.forward.arithmetic import Arithmetic
from preftune.planning.sizes import Layout, sizes_of
from preftune.planning.step import MicroBatchShape
from preftune.runs.data_report import DataCheck, PartReport, check_data
from preftune.runs.samples import SamplePrompt, sample_prompts
from preftune.settings import DataSettings, StepSettings, TrainConfig

_DEFAULT_BUDGET = 8192


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Training and held-out groups of a run, with reports on rows left out or cut.

    Args:
        mixture: Selects the training groups of each epoch; None for all.
        drawn: Indices of the training groups that any epoch holds.
        prompts: Prompts to draw samples for: held-out ones, else training ones.
        chat: The way from prompts to text, as a line for the console.
    """

    train: list[TokenGroup]
    held_out: list[TokenGroup]
    reports: Mapping[str, PartReport]
    mixture: Mixture | None
    drawn: Sequence[int]
    check: DataCheck | None = None
    prompts: tuple[SamplePrompt, ...] = ()
    chat: str = ""

    @property
    def all_groups(self) -> list[TokenGroup]:
        """Training groups that any epoch holds, and held-out groups."""
        return [*(self.train[index] for index in self.drawn), *self.held_out]

    @property
    def mismatched_groups(self) -> list[TokenGroup]:
        """Prompts with completions of others, for methods that need them."""
        groups = [group.mismatched_group for group in self.all_groups]
        return [group for group in groups if group is not None]

    @property
    def is_weighted(self) -> bool:
        """True if some tokens count more than others."""
        return any(group.weights for group in self.all_groups)

    def lines(self) -> Iterator[str]:
        """Lines of all reports for the console."""
        for name, report in self.reports.items():
            yield from report.lines(name)
        if self.check is not None:
            yield from self.check.lines()


def read_data(settings: DataSettings, *, show_progress: bool = False) -> tuple[LoadedGroups, LoadedGroups | None]:
    """Read training data, and held-out data if the settings name some.

    Raises:
        DataError: data that cannot be read or used.
    """

    def read(sources: Sequence[str], split: str | None) -> LoadedGroups:
        return load_groups(
            sources,
            split=split,
            format=settings.format,
            columns=settings.columns,
            extra_scores=[name for name in settings.auxiliary if name != LENGTH],
            where=settings.where,
            on_bad_row=settings.on_bad_row,
            show_progress=show_progress,
        )

    train = read(settings.data, settings.split)
    return train, read(settings.eval_data, settings.eval_split) if settings.eval_data else None


def prepare_data(
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    *,
    context: int | None = None,
    checks: bool = False,
    show_progress: bool = False,
    checking: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> PreparedData:
    """Read, check, split and tokenize the data of a run.

    Args:
        max_length: Maximum tokens of prompt + completion; None for no limit.
        context: Positions of the model, in which prompts of samples must leave room; None for no limit.
        checking: Context of the data check, which may name it on the screen.
    Raises:
        DataError, TokenizerError: data that cannot be read, lack the method's feedback, or that the tokenizer cannot
            handle.
    """
    train, held_out = read_data(config.data, show_progress=show_progress)
    parts = _parts(config, train, held_out)
    with checking():
        check = _checked(config, tokenizer, train, parts, max_length=max_length) if checks else None
    prepared = _tokenized(config, tokenizer, parts, max_length=max_length, show_progress=show_progress)
    groups = {name: part.tokenized.groups for name, part in prepared.items()}
    mixture = mixture_of(config.data, train, groups["train"], seed=config.steps.seed)
    chat = config.model.chat_choice
    samples = config.samples.on(Arithmetic.of(config.model).device.type)
    prompts = sample_prompts(
        parts["held out"] or parts["train"],
        tokenizer,
        chat,
        count=samples.num_prompts,
        best_effort=True,  # tokenizing the data for training says what is wrong with them
        longest=None if context is None else context - samples.sample_tokens,
    )
    return PreparedData(
        groups["train"],
        groups.get("held out", []),
        _reports(config, {"train": train, "held out": held_out}, parts, prepared, mixture),
        mixture,
        drawn_in(mixture, config.steps, len(groups["train"])),
        check,
        prompts.prompts,
        ChatFormat.of(tokenizer, chat).line(group.prompt for part in parts.values() for group in part),
    )


def microbatch_budget(groups: Sequence[TokenGroup], layout: Layout, wanted: int | None) -> int:
    """The token budget of a micro-batch: `wanted`, else the default or the size of the biggest group.

    Raises:
        ConfigError: a group is bigger than `wanted`.
    """
    needs = [MicroBatchShape().with_group(size).num_tokens(layout) for size in sizes_of(groups)]
    biggest = max(range(len(needs)), key=needs.__getitem__)
    if wanted is None:
        return max(_DEFAULT_BUDGET, needs[biggest])
    if needs[biggest] > wanted:
        too_big = sum(need > wanted for need in needs)
        raise ConfigError(
            [
                f"max_tokens_per_microbatch = {wanted:,}: {too_big:,} of {len(groups):,} prompts need more, the "
                f"biggest ({groups[biggest].origin}) {needs[biggest]:,} tokens, and a prompt cannot be cut "
                f"apart from its completions. Set it to {needs[biggest]:,} or more, or lower max_length."
            ]
        )
    return wanted


def _parts(config: TrainConfig, train: LoadedGroups, held_out: LoadedGroups | None) -> dict[str, list[PromptGroup]]:
    if config.data.eval_fraction:
        learned, kept = split_by_prompt(train.groups, config.data.eval_fraction, seed=config.steps.seed)
        return {"train": learned, "held out": kept}
    return {"train": train.groups, "held out": held_out.groups if held_out else []}


def _tokenized(
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    parts: Mapping[str, list[PromptGroup]],
    *,
    max_length: int | None,
    show_progress: bool,
) -> dict[str, MethodGroups]:
    """Token groups of each part that has rows, by its name. Only training prompts are capped."""
    pipeline = TokenPipeline.of(
        config.data, tokenizer, config.model.chat_choice, max_length=max_length, show_progress=show_progress
    )
    return {
        name: pipeline.for_method(
            groups,
            config.method,
            rule=PairRule(config.data.pairing, config.data.min_score_gap),
            max_per_prompt=config.data.max_per_prompt if name == "train" else None,
            seed=config.steps.seed,
        )
        for name, groups in parts.items()
        if groups
    }


def _reports(
    config: TrainConfig,
    sources: Mapping[str, LoadedGroups | None],
    parts: Mapping[str, Sequence[PromptGroup]],
    prepared: Mapping[str, MethodGroups],
    mixture: Mixture | None,
) -> dict[str, PartReport]:
    """Report of each part, by its name."""
    reports = {name: PartReport.of(sources[name], part) for name, part in prepared.items()}
    if config.data.eval_fraction:
        share = _share_text(config.data.eval_fraction, parts)
        reports["held out"] = replace(reports["held out"], notes=(share, *reports["held out"].notes))
    reports["train"] = replace(
        reports["train"],
        warnings=tuple(data_warnings(config.method, reports["train"])),
        mix=mix_lines(config.data, mixture),
    )
    return reports


def _share_text(fraction: float, parts: Mapping[str, Sequence[PromptGroup]]) -> str:
    """The share that was asked for, and the number of prompts held out."""
    learned, kept = (len({normalised_prompt(group.prompt) for group in groups}) for groups in parts.values())
    return f"asked {100 * fraction:.3g} %, got {kept:,} of {kept + learned:,} prompts"


def _checked(
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    train: LoadedGroups,
    parts: Mapping[str, list[PromptGroup]],
    *,
    max_length: int | None,
) -> DataCheck:
    return check_data(
        train,
        parts["train"],
        parts["held out"],
        config.data.data,
        tokenizer=tokenizer,
        chat=config.model.chat_choice,
        max_length=max_length,
        seed=config.steps.seed,
    )


def data_warnings(method: Method, report: PartReport) -> Iterator[str]:
    """Problems of the method with a part of the data."""
    for part in method.parts:
        if part.name == "kto":
            weights = (float(part.options[name]) for name in ("desirable_weight", "undesirable_weight"))
            problem = kto_weight_problem(report.num_desirable, report.num_undesirable, *weights)
            if problem:
                yield problem


def mixture_of(
    settings: DataSettings, loaded: LoadedGroups, groups: Sequence[TokenGroup], *, seed: int
) -> Mixture | None:
    """The mixture of the settings; None if they use all of each source.

    Raises:
        ConfigError: a source would have no prompt in an epoch.
        DataError: a row is in two of the sources.
    """
    if not settings.mix:
        return None
    sources = _sources_by_origin(settings.data, loaded)
    members: list[list[int]] = [[] for _ in settings.data]
    for index, group in enumerate(groups):
        members[sources[group.origin]].append(index)
    return Mixture.of(members, settings.mix, settings.data, num_groups=settings.prompts_per_epoch, seed=seed)


def mix_lines(settings: DataSettings, mixture: Mixture | None) -> tuple[str, ...]:
    """A line for each source with its number of prompts per epoch."""
    if mixture is None:
        return ()
    return tuple(
        f"{name}: {count:,} of {size:,} prompts per epoch"
        for name, count, size in zip(settings.data, mixture.counts, mixture.sizes, strict=True)
    )


def drawn_in(mixture: Mixture | None, steps: StepSettings, num_groups: int) -> Sequence[int]:
    """Indices of the groups that any epoch of the run may hold."""
    if mixture is None:
        return range(num_groups)
    epochs = steps.epochs
    if steps.max_steps is not None:  # a group counts at least 1, so an epoch has at least so many steps
        epochs = steps.max_steps / math.ceil(sum(mixture.counts) / steps.batch_size)
    return sorted({index for epoch in range(math.ceil(epochs)) for index in mixture.draw(epoch)})


def _sources_by_origin(names: Sequence[str], loaded: LoadedGroups) -> dict[Origin, int]:
    found: dict[Origin, int] = {}
    start = 0
    for source, number in enumerate(loaded.num_by_source):
        for group in loaded.groups[start : start + number]:
            if found.setdefault(group.origin, source) != source:
                raise DataError(
                    f"{group.origin}: the row is in {names[found[group.origin]]} and in {names[source]}, so its weight "
                    "in the mix is not clear. Name each file in one data source only."
                )
        start += number
    return found
