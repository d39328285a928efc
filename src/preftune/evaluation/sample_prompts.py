"""Which prompts samples are drawn for, and what the data's own answer to each is."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from preftune.data.views import best_answer
from preftune.errors import DataError
from preftune.groups import PromptGroup, Text
from preftune.model.generation.prompts import encode_prompts

__all__ = ["SamplePrompts", "sample_prompts"]


@dataclass(frozen=True, slots=True)
class SamplePrompts:
    """Prompts to draw samples for.

    Args:
        texts: Each once.
        chosen: The data's better answer to each, as text; None where there is none.
        num_found: How many different prompts there were to choose from.
        num_too_long: How many of them leave no room for a completion, and were left out.
    """

    texts: tuple[Text, ...]
    chosen: tuple[str | None, ...]
    num_found: int
    num_too_long: int = 0

    def __str__(self) -> str:
        """For the console."""
        too_long = f"; {self.num_too_long:,} leave no room for --max-new-tokens" if self.num_too_long else ""
        return f"samples: of {len(self.texts):,} of {self.num_found:,} prompts{too_long}"


def sample_prompts(
    groups: Sequence[PromptGroup] | Sequence[Text],
    tokenizer: PreTrainedTokenizerBase,
    *,
    most: int | None,
    longest: int | None,
) -> SamplePrompts:
    """Choose prompts, spread evenly over the data.

    Args:
        groups: Groups of the data, or prompts alone.
        tokenizer: The policy's.
        most: How many prompts at most; None for all.
        longest: Most tokens of a prompt, so that a completion has room; None for no limit.
    Raises:
        DataError: no prompt has room for a completion.
        TokenizerError: prompts that cannot be tokenized.
    """
    answers: dict[Text, str | None] = {}
    for item in groups:
        prompt, chosen = (item.prompt, best_answer(item)) if isinstance(item, PromptGroup) else (item, None)
        answers.setdefault(prompt, chosen)
    prompts = list(answers)
    lengths = map(len, encode_prompts(tokenizer, prompts))
    fitting = [prompt for prompt, length in zip(prompts, lengths, strict=True) if longest is None or length <= longest]
    if not fitting:
        raise DataError(
            f"all {len(prompts):,} prompts are longer than {longest:,} tokens, so that completions have no room. Lower "
            "--max-new-tokens."
        )
    count = len(fitting) if most is None else min(most, len(fitting))
    kept = [fitting[place * len(fitting) // count] for place in range(count)]
    return SamplePrompts(
        tuple(kept), tuple(answers[prompt] for prompt in kept), len(prompts), len(prompts) - len(fitting)
    )
