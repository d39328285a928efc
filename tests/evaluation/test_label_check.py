import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.data.load import load_groups
from preftune.data.tokens.tokenize import tokenize_groups
from preftune.errors import ConfigError, DataError, ModelError
from preftune.evaluation.label_check import LabelCheck, check_labels
from preftune.runs.run import train
from preftune.settings.chat import ChatChoice
from tests.model.forward.tiny_models import one_by_one_logps
from tests.runs.inputs import config_of, write_model, write_pairs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("model"), num_hidden_layers=1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.jsonl", count=8)


@pytest.fixture(scope="module")
def run(model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tuned(model, pairs, tmp_path_factory.mktemp("runs") / "dpo", beta=0.5)


def tuned(model: Path, data: Path, output: Path, **settings: object) -> Path:
    """A run of two epochs."""
    train(config_of(model, data, output, **{"method": "dpo", "learning_rate": 1e-2, **settings}))
    return output


def plain_margins(run: Path, reference: Path, data: Path, *, beta: float) -> list[float]:
    """Margins by the plainest forward."""
    groups = tokenize_groups(
        load_groups(str(data)).groups, AutoTokenizer.from_pretrained(run), max_length=None, chat=ChatChoice()
    ).groups
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (run, reference)]
    with torch.no_grad():
        gaps = one_by_one_logps(models[0], groups) - one_by_one_logps(models[1], groups)
    lengths = [length for group in groups for length in group.completion_lengths]
    logratios = torch.stack([part.sum() for part in gaps.split(lengths)]).reshape(-1, 2)
    return [beta * (chosen - rejected) for chosen, rejected in logratios.tolist()]


def test_margins_are_those_of_the_plainest_forward_against_the_model_that_the_run_began_from(
    run: Path, model: Path, pairs: Path
) -> None:
    found = check_labels(run, str(pairs))
    assert found.noise.margins.tolist() == pytest.approx(plain_margins(run, model, pairs, beta=0.5), abs=1e-4)
    assert [str(pair.origin) for pair in found.pairs] == [f"{pairs}:{row}" for row in range(1, 9)]
    assert found.pairs[2].chosen == "It is 6."


def test_an_adapter_is_judged_against_its_base(model: Path, pairs: Path, tmp_path: Path) -> None:
    run = tuned(model, pairs, tmp_path / "lora", lora=True, beta=0.5)
    found = check_labels(run, str(pairs))
    assert found.noise.margins.tolist() == pytest.approx(plain_margins(run, model, pairs, beta=0.5), abs=1e-4)
    assert found.noise.margins.abs().min() > 0


def test_margins_are_the_same_without_the_cache(model: Path, pairs: Path, run: Path, tmp_path: Path) -> None:
    other = tuned(model, pairs, tmp_path / "run", beta=0.5, reference_cache=False)
    left, right = (check_labels(folder, str(pairs)).noise.margins for folder in (run, other))
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


def test_lists_are_judged_by_the_pairs_that_the_run_would_make_of_them(
    model: Path, pairs: Path, tmp_path: Path
) -> None:
    run = tuned(model, pairs, tmp_path / "run", pairing=None)
    file = tmp_path / "lists.jsonl"
    file.write_text(
        json.dumps({"prompt": "What is 1+1?", "completions": [" 2.", " 3.", " 4."], "scores": [3, 2, 1]}) + "\n"
    )
    assert len(check_labels(run, str(file)).pairs) == 3


def test_the_table_and_the_json_name_the_most_likely_flips_first(run: Path, pairs: Path) -> None:
    found = check_labels(run, str(pairs), num_shown=2)
    result = json.loads(json.dumps(found.as_dict()))
    worst = int(found.noise.margins.argmin())
    assert result["likeliest_flipped"][0]["row"] == worst + 1
    assert result["num_pairs"] == 8
    assert text_of(found).index(f"pairs.jsonl:{worst + 1}") < text_of(found).index("Flipped labels to expect")


def test_texts_are_left_out_on_request(run: Path, pairs: Path) -> None:
    found = check_labels(run, str(pairs), with_texts=False)
    assert "It is" not in text_of(found) + json.dumps(found.as_dict())


def test_what_cannot_judge_labels_is_named(run: Path, model: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        check_labels(model, str(pairs))
    other = tuned(model, pairs, tmp_path / "orpo", method="orpo", learning_rate=1e-3)
    with pytest.raises(ConfigError, match="orpo has no implicit reward against a reference"):
        check_labels(other, str(pairs))


def test_a_run_that_has_learned_nothing_is_named(model: Path, pairs: Path, tmp_path: Path) -> None:
    idle = tuned(model, pairs, tmp_path / "idle", learning_rate=1e-30)
    with pytest.raises(ModelError, match="equal to its reference"):
        check_labels(idle, str(pairs))


def test_data_without_anything_to_compare_are_refused(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "demonstrations.jsonl"
    file.write_text(json.dumps({"prompt": "What is 1+1?", "completion": " 2."}) + "\n")
    with pytest.raises(DataError, match="no prompt has two completions"):
        check_labels(run, str(file))


def text_of(found: LabelCheck) -> str:
    """The table as the terminal shows it, wide enough for one line per row."""
    console = Console(width=300)
    with console.capture() as capture:
        console.print(found.table())
    return capture.get()
