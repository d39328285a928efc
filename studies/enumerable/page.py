"""The page of the study: docs/enumerable-world.md."""

from collections.abc import Iterable

from torch import Tensor

from preftune.files.number_text import markdown_table
from studies.enumerable.compare import EQUAL_PARTS, NUM_STEPS, Outcome
from studies.enumerable.world import World, expected_reward, kl_divergence, total_variation

__all__ = ["page"]

_TOP = """\
# The optimum of each method, in an enumerable world

Made by `python -m studies.enumerable > docs/enumerable-world.md`, which takes a few minutes on one core.

{prompts} prompts share {completions} completions of one token. Logits of the reference and true rewards r are
standard normal. The policy is a table of free logits and starts as the reference. Nothing is sampled: a method's loss
is its exact mean over all possible feedback, in float64, and {steps:,} steps of Adam are taken on it. Each method
has its default options, except for `beta`, which is that of the world, {beta:g}.

The optimal policy for reward - beta * KL(policy || reference) is pi* = reference * exp(r / beta) / Z, which is also the
minimum of the DPO loss by its derivation. The table shows the distance of each method's final policy from pi*.

- *distance to pi\\**: total variation, half the sum of absolute differences of probabilities; 0: equal, 1: disjoint.
- *KL to reference*, in nats, and *true reward* of the policy's completions, in nats. More of either than pi\\* is not
  a gain, since it comes at the cost of the other.
- *end*: *at rest*: twice the steps make a difference of less than 0.001. *Runs to infinity*: a completion has become a
  million times less likely than under the reference; the loss has no finite minimum or one at the edge, and the numbers
  are those of step {steps:,}. *Still moving*: the numbers are those of step {steps:,}, too.

| feedback | distribution |
|---|---|
| pairs | two different completions drawn from the reference; i is preferred to j with probability sigmoid(r_i - r_j) |
| pairs by score | the same, but the higher reward is always preferred, and the margin is the difference |
| thumbs | a completion drawn from the reference, good with probability sigmoid(r) |
| orders of 3 | three completions drawn from the reference, ordered as by Plackett and Luce's model; scores 1, 1/2, 0 |
| scores of all | one list per prompt, of all completions, with r as their scores |
| demonstrations | a completion drawn from the reference |

Methods that compare the rows of a step with each other get {parts:,} equally likely rows, each in
proportion to its probability. `mismatched` is the exact mean over completions of the reference for another prompt.
States are kept over the steps as in training.
"""

_BOTTOM = """\
## Reasons for other optima

- **At pi\\*.** `dpo` and `plackett_luce` are likelihoods of the model that draws the feedback, with beta * logratio as
  the reward, so at their minimum the differences of rewards are the true ones, for any distribution of pairs or lists.
  Variants of DPO that differ only in the length of answers equal DPO here. `infonca` is consistent if the scores are
  rewards in nats.
- **`ipo`** fits differences of logratios to (P(i is preferred) - 1/2) / tau. Probabilities are bounded and rewards are
  not, so it ends at reference * exp(E_j P(i is preferred to j) / tau) / Z: two logratios differ by less than 1 / tau,
  even for a certain preference. This is the purpose of IPO.
- **`hinge`, `discopop`, `aot`** apply another function to the margin of DPO, which is not the likelihood of the model
  that draws the pairs. The `discopop` loss rises with the margin around 0, so a policy that starts as the reference
  stays in the local minimum below. `tdpo` and `dpop` add a term that keeps the policy at the reference.
- **`robust_dpo`, `exo_pair`** assume that some labels are flipped, or that nearly all are certain; neither holds here.
  `odpo` and lists with fixed scores always see the same order, and a logistic loss on consistent labels has its minimum
  at infinity.
- **`kto`, `apo_zero`, `apo_zero_unpaired`** add up sigmoids of rewards, which saturate: the minimum puts all
  probability on completions that are good more often than not, and does not fit ratios of rewards. In `kto`, mismatched
  completions become less likely after the first steps, so z0 is 0 and `kto` equals `apo_zero_unpaired`.
- **`bco`, `bco_pair`** fit rewards, but with one shift for all prompts, halfway between the mean rewards of good and
  bad completions, while pi\\* requires beta * log Z of each prompt.
- **`nca`, `nca_pair`, `sppo_hard`** fit each logratio to a target of its own. The targets cannot all be reached, since
  the policy's probabilities sum to 1.
- **`simpo`, `orpo`, `cpo`, `slic`, `preferred_ft`, `unlikelihood`** have no reference in the loss. Their optimum
  depends on the reference only through the distribution of pairs, so they cannot reach pi\\*.

This does not rank the methods for language models, whose data are finite, whose policies generalise from one answer to
another and whose runs are stopped early. It shows that each loss has the optimum that its paper states, and what its
default options imply.
"""


def page(world: World, results: Iterable[Outcome]) -> str:
    """The page, with a row per outcome."""
    rows = [
        _row("*reference*", "", world.reference, "", world),
        _row("*pi\\**", "", world.optimum, "", world),
        *(_row(f"`{result.method}`", result.feedback, result.policy, result.end, world) for result in results),
    ]
    num_prompts, num_completions = world.rewards.shape
    top = _TOP.format(
        prompts=num_prompts, completions=num_completions, steps=NUM_STEPS, beta=world.beta, parts=EQUAL_PARTS
    )
    header = ["method", "feedback", "distance to pi*", "KL to reference", "true reward", "end"]
    return "\n".join([top, markdown_table(header, rows), "", _BOTTOM])


def _row(method: str, feedback: str, policy: Tensor | None, end: str, world: World) -> list[str]:
    if policy is None:
        return [method, feedback, "", "", "", end]
    numbers = (
        total_variation(policy, world.optimum),
        kl_divergence(policy, world.reference),
        expected_reward(policy, world),
    )
    return [method, feedback, *map(_number, numbers), end]


def _number(value: float) -> str:
    # Rounded first, so that what is nearly nothing does not read as -0.000.
    return f"{round(value, 3) + 0.0:.3f}"
