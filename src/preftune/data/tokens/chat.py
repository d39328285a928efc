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
    """The text of a conversation, its special tokens included.

    Args:
        tokenizer: Whose template is used.
        messages: The turns.
        place: Where they come from, for errors.
        is_prompt: Whether the assistant is to go on: the template then opens its turn.
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
        text.encode()  # half a surrogate pair, in a tool call for example, is not text that can be tokenized
    except Exception as error:  # templates are programs: they may raise anything
        roles = ", ".join(message.role for message in messages)
        raise DataError(
            f"{place}: the chat template cannot render the conversation ({roles}): {error}. Correct it, or give a "
            "template that takes such turns with --chat-template FILE."
        ) from error
    return text


def find_behind(prompt: str, content: str, whole: str) -> int | None:
    """Where a message stands in a rendered conversation, or None where it does not stand there as it is.

    Args:
        prompt: What was rendered of the turns before it; only what the conversation starts with too counts.
        content: Of the message.
        whole: The rendered conversation.

    >>> find_behind("user: a bot: ", "a", "user: a bot: a man")
    13
    """
    start = whole.find(content, len(common_start(prompt, whole)))
    return start if start >= 0 else None
