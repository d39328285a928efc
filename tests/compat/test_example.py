from pathlib import Path

import pytest
from examples.dpo_finetuning import brightness, main


def test_the_rule_counts_words() -> None:
    assert brightness("the room was cold . the guide was rude . the view was lovely .") == -1


def test_the_walk_through_makes_the_letters_brighter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    improvement = main(num_pairs=96, sft_steps=120, dpo_steps=30, folder=tmp_path)
    assert improvement > 0.2
    printed = capsys.readouterr().out
    assert "DPO: step   1  loss 0.6931" in printed
    assert "mean brightness" in printed
