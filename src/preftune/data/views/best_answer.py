"""The answer that the data hold for the best."""

from preftune.data.views.demonstrations import demonstration_view
from preftune.data.views.view import scores_of
from preftune.groups import Completion, PromptGroup

__all__ = ["best_answer"]


def best_answer(group: PromptGroup) -> str | None:
    """The best completion as text: by score, else by pairs, else any that is not bad; None where there is none.

    >>> from preftune.groups import Origin, Pair
    >>> best_answer(PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1)))
    '4'
    """
    scores = scores_of(group)
    if scores is not None:
        return _text(group.completions[scores.index(max(scores))])
    view = demonstration_view(group)
    return None if view.group is None else _text(view.group.completions[0])


def _text(completion: Completion) -> str:
    """What was said, without roles."""
    if isinstance(completion.content, str):
        return completion.content
    return "\n".join(message.content for message in completion.content if message.content)
