"""Parts of messages that a chat template shows, changes or leaves out, and tool arguments in the form that it takes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from preftune.errors import DataError
from preftune.groups import Message, TemplateInputs

Hidden = Literal[
    "hidden_texts", "hidden_calls", "hidden_thoughts", "hidden_systems", "hidden_tools", "other_generation_prompts"
]
"""Kind of loss: parts of messages that a template leaves out or changes, or a prompt that generation does not see."""

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_SYSTEMS = ("system", "developer")
_NAMES: Mapping[Hidden, str] = {
    "hidden_texts": "text",
    "hidden_calls": "tool_calls",
    "hidden_thoughts": "reasoning",
    "hidden_systems": "text",
}

Render = Callable[[Sequence[Message]], str]
"""Renders a conversation."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message.

    Args:
        kind: The loss if the template does not show it.
        texts: Texts that show it.
        without: The message without the part.
    """

    kind: Hidden
    texts: tuple[str, ...]
    without: Message


def parts_of(message: Message) -> Iterator[Part]:
    """The text, the tool calls and the reasoning of a message."""
    if message.content.strip():
        kind: Hidden = "hidden_systems" if message.role in _SYSTEMS else "hidden_texts"
        yield Part(kind, (message.content,), replace(message, content=""))
    calls = message.extra.get("tool_calls")
    if calls:
        yield Part("hidden_calls", tuple(_leaves(_called(calls))), _without(message, "tool_calls"))
    for name in _THOUGHTS:
        thoughts = message.extra.get(name)
        if isinstance(thoughts, str) and thoughts.strip():
            yield Part("hidden_thoughts", (thoughts,), _without(message, name))


def _without(message: Message, name: str) -> Message:
    return replace(message, extra={key: value for key, value in message.extra.items() if key != name})


def _called(calls: Any) -> Iterator[Any]:
    """Name and arguments of each call."""
    for call in calls if isinstance(calls, list | tuple) else [calls]:
        function = call.get("function", call) if isinstance(call, Mapping) else call
        yield function.get("name") if isinstance(function, Mapping) else function
        yield _decoded(function.get("arguments")) if isinstance(function, Mapping) else None


def _leaves(value: Any) -> Iterator[str]:
    """The names and values of a structure as text."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | Iterator):
        for item in value:
            yield from _leaves(item)


def is_shown(text: str, rendered: str) -> bool:
    r"""True if a text appears in a rendered conversation: verbatim, in JSON, or with other white space.

    >>> is_shown(" 2+2 =\n4", "user: 2+2 = 4<end>"), is_shown('say "4"', '{"text": "say \\"4\\""}'), is_shown("5", "4")
    (True, True, False)
    """
    wanted = text.strip()
    if wanted in rendered:
        return True
    escaped = (json.dumps(wanted, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
    return any(form in rendered for form in escaped) or "".join(wanted.split()) in "".join(rendered.split())


def hidden_parts(
    messages: Sequence[Message], rendered: str, render: Render, *, num_before: int = 0, start: int = 0
) -> Iterator[tuple[Part, bool]]:
    """Parts of a conversation that its rendered text does not show, each with True if the template leaves it all out.

    A part is left out if the template renders the same without it. Otherwise the template changes it, as those do that
    cut a `<think>` block out of a text.

    Args:
        render: Renders the conversation.
        num_before: Messages before those to look at.
        start: Position in the rendered text behind which they stand.
    """
    behind = rendered[start:]
    for index in range(num_before, len(messages)):
        for part in parts_of(messages[index]):
            if not all(is_shown(text, behind) for text in part.texts):
                yield part, _renders_same([*messages[:index], part.without, *messages[index + 1 :]], rendered, render)


def _renders_same(messages: Sequence[Message], rendered: str, render: Render) -> bool:
    try:
        return render(messages) == rendered
    except DataError:  # the template needs the part, so that it does something with it
        return False


def check_completion(
    completion: Sequence[Message], hidden: Sequence[tuple[Part, bool]], *, place: str, index: int
) -> None:
    """Raise an error if the template leaves out all that a completion says."""
    num_parts = sum(1 for message in completion for _ in parts_of(message))
    if num_parts and sum(is_left_out for _, is_left_out in hidden) == num_parts:
        names = ", ".join(dict.fromkeys(_NAMES[part.kind] for part, _ in hidden))
        raise DataError(
            f"{place}: completion {index}: the chat template shows nothing of its {names}, so that only the end of the "
            "turn would be learned. Give a template that shows it with --chat-template FILE, or leave the row out."
        )


def hidden_tools(inputs: TemplateInputs, rendered: str) -> bool:
    """True if a conversation has tools whose names the template does not show."""
    names = (tool.get("function", tool).get("name") for tool in inputs.tools)
    return any(isinstance(name, str) and not is_shown(name, rendered) for name in names)


# --- tool arguments -------------------------------------------------------------------------------------------

ArgumentForm = Literal["as given", "object", "text"]
"""Form of tool arguments that a chat template renders once: both, an object, or JSON text."""

_NAME = "k9f4c"


def argument_form(render: Callable[[list[dict[str, Any]]], str]) -> ArgumentForm:
    """The form of tool arguments that a template takes: it may encode text again, or print an object as Python does.

    Args:
        render: Renders turns, and may raise anything.
    """
    takes_text = _renders_once(render, json.dumps({_NAME: "v"}), f'\\"{_NAME}')
    takes_object = _renders_once(render, {_NAME: "v"}, f"'{_NAME}'")
    if takes_text == takes_object:
        return "as given"
    return "text" if takes_text else "object"


def _renders_once(render: Callable[[list[dict[str, Any]]], str], arguments: Any, wrong: str) -> bool:
    call = {"type": "function", "id": "abcdefghi", "function": {"name": "probe", "arguments": arguments}}
    turns: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
    turns.append({"role": "assistant", "content": "", "tool_calls": [call]})
    try:
        rendered = render(turns)
    except Exception:  # templates are programs: they may raise anything
        return False
    return _NAME in rendered and wrong not in rendered


def with_arguments_as(form: ArgumentForm, turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turns with the arguments of their tool calls in the given form.

    >>> call = {"function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    >>> with_arguments_as("object", [{"role": "assistant", "tool_calls": [call]}])[0]["tool_calls"]
    [{'function': {'name': 'weather', 'arguments': {'city': 'Paris'}}}]
    """
    if form == "as given" or not any(turn.get("tool_calls") for turn in turns):
        return turns
    return [
        {**turn, "tool_calls": _converted(form, turn["tool_calls"])} if "tool_calls" in turn else turn for turn in turns
    ]


def _converted(form: ArgumentForm, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_converted(form, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _converted(form, item) if name == "function" else item for name, item in value.items()}
    if "arguments" in found:
        found["arguments"] = _encoded(found["arguments"]) if form == "text" else _decoded(found["arguments"])
    return found


def _decoded(arguments: Any) -> Any:
    try:
        found = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, Mapping) else arguments


def _encoded(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
