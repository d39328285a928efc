"""Groups with feedback."""

from collections.abc import Sequence

from preftune.groups import Completion, Origin, Pair, PromptGroup

__all__ = ["contents", "paired", "scored", "thumbed"]


def scored(*scores: float | None, row: int = 1, pairs: Sequence[Pair] = ()) -> PromptGroup:
    """Completions `a`, `b`, ... with these scores."""
    completions = tuple(Completion(chr(ord("a") + index), score) for index, score in enumerate(scores))
    return PromptGroup("?", completions, tuple(pairs), Origin("rows", row))


def paired(*pairs: tuple[int, int], number: int = 2, row: int = 1) -> PromptGroup:
    """As many completions `a`, `b`, ... of which these pairs say that the first is better."""
    return scored(*[None] * number, row=row, pairs=[Pair(chosen, rejected) for chosen, rejected in pairs])


def thumbed(*thumbs: bool | None, row: int = 1) -> PromptGroup:
    """Completions `a`, `b`, ... with these thumbs."""
    completions = tuple(Completion(chr(ord("a") + index), desirable=thumb) for index, thumb in enumerate(thumbs))
    return PromptGroup("?", completions, (), Origin("rows", row))


def contents(group: PromptGroup) -> str:
    """The letters of all completions."""
    return "".join(str(completion.content) for completion in group.completions)
