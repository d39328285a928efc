"""The labels of preference data, checked by a tuned model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from preftune.data.quality.texts import plain_text, shortened
from preftune.errors import ConfigError, DataError, ModelError
from preftune.evaluation.held_out import read_groups, tokens_of
from preftune.evaluation.label_noise import LabelNoise, label_noise
from preftune.evaluation.pairs import pair_indices
from preftune.groups import Origin, PromptGroup
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.model_size import context_length
from preftune.model.load.evaluated_models import load_models
from preftune.settings.evaluation_config import EvaluationConfig

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of the pairs for which the expected number of flips is reported."""


@dataclass(frozen=True, slots=True)
class CheckedPair:
    """A pair whose label was checked.

    Args:
        prompt, chosen, rejected: Excerpts; empty if texts are left out.
    """

    origin: Origin
    prompt: str = ""
    chosen: str = ""
    rejected: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class LabelCheck:
    """Result of a label check.

    Args:
        run: Folder of the run whose model was used.
        noise: Margins and flip probabilities. Row i is pair i.
        num_shown: Pairs to list, the likeliest flipped first.
    """

    run: str
    pairs: tuple[CheckedPair, ...]
    noise: LabelNoise
    num_shown: int = 20

    def expected_found(self) -> dict[int, float]:
        """Expected number of flipped labels among the first pairs of the ranking, by number of pairs."""
        counts = sorted({max(1, round(share * len(self.pairs))) for share in _SHARES})
        return {count: self.noise.expected_found(count) for count in counts}

    def as_dict(self) -> dict[str, Any]:
        """Result for JSON: all pairs that are likelier flipped than not, and at least `num_shown`."""
        noise = self.noise
        return {
            "run": self.run,
            "num_pairs": len(self.pairs),
            "flip_rate": noise.flip_rate,
            "flip_rate_95": list(noise.interval),
            "scale": noise.scale,
            "wrong": noise.wrong,
            "wrong_signs": [
                {"threshold": point.threshold, "num_pairs": point.num_pairs, "wrong": point.wrong}
                for point in noise.wrong_signs()
            ],
            "expected_found": [
                {"num_pairs": count, "flipped": flipped} for count, flipped in self.expected_found().items()
            ],
            "likeliest_flipped": [self._row(index) for index in self._listed()],
        }

    def table(self) -> Table:
        """The likeliest flipped labels for the console, under the estimated flip rate."""
        low, high = (f"{100 * end:.1f}" for end in self.noise.interval)
        title = (
            f"Labels that are likely flipped: {100 * self.noise.flip_rate:.1f} % ({low} to {high} %) of "
            f"{len(self.pairs):,} pairs"
        )
        table = Table(title=title, title_justify="left", title_style="bold", caption="\n".join(self._caption_lines()))
        table.caption_justify = "left"
        table.add_column("place", overflow="fold")
        table.add_column("margin", justify="right")
        table.add_column("p(flipped)", justify="right")
        has_texts = any(pair.prompt for pair in self.pairs)
        for heading in ("chosen", "rejected") if has_texts else ():
            table.add_column(heading, ratio=1)
        for index in self.noise.ranking[: self.num_shown].tolist():
            pair = self.pairs[index]
            margin, flipped = self.noise.margins[index].item(), self.noise.flipped[index].item()
            texts = (Text(pair.chosen), Text(pair.rejected)) if has_texts else ()
            table.add_row(Text(str(pair.origin)), f"{margin:+.2f}", f"{100 * flipped:.0f} %", *texts)
        return table

    def _caption_lines(self) -> Iterator[str]:
        yield f"{100 * self.noise.wrong:.1f} % of the margins have the wrong sign. By minimum size of the margin: " + (
            ", ".join(f"{point.threshold:.2f}: {100 * point.wrong:.1f} %" for point in self.noise.wrong_signs(5))
        )
        found = ", ".join(f"{flipped:.0f} in {count:,}" for count, flipped in self.expected_found().items())
        yield f"Flipped labels to expect in the first pairs: {found}."
        yield (
            "The ranking is more reliable than the flip rate: confident mistakes of the model count as flipped, and "
            "flips that it has memorised count as correct."
        )

    def _listed(self) -> list[int]:
        num_likely = int((self.noise.flipped > 0.5).sum())
        listed: list[int] = self.noise.ranking[: max(num_likely, self.num_shown)].tolist()
        return listed

    def _row(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        texts = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
        return {
            "source": pair.origin.source,
            "row": pair.origin.row,
            "margin": self.noise.margins[index].item(),
            "flipped": self.noise.flipped[index].item(),
            **{name: text for name, text in texts.items() if text},
        }


def check_labels(
    run: str | Path,
    data: str | Sequence[str],
    *,
    split: str | None = None,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    num_shown: int = 20,
    with_texts: bool = True,
    console: Console | None = None,
) -> LabelCheck:
    """Estimate how many labels are flipped, and rank the pairs by how likely theirs is.

    Each pair is judged by its margin: implicit reward of the chosen minus that of the rejected completion, of the run
    against the model that it began from, computed as `preftune eval` does. See `label_noise` for the estimates.

    Args:
        run: Folder of a run of a method with an implicit reward against a reference, such as dpo.
        data: Files, folders or data sets of the hub. Rows that cannot be used are left out.
        split, format, columns: As in `load_groups`.
        num_shown: Pairs to list.
        with_texts: Keep excerpts of the texts, not just places.
        console: Shows progress. Default: nothing is shown.
    Raises:
        ModelError: a model that cannot be loaded, or equals its reference.
    """
    given = {"split": split, "format": format, "columns": columns}
    config = EvaluationConfig.of(
        model=str(run),
        data=data,
        on_bad_row="skip",
        **{name: value for name, value in given.items() if value is not None},
    )
    problems = list(_problems(config))
    if problems:
        raise ConfigError(problems)
    groups = [group for group in read_groups(config).groups if group.pairs]
    if not groups:
        raise DataError("no prompt has two completions to compare, so there are no labels to judge. Give pairs.")
    pairs, margins = _margins(config, groups, console or Console(quiet=True))
    try:
        noise = label_noise(margins)
    except ValueError as error:
        raise ModelError(f"model = {run}: cannot judge labels. {error}") from None
    judged = tuple(_judged(group, number, with_texts=with_texts) for group, number in pairs)
    return LabelCheck(str(run), judged, noise, num_shown)


def _margins(
    config: EvaluationConfig, groups: Sequence[PromptGroup], console: Console
) -> tuple[list[tuple[PromptGroup, int]], Tensor]:
    """The pairs, as group and number in it, and their margins. Pairs that are too long for the model are left out."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    models = load_models(config, Arithmetic.of(config.model), show_progress=console.is_terminal and not console.quiet)
    say(models.reason)
    tokens, notes = tokens_of(groups, models.tokenizer, config, context_length(models.policy.config))
    for note in notes:
        say(note)
    models.check_fits(tokens)
    assert models.reward is not None, "a run whose reward needs a reference has one"
    rewards = models.reward.of(models.kept_logps(tokens, say)).double()
    chosen, rejected = pair_indices(tokens).unbind(1)
    by_origin = {group.origin: group for group in groups}
    pairs = [(by_origin[group.origin], number) for group in tokens for number in range(len(group.pairs))]
    return pairs, rewards[chosen] - rewards[rejected]


def _problems(config: EvaluationConfig) -> Iterator[str]:
    """Reasons why the run cannot judge labels."""
    run, name = config.run, config.model.model
    if run is None:
        yield f"model = {name}: is not the folder of a run. Name the --output of `preftune train`."
        return
    part = run.method.rewarding
    if part is None or part.loss.reward not in ("logratio", "mean_logratio"):
        yield (
            f"model = {name}: method {run.method.name} has no implicit reward against a reference, so the run cannot "
            "judge labels. Name a run of dpo or another method that `preftune methods` lists with a reference."
        )
    if run.model.moves_reference:
        yield (
            f"model = {name}: the reference moved with the policy (reference_sync), so the run does not say what it "
            "has learned since its start. Name a run without reference_sync."
        )
    if run.data.auxiliary:
        yield (
            f"model = {name}: the run was also trained on further rewards (auxiliary), and the labels say nothing "
            "about them. Name a run without auxiliary."
        )


def _judged(group: PromptGroup, number: int, *, with_texts: bool) -> CheckedPair:
    if not with_texts:
        return CheckedPair(group.origin)
    pair = group.pairs[number]
    texts = (group.prompt, group.completions[pair.chosen].content, group.completions[pair.rejected].content)
    return CheckedPair(group.origin, *(shortened(plain_text(text)) for text in texts))
