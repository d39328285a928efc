"""Where a prompt ends and a completion begins and ends, in tokens."""

from collections.abc import Callable, Sequence

import numpy as np

from preftune.data.tokens.token_group import TokenIds

__all__ = ["common_prefix_length", "end_once"]


def common_prefix_length(sequences: Sequence[TokenIds]) -> int:
    """How many tokens all sequences have in common at their start.

    Args:
        sequences: At least one.

    >>> common_prefix_length([np.array([1, 2, 3]), np.array([1, 2, 4, 5]), np.array([1, 2])])
    2
    """
    first, *others = sequences
    length = len(first)
    for other in others:
        length = min(length, len(other))
        differs = first[:length] != other[:length]
        if differs.any():
            length = int(differs.argmax())
    return length


def end_once(completion: TokenIds, eos: int, is_blank: Callable[[int], bool]) -> TokenIds:
    """The completion with the end-of-sequence token at its end, once.

    If it is there already, with nothing but white space or repeats of it behind, what is behind is cut off: chat
    templates end a turn with a line break, some tokenizers append a token of their own. Else it is appended.

    Args:
        completion: Token ids. Shape: (token,).
        eos: Id of the end-of-sequence token.
        is_blank: Whether a token is white space only.
    Returns:
        Token ids. Shape: (token,).

    >>> end_once(np.array([5, 6, 0, 9], dtype=np.int32), eos=0, is_blank=lambda token: token == 9)
    array([5, 6, 0], dtype=int32)
    """
    end = None
    for index in range(len(completion) - 1, -1, -1):
        token = int(completion[index])
        if token == eos:
            end = index
        elif not is_blank(token):
            break
    if end is not None:
        return completion[: end + 1]
    return np.append(completion, np.int32(eos))
