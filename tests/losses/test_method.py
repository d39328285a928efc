import inspect

import pytest

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Method, find_loss, loss_options
from preftune.settings import SECTIONS, settings_of


def test_an_unknown_method_names_all_methods_and_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"method = dpo_: there is no such method\. Did you mean dpo\? Methods: sft, dpo"
    ):
        Method.named("dpo_")


def test_an_option_of_another_method_is_refused_with_those_it_takes() -> None:
    with pytest.raises(ConfigError, match=r"tau: not an option of method dpo, which takes beta, label_smoothing"):
        Method.named("dpo", {"tau": 0.1})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"beta": 0.0}, r"beta = 0\.0: must be above 0"),
        ({"beta": -1.0}, r"beta = -1\.0: must be above 0"),
        ({"beta": float("nan")}, "beta = nan: must be a finite number"),
        ({"label_smoothing": 0.5}, r"label_smoothing = 0\.5: must be in \[0, 0\.5\)"),
        ({"label_smoothing": -0.1}, r"label_smoothing = -0\.1: must be in"),
    ],
)
def test_an_option_out_of_its_range_is_refused_before_any_compute(options: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Method.named("dpo", options)


@pytest.mark.parametrize("name", LOSSES)
def test_every_option_has_a_default_of_its_kind_and_help_from_the_docstring(name: str) -> None:
    for option in loss_options(find_loss(name)):
        assert isinstance(option.default, option.kind), option
        assert option.help.endswith("."), option


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_names_its_source_and_its_differences(name: str) -> None:
    docstring = inspect.getdoc(LOSSES[name].function) or ""
    for part in ("Args:", "Returns:", "Source:", "Differs:", ">>> "):
        assert part in docstring, part


def test_options_and_settings_do_not_share_names() -> None:
    settings = {item.name for section in SECTIONS.values() for item in settings_of(section)}
    options = {option.name for loss in LOSSES.values() for option in loss_options(loss)}
    assert not settings & options


def test_rewards_are_scaled_by_beta_if_there_is_a_reference() -> None:
    part = Method.named("dpo", {"beta": 0.3}).rewarding
    assert part is not None
    assert part.reward_scale == 0.3
    assert Method.named("sft").rewarding is None
