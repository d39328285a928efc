"""Prompts and completions to text: turns through the chat template of a tokenizer, or raw text."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from preftune.data.conversations import as_turns, conversation_of, turns_of_transcript
from preftune.data.tokens.shown import ArgumentForm, argument_form, with_arguments_as
from preftune.errors import ConfigError, DataError, TokenizerError
from preftune.groups import Message, Prompt, PromptGroup, TemplateInputs, Text
from preftune.settings.chat import ChatChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PromptKind = Literal["conversation", "text", "transcript", "rendered"]
"""A prompt of messages; plain text; text with speakers such as `Human:`; text that a template has made already."""


@dataclass(frozen=True, slots=True)
class RenderedMarks:
    """Signs of text that a chat template has rendered already.

    Args:
        bos: Text of the beginning-of-sequence token; empty if there is none.
        begins_with_bos: The template writes it.
        tokens: Special tokens that the template writes around a turn.
        opening, closing: Text before and after the content of a single user turn, without white space around it.
    """

    bos: str = ""
    begins_with_bos: bool = False
    tokens: tuple[str, ...] = ()
    opening: str = ""
    closing: str = ""

    @staticmethod
    def of(tokenizer: "PreTrainedTokenizerBase", variables: Mapping[str, Any]) -> "RenderedMarks":
        """The marks of a tokenizer with a chat template, from a user turn that it renders."""
        bos = str(tokenizer.bos_token or "")
        try:
            rendered = str(
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": _PROBE}], tokenize=False, add_generation_prompt=True, **variables
                )
            )
        except Exception:  # templates are programs: they may raise anything, and will for the user's own turns, too
            return RenderedMarks(bos)
        before, _, after = rendered.partition(_PROBE)
        added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
        special = {*tokenizer.all_special_tokens, *(token for token, is_special in added.items() if is_special)}
        tokens = [token for token in special if token.strip() and token in rendered]
        tokens += [token for token in added if token in before and _MARK.search(token)]
        lines = before.removeprefix(bos).strip().splitlines()
        return RenderedMarks(
            bos=bos,
            begins_with_bos=bool(bos) and before.startswith(bos),
            tokens=tuple(sorted(set(tokens))),
            opening=lines[-1] if lines else "",
            closing=after.strip(),
        )

    def are_in(self, text: str) -> bool:
        """True if the text begins a sequence, holds one of the special tokens, or ends like a rendered prompt."""
        if self.bos and text.startswith(self.bos):
            return True
        if any(token in text for token in self.tokens):
            return True
        return bool(self.closing) and text.rstrip().endswith(self.closing) and self.opening in text


_PROBE = "9f4c1e"
_MARK = re.compile(r"[^\w\s]")
"""Added tokens of letters or white space alone are vocabulary, not marks."""

_KINDS: Mapping[PromptKind, str] = {
    "text": "text prompts become user turns",
    "transcript": "transcripts become turns",
    "rendered": "rendered prompts stay as they are",
    "conversation": "conversations",
}
_IS_OFF = "raw text, as chat = off asks (--chat auto for the template of the tokenizer; conversations always use it)"
_HAS_NONE = "raw text (the tokenizer has no chat template; --chat-template FILE gives one)"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The way from prompts and completions to text, decided for a tokenizer.

    Args:
        wraps: Text becomes turns of the chat template.
        variables: Variables of the template for all conversations.
        argument_form: Form in which the template takes the arguments of tool calls.
    """

    tokenizer: "PreTrainedTokenizerBase"
    wraps: bool
    variables: Mapping[str, Any]
    marks: RenderedMarks
    argument_form: ArgumentForm = "as given"

    @staticmethod
    def of(tokenizer: "PreTrainedTokenizerBase", choice: ChatChoice) -> "ChatFormat":
        """The format of a choice.

        Raises:
            ConfigError: the choice needs a chat template that the tokenizer does not have, or gives variables that
                the template does not use.
        """
        problems = list(_problems(tokenizer, choice))
        if problems:
            raise ConfigError(problems)
        if not tokenizer.chat_template:
            return ChatFormat(tokenizer, False, {}, RenderedMarks(str(tokenizer.bos_token or "")))
        marks = RenderedMarks.of(tokenizer, choice.variables)

        def render(turns: list[dict[str, Any]]) -> str:
            return str(tokenizer.apply_chat_template(turns, tokenize=False, **choice.variables))

        return ChatFormat(tokenizer, choice.mode != "off", choice.variables, marks, argument_form(render))

    def kind(self, prompt: Text) -> PromptKind:
        """The kind of a prompt."""
        if not isinstance(prompt, str):
            return "conversation"
        if self.marks.are_in(prompt):
            return "rendered"
        return "text" if turns_of_transcript(prompt) is None else "transcript"

    def line(self, prompts: Iterable[Text]) -> str:
        """A line for the console: the choice, the reason, and the effect on these prompts."""
        if not self.tokenizer.chat_template:
            return f"chat: {_HAS_NONE}"
        if not self.wraps:
            return f"chat: {_IS_OFF}"
        counts = Counter(map(self.kind, prompts))
        effects = [
            text if len(counts) == 1 else f"{counts[kind]:,} {text}" for kind, text in _KINDS.items() if counts[kind]
        ]
        advice = [] if counts.keys() <= {"conversation"} else ["--chat off for raw text"]
        return f"chat: template of the tokenizer ({'; '.join([', '.join(effects), *advice])})"

    def turned(self, prompt: Text) -> Text:
        """A prompt as messages where the template applies, else as it is."""
        return as_turns(prompt) if self.wraps and self.kind(prompt) != "rendered" else prompt

    def group(self, group: PromptGroup) -> PromptGroup:
        """The group as a conversation where the template applies, else as it is.

        Raises:
            DataError: tools or variables of the template for text that it does not render.
        """
        found = conversation_of(group) if self.wraps and self.kind(group.prompt) != "rendered" else group
        self._check_inputs(found.prompt, group.inputs, str(group.origin))
        return found

    def text(self, prompt: Prompt, *, place: str) -> str:
        """The text of a prompt, including special tokens that a template writes."""
        turned = self.turned(prompt.text)
        self._check_inputs(turned, prompt.inputs, place)
        return turned if isinstance(turned, str) else self.render(turned, prompt.inputs, place=place, is_prompt=True)

    def _check_inputs(self, prompt: Text, inputs: TemplateInputs, place: str) -> None:
        if inputs and isinstance(prompt, str):
            named = "tools" if inputs.tools else "chat_template_kwargs"
            raise DataError(
                f"{place}: has {named}, which only a chat template can show, but the prompt is raw or rendered text. "
                "Give the prompt as messages, or leave the column out."
            )

    def adds_special_tokens(self, prompt: Text) -> bool:
        """True if the tokenizer should add its special tokens, such as the one that begins a sequence."""
        turned = self.turned(prompt)
        if not isinstance(turned, str) or (self.marks.bos and turned.startswith(self.marks.bos)):
            return False  # a template writes them; a second beginning of the sequence is a mistake
        return not self.wraps or self.marks.begins_with_bos

    def render(self, messages: Sequence[Message], inputs: TemplateInputs, *, place: str, is_prompt: bool) -> str:
        """The text of a conversation, including special tokens.

        Args:
            is_prompt: Let the template open an assistant turn at the end.
        Raises:
            TokenizerError: there is no chat template.
            DataError: the template cannot render the conversation.
        """
        if not self.tokenizer.chat_template:
            raise TokenizerError(
                f"{place}: is a conversation, but the tokenizer has no chat template to turn it into text. Give one "
                "with --chat-template FILE, or give the data as text."
            )
        turns = with_arguments_as(self.argument_form, [message.as_dict() for message in messages])
        tools: Any = [dict(tool) for tool in inputs.tools] or None
        variables = {**self.variables, **inputs.variables}
        try:
            text = str(
                self.tokenizer.apply_chat_template(
                    turns, tools=tools, tokenize=False, add_generation_prompt=is_prompt, **variables
                )
            )
            text.encode()  # a lone surrogate, in a tool call for example, cannot be tokenized
        except Exception as error:  # templates are programs: they may raise anything
            roles = ", ".join(message.role for message in messages)
            raise DataError(
                f"{place}: the chat template cannot render the conversation ({roles}): {error}. Correct it, or give a "
                "template that takes such turns with --chat-template FILE."
            ) from error
        return text


def _problems(tokenizer: "PreTrainedTokenizerBase", choice: ChatChoice) -> Iterator[str]:
    template: Any = tokenizer.chat_template
    if not template:
        if choice.mode == "on":
            yield (
                "chat = on: the tokenizer has no chat template, so there are no turns to make of text. Give a template "
                "with --chat-template FILE, or leave --chat at auto."
            )
        if choice.variables:
            yield (
                f"chat_template_kwargs = {dict(choice.variables)}: the tokenizer has no chat template that could use "
                "them. Give one with --chat-template FILE, or leave them out."
            )
        return
    source = str(template)  # several named templates are a dict
    for name in choice.variables:
        if not re.search(rf"\b{re.escape(name)}\b", source):
            yield (
                f"chat_template_kwargs: the chat template of the tokenizer has no variable '{name}', so it would have "
                "no effect. Correct the name, or leave it out."
            )
