"""Settings of the data, and conditions on rows such as `score_ratio>=2` or `lang=en`."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar, Literal

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Method
from preftune.settings.setting import Section, setting

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
    """A comparison of a column with a value.

    Numbers are compared as numbers, everything else as text. An empty column is compared as the empty text, and is
    neither greater nor less than any value. Booleans are `true` and `false`.

    Args:
        column: Name of the column in the file.
        comparison: One of >=, <=, !=, =, > and <.
        value: Value to compare with.
    """

    column: str
    comparison: str
    value: str

    @staticmethod
    def parse(text: str) -> "Condition":
        """The condition in a text such as `score_ratio>=2`.

        Raises:
            ConfigError: The text is no condition, or compares by size with something that is not a finite number.

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
                [f"where = {text!r}: {condition.value!r} is not a finite number, so nothing is more or less than it."]
            )
        return condition

    @property
    def by_size(self) -> bool:
        """True for a comparison of numbers by size."""
        return self.comparison not in ("=", "!=")

    def __str__(self) -> str:
        return f"{self.column}{self.comparison}{self.value}"


def finite_number(text: str) -> float | None:
    """The number in a text. None for other texts, NaN and infinity."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings(Section):
    """The preference data: rows, pairs, mix, held-out part and length limit."""

    title: ClassVar[str] = "Data"

    data: list[str] = setting(
        MISSING,
        "Preference data: files, folders, presets such as hh, or hub ids.",
        decides="data",
        used_by=("eval", "convert"),
        is_path=True,
    )
    mix: list[float] = setting(
        [],
        "Weight of each data source in an epoch, in order, such as 0.7 and 0.3. Default: all rows of every source.",
        decides="mix",
        within="(0, inf)",
        because="as a weight; leave out data that are not wanted",
    )
    prompts_per_epoch: int | None = setting(
        None,
        "Number of prompts in an epoch of a mix. Default: as many as possible without repeating any.",
        decides="mix",
        within="[1, inf)",
    )
    max_per_prompt: int | None = setting(
        None,
        "Maximum number of pairs, completions or lists per prompt, chosen at random. Default: no limit.",
        within="[1, inf)",
    )
    split: str | None = setting(
        None,
        "Split of a hub data set or saved `datasets` folder, such as train.",
        decides="data",
        used_by=("eval", "check", "clean", "convert"),
    )
    format: str | None = setting(
        None,
        "Format of the rows (`preftune formats`). Default: detected from the columns.",
        decides="data",
        used_by=("eval", "check", "clean", "convert"),
    )
    columns: Mapping[str, str] = setting(
        {},
        "Column names in the data, such as chosen=better.",
        decides="data",
        used_by=("eval", "check", "clean", "convert"),
    )
    where: list[str] = setting(
        [],
        "Use only rows that meet a condition on a column, such as 'score_ratio>=2' or lang=en.",
        decides="data",
        used_by=("eval", "check", "convert"),
    )
    on_bad_row: Literal["error", "skip"] = setting(
        "error", "Unusable rows: stop with an error, or skip, count and list them.", used_by=("eval", "convert")
    )
    pairing: Literal["given", "all", "best_vs_worst", "adjacent"] | None = setting(
        None,
        "Pairs: given in the data, or made from scores: all that differ, best and worst, or adjacent in rank. "
        "Default: given if there are any, else all.",
        decides="data",
        used_by=("eval", "convert"),
        from_run=True,
        for_preferences=True,
    )
    min_score_gap: float = setting(
        0.0,
        "Minimum difference of two scores that makes a pair, in units of the scores.",
        decides="data",
        within="[0, inf)",
        used_by=("eval", "convert"),
        from_run=True,
        for_preferences=True,
    )
    auxiliary: Mapping[str, float] = setting(
        {},
        "Weights of auxiliary scores to learn from, such as safety=0.5; length is the number of tokens.",
        for_preferences=True,
    )
    token_weights: Literal["data", "from_first_difference"] = setting(
        "data",
        "Token weights: those of the data, or 0 before the first token at which chosen and rejected differ.",
        for_preferences=True,
    )
    eval_data: list[str] = setting(
        [], "Held-out data: files, folders or hub ids.", decides="held out", used_by=("check",), is_path=True
    )
    eval_split: str | None = setting(None, "Split of the held-out data.", decides="held out")
    eval_fraction: float = setting(
        0.0,
        "Share of the prompts to hold out, in [0, 1), instead of eval_data.",
        decides="held out",
        within="[0, 1)",
        because="as a share of the prompts",
    )
    max_length: int | None = setting(
        None,
        "Maximum length of prompt + completion, in tokens. Default: the model's number of positions.",
        decides="longest",
        within="[2, inf)",
        because="for a prompt token and a completion token",
        used_by=("eval", "check"),
        from_run=True,
    )
    too_long: Literal["cut", "drop", "error"] = setting(
        "cut",
        "Text beyond max_length: cut (prompts from the left, then completions from the right), drop, or error.",
        used_by=("eval",),
        from_run=True,
    )
    num_processes: int = setting(
        1, "Number of processes for tokenization.", changes="speed", within="[1, inf)", used_by=("eval",)
    )
    check_data: bool = setting(
        True, "Check up to 20,000 rows for problems and write them to data-check.json.", changes="output"
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.data:
            yield "data: is empty. Give a file, a folder or a hub id with --data."
        if self.eval_fraction and self.eval_data:
            yield "eval_fraction and eval_data: both say what is held out. Give one of them."
        if self.min_score_gap > 0 and self.pairing == "given":
            yield (
                f"min_score_gap = {self.min_score_gap:g}: given pairs are kept with any scores. Set pairing to "
                "all, best_vs_worst or adjacent, or leave the gap out."
            )
        for name, weight in self.auxiliary.items():
            if not (math.isfinite(weight) and weight):
                yield f"auxiliary: the weight of {name} is {weight:g}. It must be a number other than 0."
        yield from self._mix_conflicts()
        for condition in self.where:
            try:
                Condition.parse(condition)
            except ConfigError as error:
                yield from error.problems

    def _mix_conflicts(self) -> Iterator[str]:
        if self.mix and len(self.mix) != len(self.data):
            yield f"mix: has {len(self.mix)} weights for {len(self.data)} data sources. Give one for each."
        if len(set(self.data)) < len(self.data) and self.mix:
            yield "mix: a data source is named twice. Name each once, with its total weight."
        if self.prompts_per_epoch is not None and not self.mix:
            yield f"prompts_per_epoch = {self.prompts_per_epoch}: is the size of a mix. Set mix, or leave it out."

    def problems_with(self, method: Method) -> Iterator[str]:
        """Messages about settings that the method has no use for."""
        learns = f"method {method.name} learns from {method.feedback}"
        if method.feedback not in ("pairs", "thumbs"):
            if self.pairing is not None:
                yield f"pairing = {self.pairing}: {learns}, which need no pairing. Leave it out."
            if self.min_score_gap:
                yield f"min_score_gap = {self.min_score_gap:g}: {learns}, which need no pairing. Leave it out."
        not_tiltable = [part.name for part in method.parts if part.loss.needs_reference and not part.loss.tiltable]
        if self.auxiliary and (not_tiltable or not method.needs_reference):
            fitting = ", ".join(name for name, loss in LOSSES.items() if loss.tiltable)
            yield (
                f"auxiliary: a further reward shifts margins against a reference, and method {method.name} is not a "
                f"function of these alone. Use one of {fitting}, or leave it out."
            )
        if self.auxiliary and method.options.get("divergence", "reverse_kl") != "reverse_kl":
            yield "auxiliary: needs divergence = reverse_kl, where a further reward tilts the reference. Leave one out."
        if self.token_weights == "from_first_difference" and method.feedback != "pairs":
            yield (
                f"token_weights = from_first_difference: {learns}, and only the two sides of a pair can differ. Leave "
                "it out."
            )

    @property
    def holds_out(self) -> bool:
        """True if there is anything to evaluate on."""
        return bool(self.eval_data or self.eval_fraction)
