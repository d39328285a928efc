"""Settings of an evaluation, all checked at once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_origin

from preftune.errors import ConfigError
from preftune.files.json_files import read_json_object, write_json
from preftune.files.run_files import CHAT, CONFIG, is_checkpoint, is_run
from preftune.metrics.intervals import Bootstrap
from preftune.settings.chat import ChatChoice
from preftune.settings.config import build_section, build_sections, expanded, names_of, unknown_settings
from preftune.settings.data import DataSettings
from preftune.settings.evaluation_sections import (
    IntervalSettings,
    JudgeSettings,
    MemorySettings,
    ReferenceSettings,
    ResultSettings,
    SampleSettings,
)
from preftune.settings.sampling import Sampling
from preftune.settings.sections import ModelSettings
from preftune.settings.setting import Section, Setting, settings_for
from preftune.settings.train_config import TrainConfig

SECTIONS: Mapping[str, type[Section]] = {
    "reference": ReferenceSettings,
    "samples": SampleSettings,
    "judge": JudgeSettings,
    "intervals": IntervalSettings,
    "memory": MemorySettings,
    "result": ResultSettings,
}
"""Sections that only an evaluation has, in the order of help texts."""

_HELP = {
    "model": "The model: hub id, local folder, or folder of a run, a checkpoint or an adapter.",
    "data": "Held-out preferences: files, folders, presets or hub ids. Default: the held-out data of a run.",
    "weights_dtype": "Data type of the weights; auto: as saved. Default: as in the run, else auto.",
    "precision": "Data type of computations (autocast). Default: as in the run, else bf16 on a GPU that supports it.",
}


def _shared(section: type[Section]) -> tuple[Setting, ...]:
    """Settings of training that an evaluation takes. None of them must be given: a run brings its own."""
    items = settings_for("eval", section, help=_HELP)
    return tuple(replace(item, default=[] if get_origin(item.type) is list else None) for item in items)


_MAX_NEW_TOKENS = 256

MODEL, DATA = _shared(ModelSettings), _shared(DataSettings)
_FROM_RUN = tuple(item.name for item in (*MODEL, *DATA) if item.from_run)
_CHAT = ("chat", "chat_template_kwargs")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """The settings of an evaluation. Flags and Python calls are flat: names and values without sections.

    Args:
        model: The evaluated model, and how it is loaded.
        run: Settings of the run that produced the model, or None.
        data: The held-out preferences; None for those of the run, or for an evaluation without any.
        reference, samples, judge, intervals, memory, result: Sections of an evaluation.

    >>> config = EvaluationConfig.of(model="gpt2", data="held-out.jsonl", reference="distilgpt2", beta=0.5)
    >>> config.reference.beta, config.num_samples
    (0.5, 0)
    """

    model: ModelSettings
    run: TrainConfig | None
    data: DataSettings | None
    reference: ReferenceSettings
    samples: SampleSettings
    judge: JudgeSettings
    intervals: IntervalSettings
    memory: MemorySettings
    result: ResultSettings

    @staticmethod
    def of(**settings: Any) -> "EvaluationConfig":
        """The config of some settings of all sections, by name.

        Raises:
            ConfigError: Everything that cannot work, all at once.
        """
        known = [item.name for item in (*MODEL, *DATA)] + names_of(SECTIONS.values())
        problems = list(unknown_settings(settings, known, command="eval"))
        model = settings.get("model")
        place = expanded(model) if isinstance(model, str) else ""
        run = run_of(place)
        inherited = chat_of(place) if run is None else {name: run.flat()[name] for name in _FROM_RUN}
        values = {"weights_dtype": "auto", **inherited, **settings}
        built = build_section(ModelSettings, _part(values, MODEL), problems)
        has_data = bool(settings.get("data"))
        data = build_section(DataSettings, _part(values, DATA), problems) if has_data else None
        sections = build_sections(SECTIONS, settings, problems)
        if not problems:
            config = EvaluationConfig(model=built, run=run, data=data, **sections)
            problems += config._problems()
        if problems:
            raise ConfigError(problems)
        return config

    @property
    def num_samples(self) -> int:
        """Completions per prompt for KL, entropy, lengths and win rates."""
        if self.samples.samples is not None:
            return self.samples.samples
        return 1 if self.judge.judge is not None else 0

    def max_new_tokens(self, context: int | None = None) -> int:
        """The setting, or a default that fits into `context`, the positions of a model; None: no limit.

        >>> config = EvaluationConfig.of(model="gpt2", data="held-out.jsonl")
        >>> config.max_new_tokens(), config.max_new_tokens(1024), config.max_new_tokens(256)
        (256, 256, 128)
        """
        if self.samples.max_new_tokens is not None:
            return self.samples.max_new_tokens
        return _MAX_NEW_TOKENS if context is None else max(1, min(_MAX_NEW_TOKENS, context // 2))

    @property
    def draws(self) -> bool:
        """True if any samples are drawn."""
        return self.num_samples > 0 or self.samples.best_of is not None

    @property
    def bootstrap(self) -> Bootstrap:
        """Settings of the intervals."""
        return Bootstrap(
            num_resamples=self.intervals.resamples, confidence=self.intervals.confidence, seed=self.samples.seed
        )

    def sampling(
        self,
        temperature: float | None = None,
        *,
        num_samples: int | None = None,
        role: Literal["policy", "opponent", "best"] = "policy",
    ) -> Sampling:
        """Settings of the samples: for the judge at a temperature, else from the model's own distribution.

        Completions that are compared are drawn with different seeds. With the same random numbers two similar models
        draw the same texts and tie more often than they should.
        """
        for_judge = temperature is not None
        return Sampling(
            max_new_tokens=self.max_new_tokens(),
            temperature=1.0 if temperature is None else temperature,
            top_p=self.samples.top_p if for_judge else 1.0,
            top_k=self.samples.top_k if for_judge else 0,
            num_samples=num_samples or self.num_samples,
            seed=self.samples.seed + ("policy", "opponent", "best").index(role),
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the preferences and prompts that are read."""
        settings = self.run.data if self.data is None and self.run is not None else self.data
        named = () if settings is None or not self.has_data else tuple(settings.eval_data or settings.data)
        return named if self.samples.prompts is None else (*named, self.samples.prompts)

    @property
    def has_data(self) -> bool:
        """True if there are preferences to evaluate on."""
        return self.data is not None or (self.run is not None and self.run.data.holds_out)

    @property
    def result_file(self) -> Path | None:
        """File of the result, or None."""
        if self.result.json is not None:
            return Path(self.result.json).expanduser()
        if self.run is None:
            return None
        strength = self.reference.strength
        # A mix of the run and its reference is another model than the run.
        name = "evaluation.json" if strength is None else f"evaluation-strength-{strength:g}.json"
        return Path(self.model.model) / name

    def _problems(self) -> Iterator[str]:
        samples, judge = self.samples, self.judge
        if not self.has_data and not (self.draws and samples.prompts):
            yield "data: is not given, and the model is not a run that held some out. Name held-out data with --data."
        if judge.judge is not None and self.num_samples == 0 and samples.best_of is None:
            yield "samples = 0: the judge has nothing to compare. Leave it out, or raise it."
        if judge.against == "chosen" and (samples.prompts or not self.has_data):
            yield "against = chosen: prompts alone have no chosen answers. Name data with --data, without --prompts."
        if self.reference.reference == "none":
            yield from self._without_reference()
        if samples.prompts is not None and not self.draws:
            yield "prompts: nothing is drawn. Set samples, or leave it out."

    def _without_reference(self) -> Iterator[str]:
        if self.judge.against == "reference":
            yield "against = reference: reference is none. Compare with chosen or another model."
        if self.samples.best_of is not None:
            yield "best_of: the implicit reward needs a reference, and reference is none. Leave one out."


