"""Which methods the data fit."""

import pytest

from preftune.data.fitting import methods_that_fit
from preftune.groups import Pair, PromptGroup
from preftune.losses import LOSSES
from tests.data.views.groups import paired, scored, thumbed


@pytest.mark.parametrize(
    ("group", "kinds"),
    [
        (paired((0, 1)), {"pairs", "thumbs", "lists", "demonstrations"}),
        (paired((0, 1), (1, 2), number=3), {"pairs", "thumbs", "demonstrations"}),
        (scored(1.0, 2.0), {"pairs", "lists", "demonstrations"}),
        (thumbed(True), {"thumbs", "demonstrations"}),
        (scored(None), {"demonstrations"}),
    ],
)
def test_data_fit_the_methods_that_learn_from_what_they_say(group: PromptGroup, kinds: set[str]) -> None:
    wanted = {loss.feedback for loss in LOSSES.values()} & kinds
    assert set(methods_that_fit([group])) == wanted
    assert set(methods_that_fit([group, scored(None)])) == {"demonstrations"}


def test_methods_that_need_margins_fit_data_that_have_them() -> None:
    takes_margins = {name for name, loss in LOSSES.items() if loss.needs("margins")}
    without = methods_that_fit([paired((0, 1))])["pairs"]
    assert "dpo" in without
    assert not takes_margins & set(without)
    assert takes_margins <= set(methods_that_fit([scored(2.0, 1.0, pairs=[Pair(0, 1)])])["pairs"])
