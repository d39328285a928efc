"""Prompts as token ids for a model and as text for people."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from preftune.data.tokens.encoder import render_chat
from preftune.data.tokens.token_group import TokenIds
from preftune.errors import DataError
from preftune.groups import Text

__all__ = ["encode_prompts", "text_of"]


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Text]) -> list[TokenIds]:
    """Token ids of each prompt, as in training: text as it is, conversations through the chat template.

    Returns:
        One per prompt, in order; without the end-of-sequence token that some tokenizers append to text.
    Raises:
        TokenizerError: a conversation and a tokenizer without a chat template.
        DataError: a conversation that the template cannot render, or a prompt without tokens.
    """
    return [_encode(tokenizer, prompt, number) for number, prompt in enumerate(prompts, start=1)]


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: Text, number: int) -> TokenIds:
    is_text = isinstance(prompt, str)
    text = (
        prompt if isinstance(prompt, str) else render_chat(tokenizer, prompt, place=f"prompt {number}", is_prompt=True)
    )
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


def text_of(prompt: Text) -> str:
    """A prompt as text, one line per turn of a conversation.

    >>> from preftune.groups import Message
    >>> print(text_of((Message("user", "Hi"), Message("assistant", "Hello"))))
    user: Hi
    assistant: Hello
    """
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message.role}: {message.content}" for message in prompt)
