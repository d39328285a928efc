"""Prompt groups to token ids, not yet limited in length."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from preftune.data.boundary import common_prefix_length, end_once
from preftune.data.chat import render_chat
from preftune.data.token_group import TokenGroup, TokenIds
from preftune.errors import DataError, TokenizerError
from preftune.groups import Message, PromptGroup, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["GroupEncoder"]


class GroupEncoder:
    """Turns prompt groups into token ids with one tokenizer.

    Args:
        tokenizer: Of Hugging Face transformers. It must have an end-of-sequence token.
    Raises:
        TokenizerError: the tokenizer has no end-of-sequence token.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        if tokenizer.eos_token_id is None:
            raise TokenizerError(
                "the tokenizer has no end-of-sequence token, so the model could not learn where a completion ends. "
                "Set tokenizer.eos_token to a token of its vocabulary."
            )
        self._tokenizer = tokenizer
        self._eos = int(tokenizer.eos_token_id)
        self.bos: int | None = None if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
        self._is_blank = _blank_test(tokenizer)

    def encode(self, groups: Sequence[PromptGroup]) -> list[TokenGroup]:
        """Token ids of each group, whatever their length.

        Args:
            groups: Texts and conversations may be mixed.
        Returns:
            One per group, in order.
        Raises:
            DataError: a group that the chat template cannot render, a completion without tokens of its own, or an
                empty prompt where the tokenizer has no beginning-of-sequence token.
            TokenizerError: conversations, but no chat template.
        """
        texts = [self._texts(group) for group in groups]
        ids: dict[bool, list[TokenIds]] = {}
        for is_conversation in (False, True):
            flat = [
                text
                for group, own in zip(groups, texts, strict=True)
                if group.is_conversation == is_conversation
                for text in own
            ]
            # A rendered conversation holds its special tokens already.
            ids[is_conversation] = self._ids(flat, add_special_tokens=not is_conversation)
        queues = {key: iter(value) for key, value in ids.items()}
        return [
            self._group(group, [next(queues[group.is_conversation]) for _ in own])
            for group, own in zip(groups, texts, strict=True)
        ]

    def _ids(self, texts: list[str], *, add_special_tokens: bool) -> list[TokenIds]:
        if not texts:
            return []
        encoded = self._tokenizer(
            texts, add_special_tokens=add_special_tokens, return_attention_mask=False, verbose=False
        )
        sequences: Any = encoded["input_ids"]
        return [np.asarray(sequence, dtype=np.int32) for sequence in sequences]

    def _texts(self, group: PromptGroup) -> list[str]:
        """The prompt alone, and the prompt with each completion."""
        contents = [completion.content for completion in group.completions]
        if isinstance(group.prompt, str):
            return [group.prompt, *(group.prompt + _text(content) for content in contents)]
        wholes = [group.prompt + _messages(content) for content in contents]
        return [
            self._render(group, group.prompt, is_prompt=True),
            *(self._render(group, whole, is_prompt=False) for whole in wholes),
        ]

    def _render(self, group: PromptGroup, messages: Sequence[Message], *, is_prompt: bool) -> str:
        return render_chat(self._tokenizer, messages, place=str(group.origin), is_prompt=is_prompt)

    def _group(self, group: PromptGroup, sequences: list[TokenIds]) -> TokenGroup:
        boundary = common_prefix_length(sequences)
        completions = []
        for index, whole in enumerate(sequences[1:]):
            if boundary == len(whole):
                raise DataError(
                    f"{group.origin}: completion {index} has no tokens of its own behind the prompt, so it has nothing "
                    "to learn from. Correct the row or leave it out; the chat template must show assistant turns."
                )
            completions.append(end_once(whole[boundary:], self._eos, self._is_blank))
        prompt = sequences[0][:boundary]
        if boundary == 0:
            prompt = self._beginning(group)
        return TokenGroup(prompt, tuple(completions), group.pairs, group.origin)

    def _beginning(self, group: PromptGroup) -> TokenIds:
        if self.bos is None:
            problem = "its only token joins with the completion" if group.prompt else "the prompt is empty"
            raise DataError(
                f"{group.origin}: no token of the prompt stands before the completion ({problem}), and the tokenizer "
                "has no beginning-of-sequence token. So the first token of the completion has nothing to be predicted "
                "from. Lengthen the prompt or leave the row out, or set tokenizer.bos_token."
            )
        return np.array([self.bos], dtype=np.int32)


def _blank_test(tokenizer: "PreTrainedTokenizerBase") -> Callable[[int], bool]:
    @lru_cache(maxsize=1024)
    def is_blank(token: int) -> bool:
        return not str(tokenizer.decode([token])).strip()

    return is_blank


def _text(content: Text) -> str:
    assert isinstance(content, str), "PromptGroup lets no messages follow text"
    return content


def _messages(content: Text) -> tuple[Message, ...]:
    assert not isinstance(content, str), "PromptGroup lets no text follow messages"
    return content
