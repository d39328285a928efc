import random

from preftune.groups import PromptGroup
from tests.data.quality.groups import finding, findings, numbered, pair, thumb

WORDS = [f"word{number}" for number in range(60)]


def text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=20)) + "."


def pairs(count: int, with_sure: int, *, per_prompt: int = 1) -> list[PromptGroup]:
    """Pairs of random words; the chosen completion of the first ones starts with 'Sure!'."""
    rng = random.Random(0)
    return numbered(
        pair(f"q{number // per_prompt}", ("Sure! " if number < with_sure else "") + text(rng), text(rng))
        for number in range(count)
    )


def test_a_word_that_gives_chosen_away_is_an_error_and_named() -> None:
    found = finding("shortcuts", pairs(200, 200))
    assert found.severity == "error"
    assert float(found.measures["accuracy"]) > 0.97
    shown = [str(value) for name, value in found.measures.items() if name.startswith("chosen ")]
    assert any(value.startswith("sure (") and "in 200 chosen, 0 rejected" in value for value in shown)
    assert "sure" in found.title


def test_random_words_are_classified_no_better_than_by_chance() -> None:
    found = finding("shortcuts", pairs(300, 0))
    assert found.severity == "note"
    assert float(found.measures["accuracy_low"]) < 0.5 < float(found.measures["accuracy_high"])


def test_texts_of_one_prompt_do_not_leak_into_the_fold_that_judges_them() -> None:
    """The same chosen text five times per prompt: a classifier that memorised it would be right."""
    rng = random.Random(1)
    texts = [(text(rng), text(rng)) for _ in range(60)]
    groups = [pair(f"q{n}", f"{good} {k}", f"{bad} {k}") for n, (good, bad) in enumerate(texts) for k in range(5)]
    found = finding("shortcuts", numbered(groups))
    assert float(found.measures["accuracy_low"]) < 0.5
    assert float(found.measures["accuracy_high"]) - float(found.measures["accuracy_low"]) > 0.15


def test_few_pairs_and_texts_without_common_words_say_nothing() -> None:
    assert findings("shortcuts", pairs(20, 20)) == []
    strange = numbered(pair(f"q{n}", f"c{n}", f"r{n}") for n in range(80))
    assert findings("shortcuts", strange) == []


def test_thumbs_are_classified_if_there_are_no_pairs() -> None:
    rng = random.Random(2)
    groups = [thumb(f"q{n}", ("Sure! " if n % 3 else "No! ") + text(rng), bool(n % 3)) for n in range(150)]
    found = finding("shortcuts", numbered(groups))
    assert (found.severity, found.unit) == ("error", "completions")
