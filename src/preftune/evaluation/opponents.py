"""What a model is compared with: its reference, another model, or the data's chosen answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preftune.errors import ConfigError
from preftune.evaluation.drawing import Drawer
from preftune.judges.judge import Comparison
from preftune.model.generation.completions import Generation
from preftune.model.load.evaluated_models import Models, load_other
from preftune.model.reference.reference import AdapterOff
from preftune.runs.samples import SamplePrompts
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.sampling import Sampling

__all__ = ["Opponent", "compare", "draw_from_reference", "find_opponent"]


@dataclass(frozen=True, slots=True, eq=False)
class Opponent:
    """Whoever gives the other completion.

    Args:
        name: For people.
        texts: Gives its completions for each prompt, as many as the settings of the draw say; None for a prompt that
            it has no answer to.
    """

    name: str
    texts: Callable[[Sampling], list[list[str] | None]]


def find_opponent(config: EvaluationConfig, models: Models, prompts: SamplePrompts, drawer: Drawer) -> Opponent:
    """The opponent that the settings name; by default the reference, or the chosen answers without one.

    Raises:
        ConfigError: chosen answers are asked for, but there are none.
        ModelError, TokenizerError: another model that cannot be loaded.
    """
    name = config.judge.against or ("reference" if models.has_reference else "chosen")
    if name == "chosen":
        return _chosen(prompts)
    if name == "reference":
        return Opponent("reference", lambda sampling: _texts(draw_from_reference(models, prompts, sampling, drawer)))
    model, tokenizer = load_other(config, name, drawer.arithmetic)
    return Opponent(name, lambda sampling: _texts(drawer.draw(model, tokenizer, prompts.texts, sampling)))


def draw_from_reference(
    models: Models, prompts: SamplePrompts, sampling: Sampling, drawer: Drawer
) -> list[list[Generation]]:
    """Samples of the reference, by prompt."""
    with models.reference_model() as model:
        adapters = () if isinstance(models.reference, AdapterOff) else None
        return drawer.draw(model, models.tokenizer, prompts.texts, sampling, adapters=adapters)


def compare(
    prompts: SamplePrompts, drawn: Sequence[Sequence[Generation]], theirs: Sequence[list[str] | None]
) -> list[Comparison]:
    """Each sample beside the opponent's completion of the same number; prompts without one are left out.

    Args:
        prompts: What was completed.
        drawn: Our samples, by prompt.
        theirs: The opponent's completions, by prompt.
    """
    return [
        Comparison(number, prompt, sample.text, other)
        for number, (prompt, samples, others) in enumerate(zip(prompts.texts, drawn, theirs, strict=True))
        if others is not None
        for sample, other in zip(samples, others, strict=True)
    ]


def _chosen(prompts: SamplePrompts) -> Opponent:
    if not any(answer is not None for answer in prompts.chosen):
        raise ConfigError(
            [
                "against = chosen: the prompts have no chosen answers. Give data with answers, or name another "
                "opponent with --against."
            ]
        )
    return Opponent(
        "chosen",
        lambda sampling: [None if answer is None else [answer] * sampling.num_samples for answer in prompts.chosen],
    )


def _texts(drawn: Sequence[Sequence[Generation]]) -> list[list[str] | None]:
    return [[sample.text for sample in samples] for samples in drawn]
