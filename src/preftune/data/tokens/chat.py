"""Conversations to text, through a tokenizer's chat template."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from preftune.errors import DataError, TokenizerError
from preftune.groups import Message, common_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["find_behind", "render_chat"]


def render_chat(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], *, place: str, is_prompt: bool
) -> str:
    """The text of a conversation, including special tokens.

    Args:
        is_prompt: Let the template open an assistant turn at the end.
    Raises:
        TokenizerError: the tokenizer has no chat template.
        DataError: the template cannot render the turns.
    """
    if tokenizer.chat_template is None:
        raise TokenizerError(
            f"{place}: is a conversation, but the tokenizer has no chat template to turn it into text. Give one with "
            "--chat-template FILE, or give the data as text."
        )
    turns = [message.as_dict() for message in messages]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=is_prompt))
        text.encode()  # a lone surrogate, in a tool call for example, cannot be tokenized
    except Exception as error:  # templates are programs: they may raise anything
        roles = ", ".join(message.role for message in messages)
        raise DataError(
            f"{place}: the chat template cannot render the conversation ({roles}): {error}. Correct it, or give a "
            "template that takes such turns with --chat-template FILE."
        ) from error
    return text


def find_behind(prompt: str, content: str, whole: str) -> int | None:
    """The position of a message in a rendered conversation, or None if it does not appear there verbatim.

    Args:
        prompt: The rendered turns before it. Only its common prefix with the conversation is skipped.

    >>> find_behind("user: a bot: ", "a", "user: a bot: a man")
    13
    """
    start = whole.find(content, len(common_start(prompt, whole)))
    return start if start >= 0 else None
