"""The choice between a chat template and raw text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ChatMode = Literal["auto", "on", "off"]
"""Text prompts as turns of the chat template: if the tokenizer has one, always, never."""


@dataclass(frozen=True, slots=True)
class ChatChoice:
    """The way from prompts to text, as asked for. Conversations always go through the chat template.

    Args:
        variables: Variables of the chat template for all conversations, such as `enable_thinking`.
    """

    mode: ChatMode = "auto"
    variables: Mapping[str, Any] = field(default_factory=dict, hash=False)


RAW = ChatChoice("off")
"""Text as it is."""
