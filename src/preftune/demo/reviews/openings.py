"""How a review begins: the prompts. They say where and with whom a film was seen, and nothing of how it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preftune.demo.reviews.genres import GENRES, Genre

__all__ = ["COMPANIONS", "Opening", "write_opening"]

COMPANIONS = (
    "sister", "brother", "mother", "father", "cousin", "neighbour", "uncle", "aunt", "friend", "daughter", "son",
    "colleague",
)  # fmt: skip
_QUALIFIERS = ("a new", "a recent", "an old", "a French", "a Danish", "an Italian", "a low-budget", "a little-known")
_TIMES = ("last night", "yesterday", "on Friday", "on Sunday", "two days ago", "last week", "on a rainy evening")
_PLACES = (
    "at the cinema", "at home", "on television", "on a long flight", "at the film club", "at a festival",
)  # fmt: skip
_PATTERNS = (
    "{Time} I watched {film} with my {companion} {place}.",
    "My {companion} and I saw {film} {place} {time}.",
    "I saw {film} {place} {time}, and my {companion} came along.",
    "My {companion} picked {film} {time}, and we watched it {place}.",
    "{Time} there was {film} {place}, so my {companion} and I watched it.",
)
_STARTS = ("The", "First of all, the", "I thought the", "To begin with, the", "For me the", "In my view the")


@dataclass(frozen=True, slots=True)
class Opening:
    """The first words of a review, and what they let the rest speak of.

    Args:
        text: Ends within a sentence, before the name of an aspect.
        genre: What was seen.
        companion: With whom.
    """

    text: str
    genre: Genre
    companion: str


def write_opening(choose: Callable[[Sequence[str]], str]) -> Opening:
    """Put an opening together.

    Args:
        choose: Picks one of the options it is given.

    >>> write_opening(lambda options: options[0]).text
    'Last night I watched a new heist film with my sister at the cinema. The'
    """
    pattern = choose(_PATTERNS)
    genres = {genre.name: genre for genre in GENRES}
    genre = genres[choose(tuple(genres))]
    companion = choose(COMPANIONS)
    time = choose(_TIMES)
    sentence = pattern.format(
        Time=time[0].upper() + time[1:],
        time=time,
        film=f"{choose(_QUALIFIERS)} {genre.name}",
        companion=companion,
        place=choose(_PLACES),
    )
    return Opening(f"{sentence} {choose(_STARTS)}", genre, companion)
