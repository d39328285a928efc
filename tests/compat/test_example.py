from pathlib import Path

import pytest

from examples import dpo_finetuning, kto_finetuning


def test_the_rule_counts_words() -> None:
    assert dpo_finetuning.brightness("the room was cold . the guide was rude . the view was lovely .") == -1


def test_the_walk_through_makes_the_letters_brighter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    improvement = dpo_finetuning.main(num_pairs=96, sft_steps=60, dpo_steps=30, folder=tmp_path)
    assert improvement > 0.2
    printed = capsys.readouterr().out
    assert "DPO: step   1  loss 0.6931" in printed
    assert "mean brightness" in printed


def test_thumbs_make_the_letters_brighter_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    improvement = kto_finetuning.main(num_letters=192, sft_steps=60, kto_steps=30, folder=tmp_path)
    assert improvement > 0.2
    assert "KTO: step   1  loss 0.5000" in capsys.readouterr().out
