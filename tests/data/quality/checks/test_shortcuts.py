"""Lengths and words that tell chosen from rejected."""

import random

import pytest

from preftune.groups import PromptGroup
from tests.data.quality.groups import finding, findings, numbered, pair, thumb


def pairs_by_length(count: int, longer: int, *, seed: int = 0) -> list[PromptGroup]:
    """Pairs whose chosen completion is the longer one in the first `longer`, else the shorter one."""
    rng = random.Random(seed)
    groups = []
    for number in range(count):
        short, long = "w " * rng.randint(5, 20), "w " * rng.randint(21, 60)
        chosen, rejected = (long, short) if number < longer else (short, long)
        groups.append(pair(f"q{number}", chosen, rejected))
    return numbered(groups)


def test_the_share_is_exact_and_the_accuracy_that_of_the_rule() -> None:
    found = finding("length-bias", pairs_by_length(300, 270))
    assert (found.count, found.total, found.share) == (270, 300, 0.9)
    assert found.measures["accuracy"] == pytest.approx(0.9, abs=0.01)
    assert found.severity == "error"


def test_shorter_is_a_bias_too() -> None:
    found = finding("length-bias", pairs_by_length(300, 60))
    assert found.measures["accuracy"] == pytest.approx(0.8, abs=0.01)
    assert found.severity == "error"


def test_no_bias_is_a_note_with_chance_inside_the_interval() -> None:
    found = finding("length-bias", pairs_by_length(400, 200))
    assert found.severity == "note"
    low, high = (float(found.measures[f"accuracy_{side}"]) for side in ("low", "high"))
    assert low < 0.5 < high


def test_a_middling_length_that_wins_is_found_where_longer_and_shorter_are_even() -> None:
    groups = [pair(f"a{n}", "w " * (30 + n % 5), "w " * (90 + n % 7)) for n in range(100)]
    groups += [pair(f"b{n}", "w " * (30 + n % 5), "w " * (5 + n % 7)) for n in range(100)]
    found = finding("length-bias", numbered(groups))
    assert found.share == 0.5
    assert float(found.measures["accuracy"]) > 0.95


def test_few_pairs_say_nothing_about_accuracy() -> None:
    found = finding("length-bias", pairs_by_length(20, 20))
    assert "accuracy" not in found.measures
    assert found.severity == "note"


def test_pairs_of_a_single_prompt_give_no_estimate() -> None:
    groups = numbered(pair("q", "w " * (n + 2), "w") for n in range(60))
    assert "accuracy" not in finding("length-bias", groups).measures


def test_thumbs_are_classified_by_length_with_balanced_accuracy() -> None:
    groups = [thumb(f"q{n}", "w " * (30 + n), True) for n in range(90)]
    groups += [thumb(f"r{n}", "w " * (5 + n % 9), False) for n in range(30)]
    found = finding("length-bias", numbered(groups))
    assert float(found.measures["accuracy"]) > 0.9
    assert (found.count, found.total) == (90, 120)


def test_thumbs_of_one_kind_cannot_be_classified() -> None:
    assert findings("length-bias", numbered(thumb(f"q{n}", "w", True) for n in range(90))) == []


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
