"""Formats of OpenAssistant: a tree of messages in each row, or a message of a tree."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from preftune.data.formats.fields import is_blank, to_number, to_string
from preftune.data.formats.format import Format, without_scores
from preftune.data.formats.lists import Answer, scored_group
from preftune.data.rows import BadRow, LeftOut, Row, RowStream
from preftune.errors import DataError
from preftune.groups import Message, Origin, PromptGroup

_ROLES = {"prompter": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Node:
    """A message of a tree.

    Args:
        prefix: Path within the row, such as `prompt.replies[0].`.
        parent: Id of the message it answers; None for a root.
        rank: Rank among the answers to its parent, 0 for the best; None if it has none.
    """

    origin: Origin
    prefix: str
    id: str
    parent: str | None
    message: Message
    rank: float | None


def read_node(row: Row, prefix: str, fields: Mapping[str, Any], parent: str | None) -> Node | LeftOut:
    """A message of a tree, or `LeftOut` if it was deleted.

    Args:
        fields: `message_id`, `role` (prompter or assistant), `text`; optional: `rank`, `deleted`.
    """
    name = to_string(row, f"{prefix}message_id", fields.get("message_id"))
    role = to_string(row, f"{prefix}role", fields.get("role"))
    if role not in _ROLES:
        raise row.error(f"{prefix}role", f"is {role!r:.40}. It must be prompter or assistant.")
    if fields.get("deleted") is True:
        return LeftOut(row.origin, "deleted message")
    text = to_string(row, f"{prefix}text", fields.get("text"))
    if role == "assistant" and not text.strip():
        raise row.error(f"{prefix}text", "has an empty completion. It has nothing to learn from.", fault="empty")
    rank: Any = fields.get("rank")
    known = None if is_blank(rank) else to_number(row, f"{prefix}rank", rank)
    return Node(row.origin, prefix, name, parent, Message(_ROLES[role], text), known)


def groups_of_trees(nodes: Sequence[Node]) -> Iterator[PromptGroup | BadRow | LeftOut]:
    """A group for each answered message of a user: the conversation up to it, and its ranked answers.

    The scores are the negative ranks. A single answer needs no rank. Left out are answers without a rank beside answers
    with one, answers of which none has a rank, and messages whose parent is missing.

    Args:
        nodes: Whole trees, in any order.
    Returns:
        Groups in the order of the answered messages, with the origins of these.
    """
    by_id: dict[str, Node] = {}
    for node in nodes:
        if node.id in by_id:
            yield BadRow(node.origin, f"field '{node.prefix}message_id' is {node.id!r:.60}, as in another message.")
        else:
            by_id[node.id] = node
    answers: dict[str | None, list[Node]] = {}
    for node in by_id.values():
        answers.setdefault(node.parent, []).append(node)
    reached = {None, *_reached(answers)}
    for node in by_id.values():
        if node.id not in reached:
            yield LeftOut(node.origin, "parent of the message is missing")
        elif problem := _turn_problem(node, by_id):
            yield problem
        elif node.message.role == "user":
            yield from _group(node, answers.get(node.id, []), by_id)


def _reached(answers: Mapping[str | None, Sequence[Node]]) -> Iterator[str]:
    """Ids of the messages below the roots."""
    waiting = list(answers.get(None, []))
    while waiting:
        node = waiting.pop()
        yield node.id
        waiting.extend(answers.get(node.id, []))


def _turn_problem(node: Node, by_id: Mapping[str, Node]) -> BadRow | None:
    parent = by_id[node.parent] if node.parent is not None else None
    speaks_before = parent.message.role if parent is not None else "assistant"
    if node.message.role != speaks_before:
        return None
    what = "starts a tree, but is not of a prompter" if parent is None else "answers a message of the same role"
    return BadRow(node.origin, f"field '{node.prefix}role': the message {what}.")


def _group(node: Node, replies: Sequence[Node], by_id: Mapping[str, Node]) -> Iterator[PromptGroup | LeftOut]:
    given = [reply for reply in replies if reply.message.role == "assistant"]
    ranked = [reply for reply in given if reply.rank is not None] if len(given) > 1 else given
    if not ranked:
        yield LeftOut(node.origin, "answers without ranks" if given else "message without an answer")
        return
    for reply in given:
        if reply.rank is None and len(given) > 1:
            yield LeftOut(reply.origin, "answer without a rank")
    scored = [Answer(f"{reply.prefix}text", (reply.message,), 0.0 - (reply.rank or 0.0)) for reply in ranked]
    yield scored_group(Row(node.origin, {}), _conversation(node, by_id), scored)


def _conversation(node: Node, by_id: Mapping[str, Node]) -> tuple[Message, ...]:
    messages = [node.message]
    while node.parent is not None:
        node = by_id[node.parent]
        messages.append(node.message)
    return tuple(reversed(messages))


Items = Iterator[PromptGroup | BadRow | LeftOut]


def read_message_trees(rows: RowStream) -> Items:
    """Groups of rows with a whole tree each, in `prompt`, whose `replies` are messages with replies.

    Every answered message makes a group: see `groups_of_trees`.

    Source: Köpf et al. 2023, arXiv:2304.07327; files `*.trees.jsonl.gz` of
        https://huggingface.co/datasets/OpenAssistant/oasst1
    """
    for row in rows:
        if isinstance(row, Row):
            yield from _tree_of_row(row)
        else:
            yield row


def read_message_rows(rows: RowStream) -> Items:
    """Groups of rows with one message each: `message_id`, `parent_id`, `role`, `text`; optional: `rank`.

    Every answered message makes a group: see `groups_of_trees`. If the rows of each `message_tree_id` are contiguous,
    one tree at a time is in memory, otherwise all of them.

    Source: Köpf et al. 2023, arXiv:2304.07327; https://huggingface.co/datasets/OpenAssistant/oasst1
    """
    parts = groupby(rows, _tree_id) if rows.can_reopen and _trees_stand_together(rows) else [(None, rows)]
    for _, part in parts:
        nodes: list[Node] = []
        for row in part:
            node = _node_of_row(row) if isinstance(row, Row) else row
            if isinstance(node, Node):
                nodes.append(node)
            else:
                yield node
        yield from groups_of_trees(nodes)


def _tree_id(row: Row | BadRow | LeftOut) -> str | None:
    found: Any = row.fields.get("message_tree_id") if isinstance(row, Row) else None
    return found if isinstance(found, str) else None


def _trees_stand_together(rows: RowStream) -> bool:
    finished: set[int] = set()  # a collision of hashes only means that all rows are kept in memory
    last: str | None = None
    for row in rows:
        found = _tree_id(row)
        if not isinstance(row, Row) or found == last:
            continue
        if found is None or hash(found) in finished:
            return False
        finished.add(hash(found))
        last = found
    return True


def _node_of_row(row: Row) -> Node | BadRow | LeftOut:
    try:
        parent: Any = row.fields.get("parent_id")
        if not is_blank(parent) and not isinstance(parent, str):
            raise row.error("parent_id", f"is of type {type(parent).__name__}. It must name a message.")
        return read_node(row, "", row.fields, None if is_blank(parent) else parent)
    except DataError as error:
        return BadRow.of(row, error)


def _tree_of_row(row: Row) -> Items:
    nodes: list[Node] = []
    waiting: deque[tuple[str, Any, str | None]] = deque([("prompt.", row.fields.get("prompt"), None)])
    try:
        while waiting:
            prefix, fields, parent = waiting.popleft()
            if not isinstance(fields, Mapping):
                raise row.error(prefix.rstrip("."), f"is of type {type(fields).__name__}. It must be a message.")
            node = read_node(row, prefix, fields, parent)
            if isinstance(node, LeftOut):
                yield node
                continue
            nodes.append(node)
            replies: Any = fields.get("replies") or []
            if not isinstance(replies, list | tuple):
                raise row.error(f"{prefix}replies", f"is of type {type(replies).__name__}. It must be a list.")
            waiting.extend((f"{prefix}replies[{index}].", reply, node.id) for index, reply in enumerate(replies))
    except DataError as error:
        yield BadRow.of(row, error)
        return
    yield from groups_of_trees(nodes)


MESSAGE_TREES = Format(
    name="message_trees",
    about="OpenAssistant: a tree of messages, the answers to each ranked",
    required=(("message_tree_id", "prompt"),),
    structures=("prompt",),
    takes_row_columns=False,
    read=without_scores(read_message_trees),
)

MESSAGE_ROWS = Format(
    name="message_rows",
    about="OpenAssistant: a message of such a tree",
    required=(("message_id", "parent_id", "role", "text"),),
    optional=("message_tree_id", "rank", "deleted"),
    takes_row_columns=False,
    read=without_scores(read_message_rows),
)
