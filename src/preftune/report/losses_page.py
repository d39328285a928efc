"""The page of all methods, made of the table of losses and their docstrings."""

import re
from collections.abc import Iterator, Mapping

from preftune.losses import Loss, loss_options
from preftune.losses.options import option_texts, range_text, value_text
from preftune.losses.table import losses_by_feedback
from preftune.losses.texts import FEEDBACK_TEXTS, abilities, loss_text, needs

__all__ = ["losses_page"]

_INTRODUCTION = """\
# Methods

Made by `preftune methods --page docs/losses.md` from the table and the docstrings in `src/preftune/losses/`; changes go
there. `preftune methods NAME` shows one of them on the console.

A run is told its method by `--method NAME`, and the options by flags of their names: `--method ipo --tau 0.2`. It can
be a weighted sum of methods that learn from the same feedback: `--method '0.8*dpo + 0.2*bco_pair + preferred_ft'`. In a
sum an option goes to every part that takes it, and to one alone in the config file as `bco_pair.beta: 0.05`.

In the formulas `chosen.policy` and `chosen.reference` are the log-probs of the chosen answer under the policy and under
the reference, in nats and summed over its tokens; `chosen.logratio` is the first minus the second; `num_tokens` is its
length; `mean log-prob` is the log-prob divided by the length. `log` is the natural logarithm.
"""
_UNITS: Mapping[str, str] = {"pair": "pairs", "completion": "answers", "token": "tokens", "prompt": "prompts"}


def losses_page() -> str:
    """The page, in Markdown."""
    blocks = [_INTRODUCTION.strip(), *_overview()]
    for feedback, losses in losses_by_feedback().items():
        blocks.append(f"## {FEEDBACK_TEXTS[feedback]}")
        for name, loss in losses.items():
            blocks += _section(name, loss)
    return "\n\n".join(blocks) + "\n"


def _overview() -> Iterator[str]:
    for feedback, losses in losses_by_feedback().items():
        rows = [["method", "in one sentence", "reference", "options and their defaults", "paper"]]
        rows += [
            [
                f"[{name}](#{name})",
                loss_text(loss).summary,
                "yes" if loss.needs_reference else "",
                ", ".join(option_texts(loss)),
                _linked(loss.source),
            ]
            for name, loss in losses.items()
        ]
        if losses:
            yield f"**{FEEDBACK_TEXTS[feedback]}**"
            yield _table(rows)


def _section(name: str, loss: Loss) -> Iterator[str]:
    text = loss_text(loss)
    yield f"### {name}"
    yield text.summary
    if text.formula:
        yield f"```\n{text.formula}\n```"
    yield from text.notes
    if text.use:
        yield text.use
    facts = {"Needs": needs(loss), "Can take": abilities(loss), "Mean over": [_UNITS[loss.unit]]}
    yield " ".join(f"{name}: {'; '.join(found)}." for name, texts in facts.items() if (found := list(texts)))
    if options := loss_options(loss):
        rows = [["option", "default", "values", "meaning"]]
        rows += [[f"`{item.name}`", value_text(item.default), range_text(item), item.help] for item in options]
        yield _table(rows)
    if text.source:
        yield f"Source: {_linked(text.source)}"
    if text.differs:
        yield f"Differs: {_linked(text.differs)}"


def _table(rows: list[list[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def _linked(text: str) -> str:
    """The text with links to papers.

    >>> _linked("Azar et al. 2023, arXiv:2310.12036, Eq. 17.")
    'Azar et al. 2023, [arXiv:2310.12036](https://arxiv.org/abs/2310.12036), Eq. 17.'
    """
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
