"""The kinds of film that get reviewed: who is in them, what happens, what can be judged. No word here judges."""

from dataclasses import dataclass

__all__ = ["ACTORS", "GENRES", "Genre"]


@dataclass(frozen=True, slots=True)
class Genre:
    """A kind of film.

    Args:
        name: What it is called.
        roles: People in it.
        deeds: What one of them does.
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
