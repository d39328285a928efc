"""ORPO, CPO and SimPO against TRL's own trainers: their methods, unmodified, on logits of our choice."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from preftune.losses import PolicyLogps, cpo, orpo, simpo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("trl", reason="TRL is not installed, so nothing is compared: pip install -e '.[bench]'")
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's own warnings, and those it calls forth

VOCAB, IGNORED = 11, -100


class Pairs:
    """Random token ids of pairs of answers after prompts of one length, and logits for every place of them.

    Args:
        lengths: Tokens of each chosen and each rejected answer.
        prompt_length: Tokens of every prompt.
    """

    def __init__(self, lengths: list[tuple[int, int]], prompt_length: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.lengths = torch.tensor(lengths).T.flatten()
        self.starts = prompt_length
        shape = (len(self.lengths), prompt_length + int(self.lengths.max()))
        self.ids = torch.randint(VOCAB, shape, generator=generator)
        self.logits = 2 * torch.randn(*shape, VOCAB, generator=generator, dtype=torch.float64)
        self.logits.requires_grad_()

    def logps(self) -> tuple[PolicyLogps, PolicyLogps]:
        """Of chosen and rejected answers, one answer at a time."""
        token_logps = [
            row[self.starts - 1 : self.starts + length - 1].log_softmax(-1)[range(length), ids[self.starts :][:length]]
            for row, ids, length in zip(self.logits, self.ids, self.lengths.tolist(), strict=True)
        ]
        policy = torch.stack([row.sum() for row in token_logps])
        chosen, rejected = zip(policy.chunk(2), self.lengths.chunk(2), strict=True)
        return PolicyLogps(*chosen), PolicyLogps(*rejected)

    def batch(self) -> dict[str, Tensor]:
        """What TRL's collator makes of them: padded on the right, labels of prompts left out."""
        places = torch.arange(self.ids.shape[1])
        is_token = places < self.starts + self.lengths[:, None]
        labels = self.ids.where(is_token & (places >= self.starts), IGNORED)
        columns = {"input_ids": self.ids, "attention_mask": is_token.long(), "labels": labels}
        sides = ("chosen", "rejected")
        return {
            f"{side}_{name}": half
            for name, rows in columns.items()
            for side, half in zip(sides, rows.chunk(2), strict=True)
        }

    def model(self, ids: Tensor, **_: Any) -> SimpleNamespace:
        """A stand-in for a model: the same logits for any tokens."""
        assert ids.shape == self.ids.shape
        return SimpleNamespace(logits=self.logits)


def trl_loss(trainer: Any, pairs: Pairs, **settings: Any) -> Tensor:
    """The whole loss of TRL's trainer for the pairs as one batch. Shape: ()."""
    stand_in = trainer.__new__(trainer)
    same = SimpleNamespace(gather_for_metrics=lambda item: item, device=torch.device("cpu"))
    stand_in.__dict__.update(
        accelerator=same, is_encoder_decoder=False, aux_loss_enabled=False, padding_value=0, pad_token_id=0, **settings
    )
    loss: Tensor = stand_in.get_batch_loss_metrics(pairs.model, pairs.batch())[0]
    return loss


def cpo_settings(**settings: Any) -> dict[str, Any]:
    known = {
        "beta": 0.1,
        "label_smoothing": 0.0,
        "loss_type": "sigmoid",
        "cpo_alpha": 1.0,
        "simpo_gamma": 0.5,
        "alpha": 0.0,
    }
    return known | settings


def assert_same(ours: Tensor, theirs: Tensor, pairs: Pairs, tolerance: float = 1e-6) -> None:
    """Value and gradient by every logit."""
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=tolerance, atol=tolerance)
    gradients = [torch.autograd.grad(loss, pairs.logits, retain_graph=True)[0] for loss in (ours, theirs)]
    assert gradients[1].abs().max() > 1e-3, "the comparison is only worth something if there is a gradient"
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


