"""From the data settings of a run to the token groups it learns from and is held to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from preftune.data import LoadedGroups, TokenizedGroups, load_groups, split_by_prompt, tokenize_groups
from preftune.data.feedback import groups_for
from preftune.data.token_group import TokenGroup
from preftune.errors import ConfigError, DataError
from preftune.groups import PromptGroup
from preftune.losses import Feedback
from preftune.planning import Layout, MicroBatchShape, sizes_of
from preftune.training.config import DataSettings, TrainConfig

__all__ = ["PartReport", "PreparedData", "microbatch_budget", "prepare_data", "read_data"]

_DEFAULT_BUDGET = 8192
_SHOWN_PLACES = 3


@dataclass(frozen=True, slots=True)
class PartReport:
    """What became of one part of the data: training or held out.

    Args:
        num_prompts: Prompts that are learned from or held out.
        num_tokens: Their tokens, each prompt counted once.
        skipped: Rows left out because they could not be used, each with its place and problem.
        dropped, prompts_cut, completions_cut: Places of what was too long.
        equal_pairs: Places of pairs whose two completions became the same tokens, and teach nothing.
    """

    num_prompts: int
    num_tokens: int
    skipped: tuple[str, ...]
    dropped: tuple[str, ...]
    prompts_cut: tuple[str, ...]
    completions_cut: tuple[str, ...]
    equal_pairs: tuple[str, ...]

    @staticmethod
    def of(loaded: LoadedGroups | None, tokenized: TokenizedGroups) -> "PartReport":
        """The report on tokenized groups and the rows that they come from."""
        report = tokenized.report
        return PartReport(
            num_prompts=len(tokenized.groups),
            num_tokens=sum(size.packed_tokens for size in sizes_of(tokenized.groups)),
            skipped=tuple(map(str, loaded.skipped)) if loaded else (),
            dropped=tuple(map(str, report.dropped)),
            prompts_cut=tuple(map(str, report.prompts_cut)),
            completions_cut=tuple(map(str, report.completions_cut)),
            equal_pairs=tuple(map(str, report.equal_pairs)),
        )

    def lines(self, name: str) -> Iterator[str]:
        """The report for the console: counts, and the first places of each kind."""
        yield f"{name}: {self.num_prompts:,} prompts, {self.num_tokens:,} tokens"
        losses = {
            "rows could not be used and were left out": self.skipped,
            "prompts were too long and were left out": self.dropped,
            "prompts were too long and were cut from the left": self.prompts_cut,
            "completions were too long and lost their end": self.completions_cut,
            "pairs became equal in tokens and teach nothing": self.equal_pairs,
        }
        for what, places in losses.items():
            if places:
                more = "" if len(places) <= _SHOWN_PLACES else ", ..."
                yield f"  {len(places):,} {what}: {', '.join(places[:_SHOWN_PLACES])}{more}"


@dataclass(frozen=True, slots=True)
class PreparedData:
    """What a run learns from and is held to, and what was left out or cut on the way."""

    train: list[TokenGroup]
    held_out: list[TokenGroup]
    reports: Mapping[str, PartReport]

    @property
    def all_groups(self) -> list[TokenGroup]:
        """Training and held-out groups."""
        return [*self.train, *self.held_out]

    def lines(self) -> Iterator[str]:
        """The reports for the console."""
        for name, report in self.reports.items():
            yield from report.lines(name)


def read_data(settings: DataSettings, *, show_progress: bool = False) -> tuple[LoadedGroups, LoadedGroups | None]:
    """Training data, and held-out data where the settings name some.

    Raises:
        DataError: data that cannot be read or used.
    """

    def read(sources: Sequence[str], split: str | None) -> LoadedGroups:
        return load_groups(
            sources,
            split=split,
            format=settings.format,
            columns=settings.columns,
            on_bad_row=settings.on_bad_row,
            show_progress=show_progress,
        )

    train = read(settings.data, settings.split)
    return train, read(settings.eval_data, settings.eval_split) if settings.eval_data else None


def prepare_data(
    config: TrainConfig, tokenizer: PreTrainedTokenizerBase, max_length: int | None, *, show_progress: bool = False
) -> PreparedData:
    """Read, split and tokenize the data of a run.

    Args:
        config: The settings of the run.
        tokenizer: The model's.
        max_length: Longest prompt + completion, in tokens; None: no bound.
        show_progress: Whether to show progress bars.
    Raises:
        DataError, TokenizerError: data that cannot be read, or that the tokenizer cannot handle.
    """
    train, held_out = read_data(config.data, show_progress=show_progress)
    parts: dict[str, list[PromptGroup]] = {"train": train.groups, "held out": held_out.groups if held_out else []}
    if config.data.eval_fraction:
        parts["train"], parts["held out"] = split_by_prompt(
            train.groups, config.data.eval_fraction, seed=config.steps.seed
        )
    tokenized = {
        name: _tokenize(groups, config, tokenizer, max_length, show_progress=show_progress)
        for name, groups in parts.items()
        if groups
    }
    groups = {name: part.groups for name, part in tokenized.items()}
    if not groups["train"]:
        raise DataError(
            f"no training prompt is left: all {len(parts['train']):,} are longer than max_length = {max_length:,} "
            "tokens. Raise --max-length, or cut them with --too-long cut."
        )
    sources = {"train": train, "held out": held_out}
    return PreparedData(
        groups["train"],
        groups.get("held out", []),
        {name: PartReport.of(sources[name], part) for name, part in tokenized.items()},
    )


def microbatch_budget(groups: Sequence[TokenGroup], layout: Layout, wanted: int | None) -> int:
    """The token budget of a micro-batch: as wanted, else the default or as much as the biggest group needs.

    Raises:
        ConfigError: a group is bigger than the budget that is wanted.
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


def _tokenize(
    groups: Sequence[PromptGroup],
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    *,
    show_progress: bool,
) -> TokenizedGroups:
    feedback: Feedback = config.method.loss.feedback
    return tokenize_groups(
        groups_for(feedback, groups),
        tokenizer,
        max_length=max_length,
        too_long=config.data.too_long,
        num_processes=config.data.num_processes,
        show_progress=show_progress,
    )
