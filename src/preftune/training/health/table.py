"""The one table of rules. A new rule is a function, a row here and a run made sick in the tests."""

from collections.abc import Mapping

from preftune.training.health.rule import ROUNDING, WINDOW, Rule, RunFacts
from preftune.training.health.rules import (
    collapse,
    displacement,
    distance,
    divergence,
    flat,
    gap,
    gradient,
    held_out_loss,
    length,
    lengths,
    margin,
    shortcut,
)

__all__ = ["RULES"]


def _always(run: RunFacts) -> bool:  # noqa: ARG001
    return True


def _against_reference(run: RunFacts) -> bool:
    return run.rewards_begin_at_zero


def _held_out(run: RunFacts) -> bool:
    return run.num_held_out > 0


_AGAINST_REFERENCE = "methods with a reference that the policy starts as"

RULES: Mapping[str, Rule] = {
    "start": Rule(
        title="the start is wrong",
        sees="the first loss and reward, before the first update",
        threshold="further from the method's own value at log-ratio 0 than a change of log-probs by "
        f"{ROUNDING:g} of themselves explains",
        reason="policy and reference are equal, so that the loss is known: ln 2 for dpo. What rounding in bf16 does is "
        "allowed; log-probs that differ by more differ for a reason, and every later reward is off by it",
        severity="fatal",
        advice="Train in fp32 to see whether it goes away, and please report the model.",
        needs=_AGAINST_REFERENCE,
        applies=lambda run: run.starts_at_reference and run.method.needs_reference,
    ),
    "no_number": Rule(
        title="no number",
        sees="loss and gradients before each optimizer step, weights before they are saved",
        threshold="NaN or infinity",
        reason="one such number in a gradient spoils all weights, and one in a weight all answers",
        severity="fatal",
        advice="Lower --learning-rate, use --precision bf16 or fp32, or look at the rows that are named.",
        needs="all; gradients not in fp16, whose scaler skips such steps",
        applies=_always,
    ),
    "distance": Rule(
        title="the policy runs away from its reference",
        sees="the KL of samples where it is measured; logratios/absolute and logratios/per_token of held-out answers, "
        "else of the last steps",
        threshold=f"{distance.LEAST_NATS:g} nats per answer and {distance.LEAST_NATS_PER_TOKEN:g} per token; the KL "
        f"beyond {distance.NUM_ERRORS:g} standard errors",
        reason="direct alignment over-optimizes from some tens of nats of KL on (arXiv:2406.02900); long answers are "
        "that far with small changes, so that the mean token must have changed too",
        severity="sick",
        advice="Lower --learning-rate or --epochs, or raise --beta.",
        needs=_AGAINST_REFERENCE,
        applies=lambda run: run.starts_at_reference and run.method.needs_reference,
        check=distance.distance,
    ),
    "divergence": Rule(
        title="the training loss rises",
        sees=f"loss, mean of the last {WINDOW} rows at least",
        threshold=f"{divergence.MOST_RISE:g} times the first",
        reason="a mean over so many rows does not rise that far by chance",
        severity="sick",
        advice="Lower --learning-rate, or raise --warmup.",
        needs="all whose loss stays above 0",
        applies=_always,
        check=divergence.divergence,
    ),
    "collapse": Rule(
        title="the policy collapses",
        sees="entropy of the policy's next token, mean over the tokens of samples, and over those of held-out answers",
        threshold=f"below {collapse.LEAST_SHARE:g} of what it was before the first step",
        reason="preference tuning sharpens a policy, by a few per cent in the demo; below a quarter it says the same "
        "thing again and again, whatever it is asked",
        severity="sick",
        advice="Lower --learning-rate or --epochs, raise --beta, or add SFT: --method 'dpo + 0.2*preferred_ft'.",
        needs="pairs, lists and thumbs with held-out data; not demonstrations, which may be of one wording",
        applies=lambda run: _held_out(run) and run.method.feedback != "demonstrations",
        check=collapse.collapse,
    ),
    "displacement": Rule(
        title="chosen answers become less likely",
        sees=f"rewards/chosen, rewards/margins and logratios, means of the last {WINDOW} rows at least",
        threshold=f"chosen answers lost {displacement.LEAST_FALL:g} nats per token, and {displacement.LEAST_SHARE:g} "
        "of the margin",
        reason="what both sides lose goes to answers that nobody judged (arXiv:2410.08847). Some of it is usual in "
        "DPO: the demo, whose answers get better, loses 0.13. Here each token is 22 % less likely, and rejected "
        "answers make one and a half times the margin",
        severity="suspect",
        advice="Try --method dpop, or 'dpo + 0.2*preferred_ft'; lower --learning-rate, or leave out pairs that hardly "
        "differ.",
        needs=f"{_AGAINST_REFERENCE}: pairs, lists, thumbs; not those that lower chosen answers on purpose (apo_down)",
        applies=lambda run: _against_reference(run) and displacement.raises_chosen(run.method),
        check=displacement.displacement,
    ),
    "margin": Rule(
        title="the margin runs away",
        sees=f"rewards/margins, mean of the last {WINDOW} rows at least",
        threshold=f"{margin.MOST_MARGIN:g}",
        reason="the logistic loss of such a pair is 0.00005: there is nothing left to learn from it, and all that "
        "grows is the distance from the reference",
        severity="suspect",
        advice="Lower --epochs or --learning-rate, keep an earlier checkpoint with --keep best, or try --method ipo, "
        "whose margin has a goal.",
        needs=f"{_AGAINST_REFERENCE}: pairs, lists and thumbs",
        applies=_against_reference,
        check=margin.margin,
    ),
    "shortcut": Rule(
        title="new pairs are told apart too well",
        sees=f"rewards/accuracies of {shortcut.LEAST_PAIRS} held-out pairs, or of the last {shortcut.LEAST_PAIRS} of "
        "the first epoch, which were new when they were measured",
        threshold=f"{shortcut.LEAST_ACCURACY:g}",
        reason="people who judge agree with each other on 60 to 80 % of pairs: what is told apart nearly always "
        "differs in something trivial, such as length, format or the model that wrote it",
        severity="suspect",
        advice="Look for what all chosen answers share: length, endings, markup. Take both answers from one source, or "
        "--method rdpo_length.",
        needs="pairs and lists, with or without a reference",
        applies=lambda run: run.compares and run.reward is not None,
        check=shortcut.shortcut,
    ),
    "gap": Rule(
        title="training pairs are told apart, held-out ones not",
        sees=f"rewards/accuracies of the last {WINDOW} training pairs at least, and of held-out ones",
        threshold=f"{gap.LEAST_GAP:g} above, beyond two standard errors of both",
        reason="some gap is usual after the first epoch; beyond this the policy learns its pairs by heart, or the "
        "held-out ones are of another kind",
        severity="suspect",
        advice="Lower --epochs, keep an earlier checkpoint with --keep best, raise --beta, or see whether the held-out "
        "data are labelled the same way.",
        needs="pairs and lists with held-out data, with or without a reference",
        applies=lambda run: _held_out(run) and run.compares and run.reward is not None,
        check=gap.gap,
    ),
    "held_out_loss": Rule(
        title="the held-out loss rises",
        sees="the held-out loss, and that of the last steps",
        threshold=f"{held_out_loss.MOST_RISE:g} times its lowest, and above the training loss, with at least "
        f"{held_out_loss.LEAST_HELD_OUT} rows held out",
        reason="a tenth is more than the usual overconfidence of a longer run, whose accuracy may still rise",
        severity="suspect",
        advice="Lower --epochs, keep an earlier checkpoint with --keep best, or end the run in time with "
        "--early-stopping.",
        needs="all, with held-out data",
        applies=_held_out,
        check=held_out_loss.held_out_loss,
    ),
    "length": Rule(
        title="the reward follows length",
        sees=f"rewards/length_correlation of held-out pairs, or of the last {WINDOW} pairs, with {WINDOW} in the data",
        threshold=f"beyond {length.LEAST_CORRELATION:g} either way, at a margin of {length.LEAST_MARGIN:g} at least",
        reason="four standard errors with so many pairs; a reward that is a third length gets there",
        severity="suspect",
        advice="Try --method rdpo_length, ld_dpo or dpo_length_normalized, or --auxiliary length=-0.01; see whether "
        "the longer answers are chosen in the data.",
        needs=f"{_AGAINST_REFERENCE}: pairs and lists. Without one a reward goes with length from the start",
        applies=lambda run: _against_reference(run) and run.compares and max(run.num_train, run.num_held_out) >= WINDOW,
        check=length.length,
    ),
    "lengths": Rule(
        title="samples are of another length",
        sees="samples/num_tokens and samples/finished, against those before the first step",
        threshold=f"{lengths.LEAST_RATIO:g} times as long or short, or {lengths.LEAST_FALL:g} fewer of them that end "
        f"by themselves, and beyond {lengths.NUM_ERRORS:g} standard errors",
        reason="preference tuning lengthens answers by tens of per cent, as chosen ones are longer in most data "
        "(arXiv:2403.19159); twice as long, or without an end, is what the reward pays for, whatever is said. With "
        "8 samples only gross drift is beyond chance: more see more",
        severity="suspect",
        advice="Read samples.jsonl. Try --method rdpo_length or ld_dpo, lower --learning-rate; where samples come to "
        "no end, see whether answers in the data end with the tokenizer's end-of-sequence token.",
        needs="pairs, lists and thumbs with held-out data, where samples are drawn (--eval-samples); not "
        "demonstrations, whose length is what is learned",
        applies=lambda run: _held_out(run) and run.num_samples > 1 and run.method.feedback != "demonstrations",
        check=lengths.lengths,
    ),
    "gradient": Rule(
        title="the gradient norm spikes",
        sees=f"grad_norm, before it is clipped, against the last {gradient.LEAST_BEFORE} to {gradient.MOST_BEFORE} "
        "that were logged",
        threshold=f"above the median by {gradient.NUM_DEVIATIONS:g} standard deviations (of the median absolute "
        f"deviation), {gradient.TIMES_MEDIAN:g} times the median, and above the run's first",
        reason="gradients vary by a few times from step to step; this far out is a row of another kind or a step that "
        "went wrong",
        severity="suspect",
        advice="Look at the rows of that step, which are named; lower --max-grad-norm or --learning-rate, or raise "
        "--batch-size.",
        needs="all but those whose gradient jumps by itself, where a penalty sets in (dpop)",
        applies=lambda run: not any(name.endswith("penalty") for name in run.method.options),
        check=gradient.gradient,
        names_rows=True,
    ),
    "flat": Rule(
        title="hardly anything is learned",
        sees="logratios/absolute of the last steps; without a reference the held-out loss",
        threshold=f"below {flat.LEAST_NATS:g} nats per answer, or never further than {flat.MOST_CHANGE:.0%} from the "
        f"first loss, after half of the run and {flat.LEAST_STEPS} steps",
        reason="answers are as likely as before to within a tenth, where tuning moves them by nats. A loss that is "
        "flat alone does not mean it: at a small beta it hardly counts what was learned",
        severity="suspect",
        advice="Raise --learning-rate, or lower --beta, which ends the learning early when it is large.",
        needs=f"{_AGAINST_REFERENCE}; others with held-out data",
        applies=lambda run: _held_out(run) or run.rewards_begin_at_zero,
        check=flat.flat,
    ),
}