# TRL means the log-prob of the chosen answers over the tokens of a batch, ours over each answer: the same where they
# are of one length, or alone.
LENGTHS = pytest.mark.parametrize(
    "lengths", [pytest.param([(6, 3), (6, 9), (6, 1)], id="one length"), pytest.param([(7, 4)], id="one pair")]
)


@LENGTHS
def test_orpo_equals_the_whole_loss_of_trl_after_a_prompt_of_one_token(lengths: list[tuple[int, int]]) -> None:
    pairs = Pairs(lengths, prompt_length=1)
    ours = orpo(*pairs.logps(), lambda_or=0.25).mean()
    assert_same(ours, trl_loss(ORPOTrainer, pairs, beta=0.25), pairs)


def test_orpo_of_trl_learns_longer_prompts_too() -> None:
    pairs = Pairs([(7, 4)], prompt_length=5)
    theirs = trl_loss(ORPOTrainer, pairs, beta=0.25)
    in_prompt = torch.autograd.grad(theirs, pairs.logits)[0][0, : pairs.starts - 1]
    assert (in_prompt != 0).any()
    ours = orpo(*pairs.logps(), lambda_or=0.25).mean()
    assert (torch.autograd.grad(ours, pairs.logits)[0][0, : pairs.starts - 1] == 0).all()


def test_the_odds_ratio_term_of_orpo_equals_that_of_trl_for_any_lengths() -> None:
    pairs = Pairs([(7, 4), (1, 9), (12, 12)], prompt_length=3)
    chosen, rejected = pairs.logps()
    stand_in: Any = ORPOTrainer.__new__(ORPOTrainer)
    stand_in.__dict__.update(beta=0.25, accelerator=SimpleNamespace(device=torch.device("cpu")))
    theirs = -stand_in.odds_ratio_loss(chosen.mean_logp, rejected.mean_logp)[0]
    ours = orpo(chosen, rejected, lambda_or=0.25) + chosen.mean_logp
    # TRL goes through float32 here
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-6, atol=1e-7)


@LENGTHS
def test_cpo_equals_the_whole_loss_of_trl(lengths: list[tuple[int, int]]) -> None:
    pairs = Pairs(lengths, prompt_length=5)
    ours = cpo(*pairs.logps(), beta=0.3).mean()
    assert_same(ours, trl_loss(CPOTrainer, pairs, **cpo_settings(beta=0.3)), pairs)


def test_the_preference_of_cpo_equals_that_of_trl_for_any_lengths() -> None:
    pairs = Pairs([(7, 4), (1, 9), (12, 12)], prompt_length=5)
    chosen, rejected = pairs.logps()
    ours = (cpo(chosen, rejected, beta=0.3) + chosen.mean_logp).mean()
    assert_same(ours, trl_loss(CPOTrainer, pairs, **cpo_settings(beta=0.3, cpo_alpha=0.0)), pairs)


def test_simpo_equals_trl_without_its_sft_for_any_lengths() -> None:
    pairs = Pairs([(7, 4), (1, 9), (12, 12)], prompt_length=5)
    ours = simpo(*pairs.logps(), beta=2.5, gamma=1.4).mean()
    settings = cpo_settings(loss_type="simpo", beta=2.5, simpo_gamma=1.4, cpo_alpha=0.0)
    assert_same(ours, trl_loss(CPOTrainer, pairs, **settings), pairs)


def test_simpo_of_trl_as_it_comes_adds_sft() -> None:
    pairs = Pairs([(7, 4)], prompt_length=5)
    chosen, rejected = pairs.logps()
    ours = simpo(chosen, rejected, beta=2.5, gamma=1.4) - chosen.mean_logp
    settings = cpo_settings(loss_type="simpo", beta=2.5, simpo_gamma=1.4)
    assert_same(ours.mean(), trl_loss(CPOTrainer, pairs, **settings), pairs)
