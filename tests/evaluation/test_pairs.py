from preftune.evaluation.pairs import PairTable, SliceKind, slice_pairs
from preftune.metrics.intervals import Bootstrap
from tests.evaluation.pair_tables import pair_table


def numbers(table: PairTable, kind: SliceKind) -> dict[str, tuple[int, float, float]]:
    """Pairs, accuracy and margin of each part."""
    parts = slice_pairs(table, Bootstrap(num_resamples=20))
    return {part.label: (part.num_pairs, part.accuracy.value, part.margin.value) for part in parts if part.kind == kind}


def test_lengths_part_at_zero_and_at_the_median_difference() -> None:
    table = pair_table([1, -1, 1, 1, 1, -1], length_difference=[-30, -2, 0, 2, 9, 30])
    assert numbers(table, "length") == {
        "chosen more than 9 tokens shorter": (1, 1.0, 1.0),
        "chosen 1-9 tokens shorter": (1, 0.0, -1.0),
        "equally long": (1, 1.0, 1.0),
        "chosen 1-9 tokens longer": (2, 1.0, 1.0),
        "chosen more than 9 tokens longer": (1, 0.0, -1.0),
    }


def test_pairs_that_are_all_equally_long_are_one_part() -> None:
    assert numbers(pair_table([1, -1]), "length") == {"equally long": (2, 0.5, 0.0)}


def test_several_sources_are_split_separately() -> None:
    table = pair_table([2, -1, 2], sources=["b.jsonl", "a.jsonl", "b.jsonl"])
    assert numbers(table, "source") == {"a.jsonl": (1, 0.0, -1.0), "b.jsonl": (2, 1.0, 2.0)}
    assert numbers(pair_table([1, 1]), "source") == {}


def test_margins_of_the_data_part_into_thirds() -> None:
    table = pair_table([-1, -1, 1, 1, 1, 1], data_margin=[1, 1, 2, 2, 3, 3])
    assert numbers(table, "margin") == {
        "below 1.67": (2, 0.0, -1.0),
        "1.67 to 2.33": (2, 1.0, 1.0),
        "2.33 and more": (2, 1.0, 1.0),
    }


def test_margins_that_are_not_all_known_part_nothing() -> None:
    assert numbers(pair_table([1, 1], data_margin=[1, float("nan")]), "margin") == {}


def test_margins_that_are_all_equal_are_one_part() -> None:
    assert numbers(pair_table([1, -1], data_margin=[1, 1]), "margin") == {"1 and more": (2, 0.5, 0.0)}
