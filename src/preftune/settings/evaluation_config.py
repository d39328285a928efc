"""Everything that an evaluation depends on, in one place, checked at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from preftune.errors import ConfigError
from preftune.files.run_files import CONFIG, is_checkpoint, is_run
from preftune.metrics.intervals import Bootstrap
from preftune.settings import (
    DataSettings,
    ModelSettings,
    Setting,
    TrainConfig,
    build_section,
    read_settings,
    settings_of,
)
from preftune.settings.evaluation_sections import (
    IntervalSettings,
    JudgeSettings,
    MemorySettings,
    ReferenceSettings,
    ResultSettings,
    SampleSettings,
)
from preftune.settings.sampling import Sampling

__all__ = ["DATA", "MODEL", "SECTIONS", "EvaluationConfig", "run_of"]

SECTIONS: Mapping[str, type] = {
    "reference": ReferenceSettings,
    "samples": SampleSettings,
    "judge": JudgeSettings,
    "intervals": IntervalSettings,
    "memory": MemorySettings,
    "result": ResultSettings,
}
"""Topics that only an evaluation has, in the order of help texts."""

_MODEL_NAMES = ("model", "revision", "weights_dtype", "precision", "attention", "chat_template", "trust_remote_code")
_DATA_NAMES = (
    *("data", "split", "format", "columns", "where", "on_bad_row", "pairing", "min_score_gap"),
    *("max_length", "too_long", "num_processes"),
)
_LIKE_THE_RUN = ("weights_dtype", "precision", "attention", "pairing", "min_score_gap", "max_length", "too_long")
"""Where a run is evaluated as it was trained, unless told otherwise, so that its numbers can be compared."""
_HELP = {
    "model": "The model: hub id, local folder, or folder of a run, a checkpoint or an adapter.",
    "data": "Held-out preferences: files, folders, presets or hub ids. Default: what a run held out.",
    "weights_dtype": "Type that weights are held in; auto: as they were saved. Default: as in the run.",
    "precision": "Type of the arithmetic (autocast). Default: as in the run, else auto: bf16 on a GPU that has it.",
}


def _adapted(section: type, names: tuple[str, ...]) -> tuple[Setting, ...]:
    """Settings of training, as far as an evaluation has them; none must be given."""
    known = {item.name: item for item in settings_of(section)}
    shared = [known[name] for name in names]
    return tuple(Setting(item.name, item.type, None, _HELP.get(item.name, item.help)) for item in shared)


MODEL = _adapted(ModelSettings, _MODEL_NAMES)
DATA = _adapted(DataSettings, _DATA_NAMES)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """The settings of an evaluation. Flags and Python calls are flat: name and value, whatever the topic.

    Args:
        model: What is evaluated, and how it is loaded.
        run: The settings of the run that it is of; None for a model that is no run.
        data: Where the held-out preferences are; None for those of the run, or to do without.
        reference, samples, judge, intervals, memory, result: By topic.

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
        """The config with `settings` of all topics, by name.

        Raises:
            ConfigError: whatever cannot work, all at once.
        """
        problems = list(_unknown(settings))
        run = run_of(str(settings.get("model") or ""))
        inherited = {} if run is None else {name: run.flat()[name] for name in _LIKE_THE_RUN}
        values = {"weights_dtype": "auto", **inherited, **settings}
        model = build_section(ModelSettings, _part(values, _MODEL_NAMES), problems)
        has_data = bool(settings.get("data"))
        data = build_section(DataSettings, _part(values, _DATA_NAMES), problems) if has_data else None
        sections = {topic: build_section(section, settings, problems) for topic, section in SECTIONS.items()}
        if not problems:
            config = EvaluationConfig(model=model, run=run, data=data, **sections)
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

    @property
    def draws(self) -> bool:
        """Whether samples are drawn at all."""
        return self.num_samples > 0 or self.samples.best_of is not None

    @property
    def bootstrap(self) -> Bootstrap:
        """How intervals are made."""
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
        """How completions are drawn: for the judge at a temperature, else from the model's own distribution.

        Those that are compared are drawn by different seeds: from the same random numbers two similar models draw the
        same texts, and would tie more often than they do.
        """
        for_judge = temperature is not None
        return Sampling(
            max_new_tokens=self.samples.max_new_tokens,
            temperature=1.0 if temperature is None else temperature,
            top_p=self.samples.top_p if for_judge else 1.0,
            top_k=self.samples.top_k if for_judge else 0,
            num_samples=num_samples or self.num_samples,
            seed=self.samples.seed + ("policy", "opponent", "best").index(role),
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Where preferences and prompts are from."""
        settings = self.run.data if self.data is None and self.run is not None else self.data
        named = () if settings is None or not self.has_data else tuple(settings.eval_data or settings.data)
        return named if self.samples.prompts is None else (*named, self.samples.prompts)

    @property
    def has_data(self) -> bool:
        """Whether there are preferences to evaluate on."""
        return self.data is not None or (self.run is not None and self.run.data.holds_out)

    @property
    def result_file(self) -> Path | None:
        """Where the result goes."""
        if self.result.json is not None:
            return Path(self.result.json).expanduser()
        if self.run is None:
            return None
        strength = self.reference.strength
        # What a mix of the run and its reference does is not what the run does.
        name = "evaluation.json" if strength is None else f"evaluation-strength-{strength:g}.json"
        return Path(self.model.model) / name

    def _problems(self) -> Iterator[str]:
        """What does not go together, one text each."""
        samples, judge = self.samples, self.judge
        if not self.has_data and not (self.draws and samples.prompts):
            yield "data: is not given, and the model is no run that held some out. Name held-out data with --data."
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
    folder = Path(model)
    if not model or not folder.is_dir():
        return None
    for place in (folder, *([folder.resolve().parent] if is_checkpoint(folder) else [])):
        if is_run(place):
            return TrainConfig.of(**read_settings(place / CONFIG))
    return None


def _part(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _unknown(settings: Mapping[str, Any]) -> Iterator[str]:
    own = [item.name for section in SECTIONS.values() for item in settings_of(section)]
    known = {*_MODEL_NAMES, *_DATA_NAMES, *own}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "See `preftune eval --help`."
            yield f"{name}: there is no such setting. {hint}"
