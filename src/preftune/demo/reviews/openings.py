"""Prompts: kinds of film and neutral openings of reviews, which say where and with whom a film was seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Genre:
    """A kind of film.

    Args:
        roles: People in it.
        deeds: Actions of one of them.
        aspect: A part that only such films have, for "the ... was".
        aspects: Parts that only such films have, for "the ... were".
    """

    name: str
    roles: tuple[str, ...]
    deeds: tuple[str, ...]
    aspect: str
    aspects: str


GENRES: tuple[Genre, ...] = (
    Genre(
        "heist film",
        ("thief", "driver", "forger"),
        ("plans one last robbery", "hides a diamond", "digs a tunnel"),
        "robbery",
        "chase scenes",
    ),
    Genre(
        "western",
        ("sheriff", "rancher", "gambler"),
        ("rides into a silent town", "guards a railway", "looks for a lost brother"),
        "final duel",
        "desert scenes",
    ),
    Genre(
        "ghost story",
        ("widow", "caretaker", "priest"),
        ("moves into a lonely house", "hears steps at night", "finds a locked room"),
        "haunted house",
        "ghosts",
    ),
    Genre(
        "courtroom drama",
        ("lawyer", "judge", "witness"),
        ("defends a silent client", "hides a letter", "doubts a confession"),
        "trial",
        "closing speeches",
    ),
    Genre(
        "space adventure",
        ("pilot", "captain", "robot"),
        ("repairs a lost ship", "lands on a frozen moon", "answers a strange signal"),
        "battle in orbit",
        "special effects",
    ),
    Genre(
        "road movie",
        ("singer", "student", "farmer"),
        ("drives across the country", "runs away from a wedding", "returns to a lonely village"),
        "journey",
        "landscapes",
    ),
    Genre(
        "spy thriller",
        ("spy", "diplomat", "courier"),
        ("carries a secret file", "hunts a traitor", "crosses a closed border"),
        "train scene",
        "disguises",
    ),
    Genre(
        "costume drama",
        ("duchess", "tutor", "governess"),
        ("inherits a large house", "writes secret letters", "refuses a marriage"),
        "ballroom scene",
        "costumes",
    ),
    Genre(
        "romantic comedy",
        ("baker", "florist", "teacher"),
        ("falls for a rival", "plans a wedding", "shares a house with a stranger"),
        "love story",
        "jokes",
    ),
    Genre(
        "murder mystery",
        ("detective", "butler", "doctor"),
        ("looks for a poisoner", "counts the suspects", "solves a case on a train"),
        "final reveal",
        "clues",
    ),
)

ACTORS: tuple[str, ...] = ("Nora Vance", "Emil Hart", "Ada Quinn", "Tomas Reed", "Ines Falk", "Jonah Pike")
"""Made up."""


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
        companion: With whom.
    """

    text: str
    genre: Genre
    companion: str


def write_opening(choose: Callable[[Sequence[str]], str]) -> Opening:
    """Put an opening together.

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
