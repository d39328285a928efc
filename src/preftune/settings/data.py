"""Settings of the data, and conditions on rows such as `score_ratio>=2` or `lang=en`."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Method
from preftune.settings.setting import setting

__all__ = ["COMPARISONS", "Condition", "DataSettings", "finite_number"]

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(rf"\s*([^<>=!]+?)\s*({'|'.join(COMPARISONS)})\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column must hold.

    Numbers are compared as numbers, all else as text; a column that is blank holds the text of nothing, which is
    neither greater nor less than anything. Truth values are `true` and `false`.

    Args:
        column: The file's own name of the column.
        comparison: One of >=, <=, !=, =, > and <.
        value: What the column is compared with.
    """

    column: str
    comparison: str
    value: str

    @staticmethod
    def parse(text: str) -> "Condition":
        """The condition that a text such as `score_ratio>=2` states.

        Raises:
            ConfigError: it states none, or compares by size with what is no number.

        >>> Condition.parse("lang = en")
        Condition(column='lang', comparison='=', value='en')
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ConfigError(
                [f"where = {text!r}: must be a column, one of {' '.join(COMPARISONS)} and a value, such as lang=en."]
            )
        condition = Condition(*found.groups())
        if condition.by_size and finite_number(condition.value) is None:
            raise ConfigError(
                [f"where = {text!r}: {condition.value!r} is no finite number, so nothing is more or less."]
            )
        return condition

    @property
    def by_size(self) -> bool:
        """Whether it says how great a number must be."""
        return self.comparison not in ("=", "!=")

    def __str__(self) -> str:
        return f"{self.column}{self.comparison}{self.value}"


def finite_number(text: str) -> float | None:
    """The number that a text states, or None if it states none, NaN or infinity."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Data"""

    data: list[str] = setting(MISSING, "Preference data: files, folders, presets such as hh, or hub ids.")
    mix: list[float] = setting(
        [], "Weight of each data source in an epoch, in their order, such as 0.7 and 0.3. Default: all of each."
    )
    prompts_per_epoch: int | None = setting(
        None, "Prompts of an epoch of a mix. Default: as many as there can be if none comes twice in it."
    )
    max_per_prompt: int | None = setting(
        None, "Most pairs, completions or lists to learn from per prompt. Others are left out, by the seed."
    )
    split: str | None = setting(None, "Split of a hub data set or saved `datasets` folder, such as train.")
    format: str | None = setting(None, "Layout of the rows. Default: recognised by the columns.")
    columns: Mapping[str, str] = setting({}, "Names of the columns in the data, such as chosen=better.")
    where: list[str] = setting(
        [], "What a column must hold, such as 'score_ratio>=2' or lang=en; other rows are left out."
    )
    on_bad_row: Literal["error", "skip"] = setting(
        "error", "What to do with a row that cannot be used; skipped rows are counted and listed."
    )
    pairing: Literal["given", "all", "best_vs_worst", "adjacent"] | None = setting(
        None,
        "Where pairs come from: given with the data, or made of scores: all with different ones, the best and the "
        "worst, or neighbours in their order. Default: given where there are any, else all.",
    )
    min_score_gap: float = setting(0.0, "Least difference of two scores that makes a pair, on the data's scale.")
    auxiliary: Mapping[str, float] = setting(
        {}, "Further scores of completions to learn from, with weights, such as safety=0.5; length: number of tokens."
    )
    token_weights: Literal["data", "from_first_difference"] = setting(
        "data", "Which tokens count: as the data say, or only those from where chosen and rejected part."
    )
    eval_data: list[str] = setting([], "Held-out data: files, folders or hub ids.")
    eval_split: str | None = setting(None, "Split of the held-out data.")
    eval_fraction: float = setting(0.0, "Share of the prompts to hold out where there is no eval_data.")
    max_length: int | None = setting(
        None, "Longest prompt + completion, in tokens. Default: what the model's positions allow."
    )
    too_long: Literal["cut", "drop", "error"] = setting(
        "cut", "What to do beyond max_length; cut: the prompt from the left, then ends of completions."
    )
    num_processes: int = setting(1, "Processes that tokenize.")
    check_data: bool = setting(
        True, "Look for what is wrong with the data, in 20,000 rows at most, and write it to data-check.json."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if not self.data:
            yield "data: is empty. Give a file, a folder or a hub id with --data."
        if not 0 <= self.eval_fraction < 1:
            yield f"eval_fraction = {self.eval_fraction}: is a share of the prompts and must be in [0, 1)."
        if self.eval_fraction and self.eval_data:
            yield "eval_fraction and eval_data: both say what is held out. Give one of them."
        if self.max_length is not None and self.max_length < 2:
            yield f"max_length = {self.max_length}: must be at least 2, a prompt token and a completion token."
        if self.num_processes < 1:
            yield f"num_processes = {self.num_processes}: must be at least 1."
        yield from self._score_problems()
        yield from self._mix_problems()
        for condition in self.where:
            try:
                Condition.parse(condition)
            except ConfigError as error:
                yield from error.problems

    def _mix_problems(self) -> Iterator[str]:
        if self.mix and len(self.mix) != len(self.data):
            yield f"mix: has {len(self.mix)} weights for {len(self.data)} data sources. Give one for each."
        if len(set(self.data)) < len(self.data) and self.mix:
            yield "mix: a data source is named twice. Name each once, with its whole weight."
        for weight in self.mix:
            if not (math.isfinite(weight) and weight > 0):
                yield f"mix = {weight:g}: is a weight and must be above 0. Leave out data that are not wanted."
        for name, value in {"prompts_per_epoch": self.prompts_per_epoch, "max_per_prompt": self.max_per_prompt}.items():
            if value is not None and value < 1:
                yield f"{name} = {value}: must be at least 1."
        if self.prompts_per_epoch is not None and not self.mix:
            yield f"prompts_per_epoch = {self.prompts_per_epoch}: is the size of a mix. Set mix, or leave it out."

    def _score_problems(self) -> Iterator[str]:
        if not (math.isfinite(self.min_score_gap) and self.min_score_gap >= 0):
            yield f"min_score_gap = {self.min_score_gap}: must be a number of at least 0."
        elif self.min_score_gap and self.pairing == "given":
            yield (
                f"min_score_gap = {self.min_score_gap:g}: pairs that are given are kept whatever their scores. Set "
                "pairing to all, best_vs_worst or adjacent, or leave the gap out."
            )
        for name, weight in self.auxiliary.items():
            if not (math.isfinite(weight) and weight):
                yield f"auxiliary: the weight of {name} is {weight:g}. It must be a number other than 0."

    def problems_with(self, method: Method) -> Iterator[str]:
        """What a method has no use for, one text each."""
        learns = f"method {method.name} learns from {method.feedback}"
        if method.feedback not in ("pairs", "thumbs"):
            if self.pairing is not None:
                yield f"pairing = {self.pairing}: {learns}, which nothing pairs. Leave it out."
            if self.min_score_gap:
                yield f"min_score_gap = {self.min_score_gap:g}: {learns}, which nothing pairs. Leave it out."
        not_tiltable = [part.name for part in method.parts if part.loss.needs_reference and not part.loss.tiltable]
        if self.auxiliary and (not_tiltable or not method.needs_reference):
            fitting = ", ".join(name for name, loss in LOSSES.items() if loss.tiltable)
            yield (
                f"auxiliary: a further reward moves margins against a reference, and method {method.name} is not a "
                f"function of these alone. Use one of {fitting}, or leave it out."
            )
        if self.auxiliary and method.options.get("divergence", "reverse_kl") != "reverse_kl":
            yield "auxiliary: needs divergence = reverse_kl, where a further reward tilts the reference. Leave one out."
        if self.token_weights == "from_first_difference" and method.feedback != "pairs":
            yield f"token_weights = from_first_difference: {learns}, of which none parts from another. Leave it out."

    @property
    def holds_out(self) -> bool:
        """Whether there is anything to evaluate on."""
        return bool(self.eval_data or self.eval_fraction)
