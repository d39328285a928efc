"""Formats of LLaMA-Factory: Alpaca and ShareGPT, each with one completion or a pair."""

from collections.abc import Collection, Mapping
from typing import Any

from preftune.data.formats.comparisons import chosen_group
from preftune.data.formats.completions import refuse_extra_scores
from preftune.data.formats.demonstrations import MARKS, last_turn_group, marked_group
from preftune.data.formats.fields import (
    as_conversation,
    is_blank,
    read_completion,
    read_items,
    read_objects,
    read_string,
    to_message,
    to_string,
)
from preftune.data.formats.format import Format, each_scored_row
from preftune.data.formats.pairs import PAIR_EXTRA, PAIR_OPTIONAL, PAIR_STRUCTURES, pair_group
from preftune.data.rows import Row
from preftune.groups import Message, PromptGroup


def read_alpaca(row: Row, extra_scores: Collection[str]) -> PromptGroup:
    r"""A group of one completion from `instruction` and `output`, or of a pair from `chosen` and `rejected`.

    An `output` that is a list of two is a pair, the better one first. Optional: `input`, appended to the instruction
    after a line break; `history`, a list of earlier [instruction, output]; with one completion, a mark as in
    `read_mark`; and, with `chosen` and `rejected`, all that is optional for pairs.

    Source: https://github.com/tatsu-lab/stanford_alpaca; pairs, system and history:
        https://github.com/hiyouga/LLaMA-Factory, data/README.md

    >>> from preftune.groups import Origin
    >>> fields = {"instruction": "Add.", "input": "2 and 2", "output": "4"}
    >>> read_alpaca(Row(Origin("alpaca.json", 1), fields), ()).prompt[0].content
    'Add.\n2 and 2'
    """
    prompt = _prompt(row)
    if not is_blank(row.fields.get("chosen")):
        chosen, rejected = (as_conversation(read_string(row, name), "assistant") for name in ("chosen", "rejected"))
        return pair_group(row, prompt, chosen, rejected, extra_scores=extra_scores)
    refuse_extra_scores(row, extra_scores)
    if isinstance(row.fields.get("output"), list | tuple):
        return _output_pair(row, prompt)
    content = as_conversation(read_string(row, "output"), "assistant")
    return marked_group(row, PromptGroup(prompt, (read_completion(row, "output", content),), (), row.origin))


def _output_pair(row: Row, prompt: tuple[Message, ...]) -> PromptGroup:
    items = read_items(row, "output", "the better and the worse output")
    if len(items) != 2:
        raise row.error("output", f"is a list of {len(items)}. It must be text, or the better and the worse output.")
    outputs = {
        f"output[{index}]": as_conversation(to_string(row, f"output[{index}]", item), "assistant")
        for index, item in enumerate(items)
    }
    return chosen_group(row, prompt, outputs, 0)


def _prompt(row: Row) -> tuple[Message, ...]:
    instruction = read_string(row, "instruction")
    if not is_blank(row.fields.get("input")):
        instruction = f"{instruction}\n{read_string(row, 'input')}"
    return (*_history(row), Message("user", instruction))


def _history(row: Row) -> list[Message]:
    turns: Any = row.fields.get("history")
    if is_blank(turns) or turns in ([], ()):
        return []
    messages = []
    for index, turn in enumerate(read_items(row, "history", "earlier [instruction, output]")):
        name = f"history[{index}]"
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise row.error(name, f"is {turn!r:.40}. It must be [instruction, output].")
        messages.append(Message("user", to_string(row, f"{name}[0]", turn[0])))
        messages.append(Message("assistant", to_string(row, f"{name}[1]", turn[1])))
    return messages


_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
}


def read_sharegpt(row: Row, extra_scores: Collection[str]) -> PromptGroup:
    """A group of a pair from `conversations`, `chosen` and `rejected`, or of one completion from `conversations` alone.

    A turn is an object with `from` and `value`, or with `role` and `content`; human is the user, gpt the assistant,
    observation a tool. `chosen` and `rejected` are a turn or text. Without them, the last turn of the conversation is
    the completion. Optional: with one completion, a mark as in `read_mark`; and,
    with `chosen` and `rejected`, all that is optional for pairs.

    Source: https://github.com/hiyouga/LLaMA-Factory, data/README.md

    >>> from preftune.groups import Origin
    >>> turns = [{"from": "human", "value": "2+2="}]
    >>> four, five = ({"from": "gpt", "value": text} for text in "45")
    >>> row = Row(Origin("chats.json", 1), {"conversations": turns, "chosen": four, "rejected": five})
    >>> read_sharegpt(row, ()).completions[0].content
    (Message(role='assistant', content='4', extra={}),)
    """
    items = read_objects(row, "conversations", "the turns")
    turns = tuple(_turn(row, f"conversations[{index}]", item) for index, item in enumerate(items))
    prompt = turns
    if is_blank(row.fields.get("chosen")) and is_blank(row.fields.get("rejected")):
        refuse_extra_scores(row, extra_scores)
        return marked_group(row, last_turn_group(row, "conversations", prompt))
    return pair_group(row, prompt, _answer(row, "chosen"), _answer(row, "rejected"), extra_scores=extra_scores)


def _answer(row: Row, name: str) -> tuple[Message, ...]:
    value: Any = row.fields.get(name)
    if isinstance(value, list | tuple):
        items = read_objects(row, name, "the turns of the answer")
        return tuple(_turn(row, f"{name}[{index}]", item) for index, item in enumerate(items))
    turn = value if isinstance(value, Mapping) else {"from": "gpt", "value": value}
    return (_turn(row, name, turn),)


def _turn(row: Row, name: str, item: Mapping[str, Any]) -> Message:
    if is_blank(item.get("from")):
        return to_message(row, name, item)
    role = item["from"]
    if not isinstance(role, str):
        raise row.error(f"{name}.from", f"is of type {type(role).__name__}. It must be the name of the speaker.")
    content = to_string(row, f"{name}.value", item.get("value"))
    further = {key: value for key, value in item.items() if key not in ("from", "value")}
    return to_message(row, name, {**further, "role": _ROLES.get(role, role), "content": content})


ALPACA = Format(
    name="alpaca",
    about="Alpaca: an instruction with an input, and an output, or a better and a worse one",
    required=(("instruction", "chosen", "rejected"), ("instruction", "output")),
    optional=("input", "history", *MARKS, *PAIR_OPTIONAL),
    extra=PAIR_EXTRA,
    structures=("history", *PAIR_STRUCTURES),
    read=each_scored_row(read_alpaca),
)

SHAREGPT = Format(
    name="sharegpt",
    about="ShareGPT: a conversation, perhaps with a better and a worse answer",
    required=(("conversations", "chosen", "rejected"), ("conversations",)),
    optional=(*MARKS, *PAIR_OPTIONAL),
    extra=PAIR_EXTRA,
    structures=("conversations", *PAIR_STRUCTURES),
    read=each_scored_row(read_sharegpt),
)
