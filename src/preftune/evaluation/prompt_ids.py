"""Prompts as the tokens that a model continues."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from preftune.data import TokenIds
from preftune.errors import DataError, TokenizerError
from preftune.groups import Message, Text

__all__ = ["encode_prompts"]


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Text]) -> list[TokenIds]:
    """Token ids of each prompt, as training sees them: text as it is, conversations through the chat template.

    Args:
        tokenizer: The model's.
        prompts: Texts and conversations; may be mixed.
    Returns:
        One per prompt, in order; without the end-of-sequence token that some tokenizers put behind a text.
    Raises:
        TokenizerError: a conversation, but no chat template.
        DataError: a conversation that the template cannot render, or a prompt without tokens.
    """
    return [_encode(tokenizer, prompt, number) for number, prompt in enumerate(prompts, start=1)]


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: Text, number: int) -> TokenIds:
    is_text = isinstance(prompt, str)
    text = prompt if isinstance(prompt, str) else _render(tokenizer, prompt, number)
    ids = list(tokenizer(text, add_special_tokens=is_text, verbose=False)["input_ids"])
    eos = tokenizer.eos_token_id
    if is_text and ids and ids[-1] == eos and not text.endswith(str(tokenizer.eos_token)):
        ids.pop()
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    if not ids:
        raise DataError(
            f"prompt {number}: has no tokens, and the tokenizer has no beginning-of-sequence token, so the first token "
            "of the completion has nothing to be predicted from. Give some text."
        )
    return np.asarray(ids, dtype=np.int32)


def _render(tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...], number: int) -> str:
    if tokenizer.chat_template is None:
        raise TokenizerError(
            f"prompt {number}: is a conversation, but the tokenizer has no chat template to turn it into text. "
            "Give one with --chat-template FILE, or give the prompt as text."
        )
    turns = [message.as_dict() for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # templates are programs: they may raise anything
        roles = ", ".join(message.role for message in messages)
        raise DataError(
            f"prompt {number}: the chat template cannot render the conversation ({roles}): {error}. Correct the "
            "prompt, or give a template that takes such turns with --chat-template FILE."
        ) from error
