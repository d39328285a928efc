import pytest

from preftune.settings.space import Choice, Dimension, Range, corners, parse_dimension, parse_values, safe_name
from preftune.sweep.recommendation import edge_texts


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("beta", "1e-5, 0.1", (1e-5, 0.1)),
        ("batch_size", "8,16", (8, 16)),
        ("max_tokens_per_microbatch", "auto,4096,none", ("auto", 4096, None)),
        ("reference_sync", "off,soft", ("off", "soft")),
        ("method", "dpo,0.8*dpo + 0.2*ipo", ("dpo", "0.8*dpo + 0.2*ipo")),
        ("dpo.beta", "0.1", (0.1,)),
        ("length_normalized", "true,false", (True, False)),
        ("max_length", "none,128", (None, 128)),
    ],
)
def test_values_have_the_type_of_their_setting(name: str, text: str, values: tuple[object, ...]) -> None:
    found = parse_values(name, text)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("betta", "0.1", "betta: there is no such setting or option. Did you mean beta?"),
        ("epochs", "a", "epochs = a: must be a number."),
        ("batch_size", "1.5", "batch_size = 1.5: must be a whole number."),
        ("beta", "0.1,1e-1", "beta = 0.1: is named twice."),
        ("seed", "0,1", "seeds are given by --seeds"),
        ("output", "a,b", "every point has its own folder"),
        ("beta", " , ", "beta: has no values."),
    ],
)
def test_a_setting_that_cannot_be_swept_is_an_error(name: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace(".", r"\.").replace("?", r"\?")):
        parse_values(name, text)


def test_ranges_and_choices_are_distinguished() -> None:
    assert parse_dimension("batch_size", "8:64") == Range(8, 64, whole=True)
    assert parse_dimension("beta", "0.1,0.3") == Choice((0.1, 0.3))
    assert parse_dimension("model", "C:/models/a,b") == Choice(("C:/models/a", "b"))  # text has no ranges


@pytest.mark.parametrize("text", ["1:0.1", "0:1:log", "a:b", "1:inf", "8:16.5"])
def test_a_malformed_range_is_reported_with_the_correct_form(text: str) -> None:
    name = "batch_size" if text == "8:16.5" else "beta"
    with pytest.raises(ValueError, match=f"{name} = {text}"):
        parse_dimension(name, text)


def test_an_option_is_searched_for_the_methods_that_take_it() -> None:
    space: dict[str, Dimension] = {
        "method": Choice(("dpo", "ipo")),
        "beta": Range(0.1, 1.0),
        "epochs": Choice((1.0,)),
    }
    assert list(corners(space, "dpo")) == [
        {"method": "dpo", "beta": 0.1, "epochs": 1.0},
        {"method": "dpo", "beta": 1.0, "epochs": 1.0},
        {"method": "ipo", "epochs": 1.0},
    ]


def test_an_option_that_no_method_takes_stays_and_the_run_reports_it() -> None:
    assert list(corners({"tau": Choice((0.1,))}, "dpo")) == [{"tau": 0.1}]


def test_names_of_folders_are_safe_and_differ() -> None:
    names = ["model=a/b", "model=a:b", "model=a b", "model=" + "x" * 300, "model=" + "x" * 301, "a=..", "a=0.1,b=c+d"]
    found = [safe_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert not any(set(name) & set('/:\\ *?"<>|') for name in found)
    assert max(map(len, found)) <= 130
    assert found[-1] == "a=0.1,b=c+d"


def test_edges_are_those_of_numbers_that_vary() -> None:
    over = {"beta": (0.3, 0.03, 0.1), "method": ("dpo", "ipo"), "epochs": (1.0,)}
    setup = {"beta": 0.3, "method": "dpo", "epochs": 1.0}
    assert list(edge_texts(setup, over, {})) == ["beta = 0.3 is the highest that was tried: try higher ones."]
    assert list(edge_texts({**setup, "beta": 0.1}, over, {})) == []


def test_edges_of_a_range_are_near_its_ends() -> None:
    space = {"beta": Range(0.01, 1.0, log=True)}
    assert "close to the lowest" in next(edge_texts({"beta": 0.011}, {}, space))
    assert list(edge_texts({"beta": 0.1}, {}, space)) == []
