"""Prompts as token ids for a model, prompts and empty completions as text for people."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.token_group import TokenIds
from preftune.errors import DataError
from preftune.groups import Prompt, Text
from preftune.settings.chat import RAW, ChatChoice


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Text | Prompt], chat: ChatChoice = RAW
) -> list[TokenIds]:
    """Token ids of each prompt, as in training: conversations through the chat template, text as `chat` says.

    Returns:
        One per prompt, in order; without the end-of-sequence token that some tokenizers append to text.
    Raises:
        TokenizerError: a conversation and a tokenizer without a chat template.
        DataError: a conversation that the template cannot render, or a prompt without tokens.
        ConfigError: `chat` needs a chat template that the tokenizer does not have.
    """
    form = ChatFormat.of(tokenizer, chat)
    asked = (prompt if isinstance(prompt, Prompt) else Prompt(prompt) for prompt in prompts)
    return [_encode(form, prompt, number) for number, prompt in enumerate(asked, start=1)]


def _encode(form: ChatFormat, prompt: Prompt, number: int) -> TokenIds:
    tokenizer, text = form.tokenizer, form.text(prompt, place=f"prompt {number}")
    adds_special_tokens = form.adds_special_tokens(prompt.text)
    ids = list(tokenizer(text, add_special_tokens=adds_special_tokens, verbose=False)["input_ids"])
    eos = tokenizer.eos_token_id
    if adds_special_tokens and ids and ids[-1] == eos and not text.endswith(str(tokenizer.eos_token)):
        ids.pop()
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    if not ids:
        raise DataError(
            f"prompt {number}: has no tokens, and the tokenizer has no beginning-of-sequence token, so the first token "
            "of the completion has nothing to be predicted from. Give some text."
        )
    return np.asarray(ids, dtype=np.int32)


def note_on_empty(completion: str, *, finished: bool) -> str | None:
    """A note that stands for a completion without text; None for all others.

    Args:
        completion: Text without special tokens.
        finished: It ended by itself.

    >>> note_on_empty("", finished=True), note_on_empty("4", finished=True)
    ('(ended at once: nothing stands before the end-of-sequence token)', None)
    """
    if completion.strip():
        return None
    if finished:
        return "(ended at once: nothing stands before the end-of-sequence token)"
    return "(no text: only white space or special tokens up to the maximum length)"


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