def run_of(model: str) -> TrainConfig | None:
    """The settings of the run whose folder, or whose checkpoint, `model` is; None if it is of no run.

    Raises:
        ConfigError: the folder has settings that cannot be read.
    """
    if not _is_folder(model):
        return None
    folder = Path(model)
    for place in (folder, *([folder.resolve().parent] if is_checkpoint(folder) else [])):
        if is_run(place):
            return TrainConfig.read(place / CONFIG)
    return None


def _is_folder(name: str) -> bool:
    return os.path.isdir(name)  # noqa: PTH112 - a Path raises OSError for names that are too long


def chat_of(model: str) -> dict[str, Any]:
    """The chat settings by name that a model was trained with, also of one merged from a run; empty if unknown.

    Raises:
        ConfigError, DataError: the folder has settings that cannot be read.
    """
    run = run_of(model)
    if run is not None:
        return {name: run.flat()[name] for name in _CHAT}
    kept = read_json_object(Path(model) / CHAT, made_by="`preftune merge`") if _is_folder(model) else None
    return {name: value for name, value in (kept or {}).items() if name in _CHAT}


def keep_chat(run: TrainConfig, folder: Path) -> None:
    """Write the chat settings of a run into the folder of a model made from its own, unless they are the defaults.

    Raises:
        SaveError: the file cannot be written.
    """
    if run.model.chat_choice != ChatChoice():
        write_json(folder / CHAT, {name: run.flat()[name] for name in _CHAT})


def _part(values: Mapping[str, Any], items: Sequence[Setting]) -> dict[str, Any]:
    return {item.name: values[item.name] for item in items if item.name in values}
