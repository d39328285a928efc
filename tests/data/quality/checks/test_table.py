"""What holds for every check of the table."""

from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.quality.check import Check, CheckSettings, DataFinding
from preftune.data.quality.checks import CHECKS, chosen_checks
from preftune.data.quality.facts import TokenCounts
from preftune.data.quality.run import check_groups
from preftune.data.quality.run import prompt_keys as keys_of
from preftune.data.rows import BadRow, DataRow, LeftOut
from preftune.errors import ConfigError, DataFault
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
from tests.data.quality.groups import numbered, pair
from tests.data.quality.planted import clean_rows, planted_rows

TEXTS = st.text(alphabet="ab .\n\x07é中\u200b<|>!", max_size=12)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_looks_for_and_which_severity_it_reports(name: str) -> None:
    check = CHECKS[name]
    assert check.name == name
    assert check.about
    assert "Severity" in (check.__doc__ or "") or "Always a note" in (check.__doc__ or "")


def test_every_check_of_the_folder_is_in_the_table() -> None:
    direct = Check.__subclasses__()
    defined = {kind for base in direct for kind in (base, *base.__subclasses__())}
    assert {kind for kind in defined if not kind.__name__.startswith("_")} == set(CHECKS.values())


def test_no_data_give_no_error_but_that_nothing_is_judged() -> None:
    report = check_groups(list)
    assert {found.rule for found in report.findings} == {"counts"}
    assert report.num_rows == 0


def test_checks_that_lack_something_are_named() -> None:
    report = check_groups(list, only=["tokens", "overlap", "margins"])
    assert report.checks == ("margins",)
    assert report.skipped == {"overlap": "needs --eval-data", "tokens": "needs --tokenizer"}


def test_unknown_checks_are_reported_at_once_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError) as caught:
        chosen_checks(only=["margin"], skip=["xyz"])
    assert len(caught.value.problems) == 2
    assert "only = margin: there is no such check. Did you mean margins?" in str(caught.value)
    assert "The checks are: counts, unusable" in str(caught.value)


def test_no_check_left_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no check is left"):
        chosen_checks(only=["margins"], skip=["margins"])


@st.composite
def groups(draw: st.DrawFn) -> DataRow:
    """Any row, however odd."""
    origin = Origin(draw(st.sampled_from(["a.jsonl", "b.jsonl"])), draw(st.integers(1, 10**9)))
    if draw(st.booleans()) and draw(st.booleans()):
        faults: list[DataFault | None] = [None, "equal", "empty", "other"]
        fault = draw(st.sampled_from(faults))
        return BadRow(origin, draw(TEXTS), fault) if fault else LeftOut(origin, draw(TEXTS))
    numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
    texts = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=4))
    thumbs = st.one_of(st.none(), st.booleans())
    if draw(st.booleans()):
        prompt = (Message("user", draw(TEXTS), {"tool": draw(st.integers())}),)
        contents = [(Message("assistant", text),) for text in texts]
        completions = tuple(Completion(text, draw(numbers), desirable=draw(thumbs)) for text in contents)
        return PromptGroup(prompt, completions, (), origin)
    completions = tuple(Completion(text, draw(numbers), desirable=draw(thumbs)) for text in texts)
    pairs = (Pair(0, 1, draw(numbers)),) if len(texts) > 1 and texts[0] != texts[1] and draw(st.booleans()) else ()
    return PromptGroup(draw(TEXTS), completions, pairs, origin)


def _settings() -> CheckSettings:
    held_out = keys_of([pair("a", "b", "c")])
    return CheckSettings(max_length=4, special_tokens=("<|", ""), held_out=held_out)


def _tokens(rows: list[PromptGroup]) -> list[TokenCounts]:
    return [TokenCounts(2, tuple(len(str(item.content)) for item in group.completions)) for group in rows]


@settings(max_examples=60, deadline=None)
@given(st.lists(groups(), max_size=12))
def test_no_row_however_odd_makes_a_check_fail(rows: list[DataRow]) -> None:
    report = check_groups(lambda: rows, settings=_settings(), count_tokens=_tokens)  # type: ignore[arg-type]
    for found in report.findings:
        assert 0 <= found.count <= found.total
        assert found.title
        assert found.reason


def _said(findings: tuple[DataFinding, ...]) -> list[tuple[object, ...]]:
    """All of the findings but their examples and lists of rows, and which of two alike is called the repeat."""
    return sorted(
        (found.rule, found.severity, found.title, found.count, found.total, str(sorted(found.measures.items())))
        for found in findings
        if found.rule != "suspicious"
    )


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_only_examples(random: Random) -> None:
    rows = [row for row in planted_rows() if row["rejected"].strip() and row["rejected"] != row["chosen"]]
    given_order = [pair(row["prompt"], row["chosen"], row["rejected"], margin=row["margin"]) for row in rows]
    other_order = random.sample(given_order, len(given_order))
    one, other = (check_groups(partial(numbered, order)) for order in (given_order, other_order))
    assert _said(one.findings) == _said(other.findings)


def test_the_seed_changes_nothing_where_all_rows_are_in_the_sample() -> None:
    rows = [pair(row["prompt"], row["chosen"], row["rejected"]) for row in clean_rows(120)]
    reports = [check_groups(lambda: numbered(rows), settings=CheckSettings(seed=seed)) for seed in (0, 1)]
    counts = [[(found.rule, found.count) for found in report.findings] for report in reports]
    assert counts[0] == counts[1]
