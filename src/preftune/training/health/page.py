"""The page of all rules, made of their table."""

from collections.abc import Iterator

from preftune.files.number_text import markdown_table
from preftune.metrics.catalogue import HELD_OUT, METRICS
from preftune.training.health.rule import RUN_SEVERITIES, HealthRule
from preftune.training.health.table import RULES

_INTRODUCTION = """\
# The health of a run

Made by `python -m preftune.training.health > docs/health.md` from the rules in `src/preftune/training/health/rules/`;
edit them there.

Health rules check the logged metrics during training. A rule that fires prints a line to the console once, and again
if the finding becomes twice as severe. All findings are in `health.json` of the run folder, in `summary.json` and in
the final table, with the steps at which they were first and most severe. A resumed run reads its earlier logs and
reaches the same findings. Means cover enough steps for at least 64 pairs (or completions, or prompts). A rule
that had too little to look at does not count as silent: the run says by how many rules it was too short to judge, and
`health.json` lists them (`too_short`) with what they lacked (`not_applied`).

A finding is **fatal** (the run stops before the weights change), **sick** (the trained model will be unusable) or
**suspect** (investigate before you use the result). With `--stop-on-sick` the run also stops on a sick finding: with a
checkpoint, without a final model, and with exit code 3. If you think that the rule is wrong, continue with
`--resume --no-stop-on-sick`.

| exit code | meaning |
|---|---|
| 0 | the run completed, possibly with suspect findings |
| 1 | the run failed, possibly by a fatal finding |
| 2 | the settings are invalid |
| 3 | the run was sick, and `--stop-on-sick` stopped it |
| 130 | a signal stopped the run |
"""

_LOGGED = """\
## Logged metrics

All metrics except those of samples are exact over micro-batches and processes. They need no additional forward pass
and take 0.05 ms per micro-batch of 32 pairs, plus 0.02 ms for the rules at each log, on a CPU. Entropy and samples
cost more, see below. Held-out metrics have the prefix `eval_`, standard errors the suffix `_error`.
"""

_SAMPLES = """\
**Samples.** A completion for each of 8 prompts (on a CPU 4; `--eval-samples`) is drawn before the first step, at each
evaluation and after the last step, at temperature 1, each time with the same seed. They are in `samples.jsonl`, with
greedy completions beside them, which no metric is of. Training is bit-identical with and without them.

**When the KL is measured.** KL(policy || reference) is a mean over samples of the policy, and needs the reference's
log-probs of them. With an adapter, the reference is the model with the adapter disabled, which takes no memory; a
reference that stays in memory (`--no-reference-cache` or `--reference-sync`) is available, too. Otherwise the
reference was removed from memory once its log-probs were computed, and `--eval-kl` loads it for each evaluation.
Without the KL, the rule uses the distance on held-out answers, which grows with the KL when a policy diverges but
does not estimate it.

**Entropy of held-out answers.** Held-out answers have many more tokens than samples, so their entropy hardly varies
by chance, and nothing needs to be generated. It is measured in the same forward pass, from the same tiles of logits,
at evaluations only. An evaluation then takes 8 to 12 % longer on a CPU (4 layers, vocabularies of 32,000 and 128,000
tokens, which are dominated by the head), and less with more layers.
"""


def health_page() -> str:
    """The page, in Markdown."""
    return (
        "\n\n".join([_INTRODUCTION.strip(), _overview(), *_sections(), _LOGGED.strip(), _metrics(), _SAMPLES.strip()])
        + "\n"
    )


def _overview() -> str:
    rows = [[f"[{name}](#{name})", rule.severity, rule.sees, rule.threshold] for name, rule in _ordered()]
    return "## The rules\n\n" + markdown_table(["rule", "severity", "looks at", "fires at"], rows)


def _sections() -> Iterator[str]:
    for name, rule in _ordered():
        yield f"### {name}"
        yield f"**{_sentence(rule.title)}.** Applies to {rule.needs}."
        yield f"Why: {rule.reason}."
        yield f"What to try: {rule.advice}"


def _metrics() -> str:
    rows = (
        [f"`{HELD_OUT * metric.is_held_out_only}{name}`", metric.about or metric.label, metric.unit]
        for name, metric in METRICS.items()
        if metric.source != "run"
    )
    return markdown_table(["name", "meaning", "unit"], rows)


def _ordered() -> Iterator[tuple[str, HealthRule]]:
    for severity in RUN_SEVERITIES:
        yield from ((name, rule) for name, rule in RULES.items() if rule.severity == severity)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
