"""The judging words of the reviews, graded by what they say."""

from dataclasses import dataclass

from preftune.demo.reviews.derivation import Degree, Graded


def _graded(*, rave: str, praise: str, lukewarm: str, complaint: str, pan: str) -> Graded:
    columns = zip(Degree, (rave, praise, lukewarm, complaint, pan), strict=True)
    return {degree: tuple(phrases.split(" / ")) for degree, phrases in columns}


@dataclass(frozen=True, slots=True)
class Aspect:
    """A part of a film that can be judged.

    Args:
        is_plural: Takes "were" instead of "was".
        adjectives: Judgements of this aspect alone. Half of its judgements are these, half are
            `ADJECTIVES`; without them all are.
    """

    name: str
    is_plural: bool
    adjectives: Graded | None = None


ADJECTIVES = _graded(
    rave="brilliant / superb / wonderful / flawless / outstanding / a delight / close to perfect / simply marvellous",
    praise="good / solid / enjoyable / well made / rather charming / never dull / better than expected / a pleasure",
    lukewarm="ordinary / passable / nothing special / fair enough / much as expected / neither here nor there / "
    "acceptable / hard to judge",
    complaint="weak / flat / uneven / dull / forgettable / not very good / a little tired / far from fresh",
    pan="dreadful / terrible / awful / painful / unbearable / embarrassing / a disgrace / beyond rescue",
)
"""Fits any aspect."""

ASPECTS: tuple[Aspect, ...] = (
    Aspect(
        "plot",
        False,
        _graded(
            rave="ingenious / gripping",
            praise="clever / neatly told",
            lukewarm="simple / easy to follow",
            complaint="predictable / hard to follow",
            pan="senseless / full of holes",
        ),
    ),
    Aspect(
        "acting",
        False,
        _graded(
            rave="magnificent / electric",
            praise="sincere / convincing",
            lukewarm="restrained / steady",
            complaint="stiff / overdone",
            pan="wooden / amateurish",
        ),
    ),
    Aspect(
        "score",
        False,
        _graded(
            rave="haunting / sublime",
            praise="catchy / pleasant",
            lukewarm="discreet / sparse",
            complaint="too loud / repetitive",
            pan="deafening / grating",
        ),
    ),
    Aspect(
        "photography",
        False,
        _graded(
            rave="radiant / breathtaking",
            praise="sharp / handsome",
            lukewarm="grainy / rather dark",
            complaint="murky / shaky",
            pan="ugly / an eyesore",
        ),
    ),
    Aspect(
        "pacing",
        False,
        _graded(
            rave="thrilling / perfectly judged",
            praise="brisk / lively",
            lukewarm="even / measured",
            complaint="slow / jerky",
            pan="deadly / glacial",
        ),
    ),
    Aspect(
        "dialogue",
        False,
        _graded(
            rave="sparkling / hilarious",
            praise="witty / natural",
            lukewarm="formal / wordy",
            complaint="clumsy / stilted",
            pan="cringeworthy / idiotic",
        ),
    ),
    Aspect(
        "ending",
        False,
        _graded(
            rave="unforgettable / deeply moving",
            praise="satisfying / well earned",
            lukewarm="open / quiet",
            complaint="rushed / unconvincing",
            pan="ridiculous / an insult",
        ),
    ),
    Aspect(
        "editing",
        False,
        _graded(
            rave="seamless / masterly",
            praise="crisp / tidy",
            lukewarm="plain / conventional",
            complaint="choppy / careless",
            pan="chaotic / incompetent",
        ),
    ),
    Aspect(
        "sets",
        True,
        _graded(
            rave="dazzling / gorgeous",
            praise="detailed / tasteful",
            lukewarm="bare / modest",
            complaint="cheap / shabby",
            pan="laughable / hideous",
        ),
    ),
    Aspect(
        "characters",
        True,
        _graded(
            rave="richly drawn / full of life",
            praise="warm / well drawn",
            lukewarm="familiar / numerous",
            complaint="shallow / cold",
            pan="hateful / thin as paper",
        ),
    ),
)

PERFORMANCES = _graded(
    rave="stole every scene / was a revelation / lit up the screen / gave the performance of a lifetime",
    praise="was well cast / did a fine job / brought real warmth / made the most of the part",
    lukewarm="did what was needed / was adequate / kept to the script / had little to do",
    complaint="never quite fitted the part / looked bored / tried too hard / lacked warmth",
    pan="was hopelessly miscast / ruined every scene / could not act at all / mumbled every line",
)
"""Judgements of an actor."""

RESPONSES = _graded(
    rave="loved every minute / was spellbound / was moved to tears / could not look away",
    praise="had a good time / was pleasantly surprised / laughed quite often / left in a good mood",
    lukewarm="did not mind it / was of two minds / had no strong feelings / shrugged at the end",
    complaint="lost interest / looked at the clock / expected more / grew restless",
    pan="nearly walked out / fell asleep / wanted the money back / hated every minute",
)
"""Reactions of a viewer."""

VERDICTS = _graded(
    rave="a triumph / a small masterpiece / a joy from start to finish / one of the best of the year",
    praise="time well spent / a pleasant surprise / a fine evening out / worth the ticket",
    lukewarm="an average film / neither good nor bad / a film for fans / much like the others",
    complaint="a missed chance / a letdown / less than it could have been / a tired copy",
    pan="a disaster / a complete mess / a waste of two hours / one of the worst of the year",
)
"""Overall verdicts on the film."""

ADVICE = _graded(
    rave="see it at once / see it twice",
    praise="give it a try / put it on the list",
    lukewarm="make up your own mind / read the book too",
    complaint="wait for the television broadcast / think twice",
    pan="avoid it at all costs / stay at home",
)
"""Advice to the reader."""

RATINGS = _graded(rave="five stars", praise="four stars", lukewarm="three stars", complaint="two stars", pan="one star")
"""Ratings out of five."""


def all_phrases() -> dict[str, Degree]:
    """Every judging phrase with what it says.

    Raises:
        ValueError: a phrase stands in two degrees, so a text would not say which one was meant.

    >>> phrases = all_phrases()
    >>> phrases["dull"].name, phrases["never dull"].name
    ('COMPLAINT', 'PRAISE')
    """
    slots = (ADJECTIVES, PERFORMANCES, RESPONSES, VERDICTS, ADVICE, RATINGS)
    degrees: dict[str, Degree] = {}
    for graded in (*slots, *(aspect.adjectives for aspect in ASPECTS if aspect.adjectives)):
        for degree, phrases in graded.items():
            for phrase in phrases:
                if degrees.setdefault(phrase, degree) is not degree:
                    raise ValueError(f"{phrase!r} is both {degrees[phrase].name} and {degree.name}. Keep one of them.")
    return degrees
