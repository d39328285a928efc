"""Traces of chat templates in texts that will be put into a template."""

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found
from preftune.data.quality.marked_texts import MarkedTexts

__all__ = ["TEMPLATE_TOKENS", "TemplateTokens"]

TEMPLATE_TOKENS: tuple[str, ...] = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<|start|>", "<|channel|>", "<|message|>", "<|return|>"),
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<start_of_turn>", "<end_of_turn>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "</s>"),
    *("### Instruction:", "### Response:", "### Human:", "### Assistant:", "### User:"),
    *("\n\nHuman:", "\n\nAssistant:", "\nUSER:", "\nASSISTANT:"),
)
"""Marks of turns of the chat templates in use, and of those that earlier models had as text."""


@final
class TemplateTokens(Check):
    """Completions, and messages of prompts, that hold a mark of a turn, such as `<|im_start|>` or `\\n\\nHuman:`.

    Prompts that are text are left out: marks in them are how the data were written. Severity: a warning, an error from
    1 % of the texts: the model learns to write both sides of the conversation and not to stop.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._marked = MarkedTexts(TEMPLATE_TOKENS)

    @override
    def add(self, facts: GroupFacts) -> None:
        self._marked.add(facts)

    @override
    def found(self) -> Iterator[Found]:
        yield from self._marked.found(
            "template-tokens",
            what="Texts with marks of a chat template",
            why="A completion that goes on with the next turn teaches the model to write both sides. Marks inside "
            "a message are put into a template once more.",
            advice="Split the turns into messages, or cut completions before the mark.",
        )
