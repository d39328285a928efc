"""Which prompts a run draws samples for as it trains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from transformers import PreTrainedTokenizerBase

from preftune.data.views.best_answer import best_answer
from preftune.errors import DataError, TokenizerError
from preftune.groups import PromptGroup, Text
from preftune.model.generation.prompts import encode_prompts

__all__ = ["SamplePrompt", "sample_prompts"]


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """A prompt to draw samples for.

    Args:
        prompt: What is continued.
        chosen: The data's best answer, as text; None where there is none.
    """

    prompt: Text
    chosen: str | None


def sample_prompts(
    groups: Sequence[PromptGroup], tokenizer: PreTrainedTokenizerBase, *, count: int, longest: int | None
) -> tuple[SamplePrompt, ...]:
    """Prompts spread evenly over the data: of so many stretches of them, the first that has room for a completion.

    Args:
        groups: Of the data.
        tokenizer: The policy's.
        count: How many at most.
        longest: Most tokens of a prompt; None for no limit. Longer ones are passed over.
    """
    by_prompt: dict[Text, PromptGroup] = {}
    for group in groups:
        by_prompt.setdefault(group.prompt, group)
    distinct = list(by_prompt)
    count = min(count, len(distinct))
    bounds = [place * len(distinct) // count for place in range(count + 1)] if count else []
    found = (
        next(_fitting(distinct[start:end], tokenizer, longest), None)
        for start, end in zip(bounds, islice(bounds, 1, None), strict=False)
    )
    return tuple(SamplePrompt(prompt, best_answer(by_prompt[prompt])) for prompt in found if prompt is not None)


def _fitting(prompts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, longest: int | None) -> Iterator[Text]:
    for prompt in prompts:
        try:
            (ids,) = encode_prompts(tokenizer, [prompt])
        except (DataError, TokenizerError):
            continue  # reading the data for training says what is wrong with it
        if longest is None or len(ids) <= longest:
            yield prompt
