"""What the demo shows: two models side by side."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Group
from rich.table import Table

from preftune.metrics.intervals import Estimate

__all__ = ["DemoResult", "Writer"]


@dataclass(frozen=True, slots=True)
class Writer:
    """How a model writes.

    Args:
        positive: Share of texts with a true reward above 0.
        reward: True reward. Unit: nats.
        num_words: Length of a text.
    """

    positive: Estimate
    reward: Estimate
    num_words: Estimate

    @staticmethod
    def of(texts: Sequence[str], reward: Callable[[str], float]) -> "Writer":
        """Measured on texts, with their true reward."""
        rewards = torch.tensor([reward(text) for text in texts], dtype=torch.float64)
        words = torch.tensor([len(text.split()) for text in texts], dtype=torch.float64)
        return Writer(Estimate.of((rewards > 0).double()), Estimate.of(rewards), Estimate.of(words))


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The demo's two models on prompts that neither has seen.

    Args:
        folder: Where everything is.
        before, after: The model after SFT, and after DPO.
        kl: KL(after || before) of whole texts, by sampling. Unit: nats.
        accuracy: Share of held-out pairs on which the implicit reward agrees with the label.
        examples: Prompt, continuation before and continuation after.
    """

    folder: str
    before: Writer
    after: Writer
    kl: Estimate
    accuracy: Estimate
    examples: tuple[tuple[str, str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON holds it."""
        return asdict(self)

    def tables(self) -> Group:
        """The numbers, and the examples side by side, for the console."""
        return Group(self._numbers(), self._examples())

    def _numbers(self) -> Table:
        table = Table(title="Before and after", title_justify="left", title_style="bold")
        for heading in ("", "SFT", "SFT, then DPO"):
            table.add_column(heading, justify="left" if not heading else "right")
        table.add_row("positive continuations", _share(self.before.positive), _share(self.after.positive))
        table.add_row("true reward (nats)", str(self.before.reward), str(self.after.reward))
        table.add_row("words", str(self.before.num_words), str(self.after.num_words))
        table.add_row("KL to SFT (nats)", "0", str(self.kl))
        table.add_row("held-out preference accuracy", "50 % (a tie)", _share(self.accuracy))
        return table

    def _examples(self) -> Table:
        table = Table(title="The same prompt, both models", title_justify="left", title_style="bold", show_lines=True)
        for heading in ("prompt", "SFT", "SFT, then DPO"):
            table.add_column(heading, ratio=1)
        for example in self.examples:
            table.add_row(*(text.strip() for text in example))
        return table


def _share(estimate: Estimate) -> str:
    return f"{estimate.mean:.1%} ± {estimate.standard_error:.1%}".replace("%", " %")
