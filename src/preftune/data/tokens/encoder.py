"""Prompt groups to token ids, not yet limited in length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.shown import Hidden, check_completion, hidden_parts, hidden_tools
from preftune.data.tokens.token_group import TokenGroup, TokenIds, TokenWeights, common_prefix_length, end_once
from preftune.data.tokens.weights import Offsets, character_weights, token_weights
from preftune.errors import DataError, TokenizerError
from preftune.groups import Message, PromptGroup, Text, common_start
from preftune.settings.chat import RAW, ChatChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def find_behind(prompt: str, content: str, whole: str) -> int | None:
    """The position of a message in a rendered conversation, or None if it does not appear there verbatim.

    Args:
        prompt: The rendered turns before it. Only its common prefix with the conversation is skipped.

    >>> find_behind("user: a bot: ", "a", "user: a bot: a man")
    13
    """
    start = whole.find(content, _shared_length(prompt, whole))
    return start if start >= 0 else None


def _shared_length(prompt: str, whole: str) -> int:
    return len(prompt) if whole.startswith(prompt) else len(common_start(prompt, whole))


_NO_OFFSETS = np.empty((0, 2), dtype=np.int64)


class GroupEncoder:
    """Encodes prompt groups as token ids with one tokenizer.

    Args:
        tokenizer: Of Hugging Face transformers. It must have an end-of-sequence token.
        chat: Chat template or raw text for prompts that are text.
        learns_prompts: Train on prompts too: all tokens but the first belong to the completion, of which a group then
            has one.
    Raises:
        TokenizerError: the tokenizer has no end-of-sequence token.
        ConfigError: `chat` needs a chat template that the tokenizer does not have.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", *, chat: ChatChoice = RAW, learns_prompts: bool = False
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise TokenizerError(
                "the tokenizer has no end-of-sequence token, so the model could not learn to end a completion. "
                "Set tokenizer.eos_token to a token of its vocabulary."
            )
        self._tokenizer = tokenizer
        self.chat = ChatFormat.of(tokenizer, chat)
        self._learns_prompts = learns_prompts
        self._eos = int(tokenizer.eos_token_id)
        self.bos: int | None = None if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
        self._is_blank = _blank_test(tokenizer)

    def encode(self, groups: Sequence[PromptGroup]) -> list[TokenGroup]:
        """Token ids of each group, without a length limit.

        Raises:
            DataError: a group that the chat template cannot render, a completion without tokens of its own, or an
                empty prompt where the tokenizer has no beginning-of-sequence token.
            TokenizerError: conversations, but no chat template; weights, but a slow tokenizer, which does not map
                tokens to characters.
        """
        groups = list(map(self.chat.group, groups))
        texts = [self._texts(group) for group in groups]
        kinds = [_Kind(self.chat.adds_special_tokens(group.prompt), _is_weighted(group)) for group in groups]
        queues = {
            kind: self._sequences(
                [text for own, its_kind in zip(texts, kinds, strict=True) if its_kind == kind for text in own], kind
            )
            for kind in set(kinds)
        }
        return [
            self._group(group, [next(queues[kind]) for _ in own])
            for group, kind, own in zip(groups, kinds, texts, strict=True)
        ]

    def _sequences(self, texts: list[str], kind: "_Kind") -> Iterator["_Sequence"]:
        if kind.is_weighted and not self._tokenizer.is_fast:
            raise TokenizerError(
                "the data give weights to characters, but the tokenizer does not map tokens to characters: "
                f"{type(self._tokenizer).__name__} is a slow tokenizer. Use a fast tokenizer, or leave the weights out."
            )
        encoded = self._tokenizer(
            texts,
            add_special_tokens=kind.adds_special_tokens,
            return_attention_mask=False,
            return_offsets_mapping=kind.is_weighted,
            verbose=False,
        )
        all_ids: Any = encoded["input_ids"]
        for index, (text, ids) in enumerate(zip(texts, all_ids, strict=True)):
            offsets = np.array(encoded["offset_mapping"][index]) if kind.is_weighted else _NO_OFFSETS
            yield _Sequence(text, np.asarray(ids, dtype=np.int32), offsets)

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
        return self.chat.render(messages, group.inputs, place=str(group.origin), is_prompt=is_prompt)

    def _group(self, group: PromptGroup, sequences: list["_Sequence"]) -> TokenGroup:
        boundary = common_prefix_length([sequence.ids for sequence in sequences])
        completions = []
        for index, whole in enumerate(sequences[1:]):
            if boundary == len(whole.ids):
                raise DataError(
                    f"{group.origin}: completion {index} has no tokens after the prompt, so it has nothing "
                    "to learn from. Correct the row or leave it out; the chat template must show assistant turns."
                )
            completions.append(end_once(whole.ids[boundary:], self._eos, self._is_blank))
        scores = [completion.score for completion in group.completions]
        thumbs = [completion.desirable for completion in group.completions]
        found = TokenGroup(
            prompt=sequences[0].ids[:boundary] if boundary else self._beginning(group),
            completions=tuple(completions),
            pairs=group.pairs,
            origin=group.origin,
            scores=_if_all_known(scores),
            desirable=_if_all_known(thumbs),
            weights=tuple(self._weights(group, sequences, boundary, completions)) if _is_weighted(group) else (),
            weight=group.weight,
            completion_weights=_if_not_all_one([completion.weight for completion in group.completions]),
            hidden=self._hidden(group, sequences, boundary),
        )
        return _learning_prompt(found) if self._learns_prompts else found

    def _hidden(self, group: PromptGroup, sequences: list["_Sequence"], boundary: int) -> tuple[Hidden, ...]:
        """Losses on the way through the chat template.

        Raises:
            DataError: the template leaves out all that a completion says.
        """
        if not group.is_conversation:
            return ()
        prompt, generated = _messages(group.prompt), sequences[0]
        found = {"other_generation_prompts"} if boundary < len(generated.ids) else set()
        if hidden_tools(group.inputs, generated.text):
            found.add("hidden_tools")
        render = partial(self._render, group, is_prompt=False)
        for index, (completion, whole) in enumerate(zip(group.completions, sequences[1:], strict=True)):
            answer = _messages(completion.content)
            messages, start = (*prompt, *answer), _shared_length(generated.text, whole.text)
            lost = list(hidden_parts(messages, whole.text, render, num_before=len(prompt), start=start))
            check_completion(answer, lost, place=str(group.origin), index=index)
            if index == 0:
                lost += hidden_parts(prompt, generated.text, partial(self._render, group, is_prompt=True))
            found.update(part.kind for part, _ in lost)
        return tuple(kind for kind in get_args(Hidden) if kind in found)

    def _weights(
        self, group: PromptGroup, sequences: list["_Sequence"], boundary: int, completions: list[TokenIds]
    ) -> Iterator[TokenWeights]:
        """Weights of each completion's tokens; that of the end-of-sequence token is 1."""
        for index, (sequence, ids) in enumerate(zip(sequences[1:], completions, strict=True)):
            weights = np.ones(len(ids), dtype=np.float32)
            if spans := group.completions[index].weights:
                start = self._start_of_text(group, index, sequences[0].text, sequence.text)
                of_characters = character_weights(len(sequence.text), start, spans)
                known = token_weights(sequence.offsets[boundary:], of_characters)[: len(ids)]
                weights[: len(known)] = known
            if ids[-1] == self._eos:
                weights[-1] = 1.0
            yield weights

    def _start_of_text(self, group: PromptGroup, index: int, prompt: str, whole: str) -> int:
        """The position of a completion's weighted text in the text of prompt and completion."""
        text = group.completions[index].weighted_text
        assert text is not None, f"{group.origin}: PromptGroup allows weights only with text"
        if not group.is_conversation:
            return len(prompt)
        start = find_behind(prompt, text, whole)
        if start is None:  # a template may open more of the answer than its header, such as <think>
            start = find_behind(self._render(group, _messages(group.prompt), is_prompt=False), text, whole)
        if start is None:
            raise DataError(
                f"{group.origin}: completion {index} has weights, but the chat template changes its text, so its "
                "characters cannot be located. Give the text as the template renders it, for most templates without "
                "white space at its ends, or leave the weights out."
            )
        return start

    def _beginning(self, group: PromptGroup) -> TokenIds:
        if self.bos is None:
            problem = "its only token joins with the completion" if group.prompt else "the prompt is empty"
            raise DataError(
                f"{group.origin}: no token of the prompt stands before the completion ({problem}), and the tokenizer "
                "has no beginning-of-sequence token. So the first token of the completion has nothing to be predicted "
                "from. Lengthen the prompt or leave the row out, or set tokenizer.bos_token."
            )
        return np.array([self.bos], dtype=np.int32)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Properties shared by the texts that are tokenized in one call."""

    adds_special_tokens: bool
    is_weighted: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    """A text, its tokens and, if there are weights, their characters."""

    text: str
    ids: TokenIds
    offsets: Offsets


def _learning_prompt(group: TokenGroup) -> TokenGroup:
    [completion] = group.completions
    assert not group.weights, f"{group.origin}: demonstrations have no weights"
    return replace(group, prompt=group.prompt[:1], completions=(np.concatenate([group.prompt[1:], completion]),))


def _is_weighted(group: PromptGroup) -> bool:
    return any(completion.weights for completion in group.completions)


Known = TypeVar("Known")


def _if_all_known(values: Sequence[Known | None]) -> tuple[Known, ...]:
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else ()


def _if_not_all_one(weights: Sequence[float]) -> tuple[float, ...]:
    return () if all(weight == 1 for weight in weights) else tuple(weights)


def _blank_test(tokenizer: "PreTrainedTokenizerBase") -> Callable[[int], bool]:
    @lru_cache(maxsize=1024)
    def is_blank(token: int) -> bool:
        return not str(tokenizer.decode([token])).strip()

    return is_blank


def _text(content: Text) -> str:
    assert isinstance(content, str), "PromptGroup does not mix text and messages"
    return content


def _messages(content: Text) -> tuple[Message, ...]:
    assert not isinstance(content, str), "PromptGroup does not mix text and messages"
    return content
