"""The page of the study: docs/enumerable-world.md."""

from collections.abc import Iterable

from torch import Tensor

from studies.enumerable.compare import EQUAL_PARTS, NUM_STEPS, Outcome
from studies.enumerable.world import World, expected_reward, kl_divergence, total_variation

__all__ = ["page"]

_TOP = """\
# Where each method ends, in a world that can be listed

Made by `python -m studies.enumerable > docs/enumerable-world.md`, which takes some minutes on one core.

{prompts} prompts share {completions} completions of one token. Logits of the reference and true rewards r are
standard normal. The policy is a table of free logits and starts as the reference. Nothing is sampled: a method's loss
is its exact mean over all feedback that can occur, in float64, and {steps:,} steps of Adam are taken on it. Each method
has its default options, but for `beta`, which is that of the world, {beta:g}, wherever a method has an option of this
name.

The best policy for reward - beta * KL(policy || reference) is pi* = reference * exp(r / beta) / Z, where DPO's
derivation says that its loss leads. The table says how far from it each method ends.

- *distance to pi\\**: total variation, half the summed difference of the probabilities; 0: the same, 1: nothing shared.
- *KL to reference*, in nats, and *true reward* of what the policy writes, in nats. More of either than pi\\* has is no
  gain: it is bought with the other.
- *end*: *at rest*: twice the steps make a difference of less than 0.001. *Runs to infinity*: a completion has become a
  million times less likely than under the reference; the loss has no finite minimum or one at the edge, and the numbers
  are those of step {steps:,}. *Still moving*: the numbers are those of step {steps:,}, too.

| feedback | what occurs, with which probability |
|---|---|
| pairs | two different completions drawn from the reference; i is preferred to j with probability sigmoid(r_i - r_j) |
| pairs by score | the same, but the one with the higher reward is preferred always, and the margin is the difference |
| thumbs | a completion drawn from the reference, good with probability sigmoid(r) |
| orders of 3 | three completions drawn from the reference, ordered as by Plackett and Luce's model; scores 1, 1/2, 0 |
| scores of all | one list per prompt, of all completions, with r as their scores |
| demonstrations | a completion drawn from the reference |

Methods that compare the rows of a step with each other are given {parts:,} equally likely rows, each as often as its
probability asks for. `mismatched` is a completion drawn from the reference for another prompt, in exact mean. States
are kept over the steps as in training.
"""

_BOTTOM = """\
## Why some end elsewhere

- **At pi\\*.** `dpo` and `plackett_luce` are likelihoods of the very model that draws the feedback, with
  beta * logratio in the place of the reward, so that their minimum is where the rewards' differences are true, whatever
  pairs or lists are drawn. Forms of DPO that differ from it by the length of answers are DPO here. `infonca` is
  consistent if the scores are rewards in nats.
- **`ipo`** fits logratio differences to (P(i is preferred) - 1/2) / tau. Probabilities are bounded where rewards are
  not, so that it ends at reference * exp(E_j P(i is preferred to j) / tau) / Z: however clear a preference is, two
  logratios differ by less than 1 / tau. This is what it is for.
- **`hinge`, `discopop`, `aot`** see the margin of DPO through another function, which is not the likelihood of the
  model that draws the pairs. That of `discopop` slopes the wrong way around a margin of 0, and a policy that starts as
  the reference stays in the dip behind. `tdpo` and `dpop` add a term that holds the policy at the reference.
- **`robust_dpo`, `exo_pair`** take some labels for wrong, or nearly all for sure, where they are neither. `odpo` and
  lists with fixed scores say the same order every time: a logistic loss without contradiction has its minimum at
  infinity.
- **`kto`, `apo_zero`, `apo_zero_unpaired`** add up sigmoids of rewards. These saturate: to gain on what is good more
  often than not, they give up the rest altogether, and no ratio of rewards is fitted. `kto` has z0 = 0 here, as
  mismatched completions become less likely, and so equals `apo_zero_unpaired`.
- **`bco`, `bco_pair`** fit rewards, but with one shift for all prompts, in the middle between those of good and of bad
  completions, where pi\\* asks for beta * log Z of each prompt.
- **`nca`, `nca_pair`, `sppo_hard`** fit each logratio as such. They cannot all be what is asked for, as the policy's
  probabilities sum to 1.
- **`simpo`, `orpo`, `cpo`, `slic`, `preferred_ft`, `unlikelihood`** have no reference in the loss. What they lead to
  depends on the reference only through which pairs are drawn, so that pi\\* is out of their reach.

None of this ranks the methods for language models, whose data is finite, whose policies generalise from one answer to
another and whose runs are stopped early. It shows that each loss leads where its paper says, and what its default
options ask for.
"""


def page(world: World, results: Iterable[Outcome]) -> str:
    """The page, with a row per outcome."""
    rows = [
        "| method | feedback | distance to pi* | KL to reference | true reward | end |",
        "|---|---|---|---|---|---|",
        _row("*reference*", "", world.reference, "", world),
        _row("*pi\\**", "", world.optimum, "", world),
        *(_row(f"`{result.method}`", result.feedback, result.policy, result.end, world) for result in results),
    ]
    num_prompts, num_completions = world.rewards.shape
    top = _TOP.format(
        prompts=num_prompts, completions=num_completions, steps=NUM_STEPS, beta=world.beta, parts=EQUAL_PARTS
    )
    return "\n".join([top, *rows, "", _BOTTOM])


def _row(method: str, feedback: str, policy: Tensor | None, end: str, world: World) -> str:
    if policy is None:
        return f"| {method} | {feedback} | | | | {end} |"
    numbers = (
        total_variation(policy, world.optimum),
        kl_divergence(policy, world.reference),
        expected_reward(policy, world),
    )
    return f"| {method} | {feedback} | {' | '.join(_number(number) for number in numbers)} | {end} |"


def _number(value: float) -> str:
    # Rounded first, so that what is nearly nothing does not read as -0.000.
    return f"{round(value, 3) + 0.0:.3f}"
