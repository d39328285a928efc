import pickle

import pytest

from preftune.errors import ConfigError, Problem
from preftune.losses import LOSSES
from preftune.losses.method import Method
from preftune.losses.options import loss_options

NUMBERS = [
    (name, option.name) for name, loss in LOSSES.items() for option in loss_options(loss) if option.kind is float
]


@pytest.mark.parametrize(("method", "option"), NUMBERS)
def test_a_problem_of_an_option_carries_the_name_of_the_option(method: str, option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Method.named(method, {option: -1000.0})
    [problem] = caught.value.problems
    assert isinstance(problem, Problem)
    assert (problem.setting, problem.value) == (option, -1000.0)


def test_a_problem_keeps_its_parts_through_pickle() -> None:
    problem = pickle.loads(pickle.dumps(Problem("tau", 0, "must be above 0.")))
    assert problem.under("beta") == "beta = 0: must be above 0."
