from pathlib import Path

import pytest
import torch

from preftune.evaluation.by_prompt import PromptRecord
from preftune.evaluation.evaluate import evaluate
from preftune.metrics.intervals import Bootstrap
from preftune.settings.evaluation_config import EvaluationConfig
from tests.runs.inputs import write_model, write_pairs


@pytest.fixture
def model(tmp_path: Path) -> str:
    torch.manual_seed(0)
    return str(write_model(tmp_path / "model", num_hidden_layers=1))


def test_means_by_prompt_are_those_of_the_evaluation(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "length_judge.py").write_text("def score(prompt, completion):\n    return len(completion)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = write_pairs(tmp_path / "pairs.jsonl", count=4)
    data.write_text(data.read_text() + data.read_text())  # each prompt has two pairs
    torch.manual_seed(1)
    other = str(write_model(tmp_path / "other", num_hidden_layers=1))
    record: PromptRecord = {}
    config = EvaluationConfig.of(
        model=model, data=str(data), reference=other, samples=2, max_new_tokens=5, resamples=50,
        judge="python:length_judge:score", best_of=2,
    )  # fmt: skip
    found = evaluate(config, by_prompt=record)
    assert found.preferences is not None
    assert found.preferences.pairs is not None
    assert found.samples is not None
    assert found.samples.kl is not None
    (rate,) = found.win_rates
    assert rate.our_score is not None
    assert rate.their_score is not None
    expected = {
        "accuracy": found.preferences.pairs.accuracy.value,
        "kl": found.samples.kl.value,
        "win_rate": rate.rate.value,
        "score": rate.our_score.value,
        "their_score": rate.their_score.value,
    }
    assert {name: item.mean for name, item in record.items()} == pytest.approx(expected)
    assert set(record["accuracy"].counts) == set(record["kl"].counts) == {2.0}
    assert record["kl"].prompts == record["win_rate"].prompts == record["score"].prompts
    assert len(set(record["kl"].prompts)) == 4
    resampled = Bootstrap(num_resamples=50).interval(record["kl"].statistic, 4)
    assert resampled == found.samples.kl
