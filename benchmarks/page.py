"""docs/benchmarks.md from the results at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plots import plot_growth, plot_runs
from benchmarks.results import RESULTS, Result, load, markdown_table

__all__ = ["PAGE", "write_page"]

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION = """# Benchmarks

Made by `python -m benchmarks --page` from the files in `benchmarks/results/`, which `make bench` fills. All sides take
turns in one process, so that a busy machine is busy for all of them; times are medians of the rounds, and speeds
against another side are medians of the ratios within a round. Peak memory is measured in a process per side."""


@dataclass(frozen=True, slots=True)
class _Section:
    benchmark: str
    title: str
    about: str


_SECTIONS = (
    _Section(
        "runs",
        "Whole training runs",
        """A Llama of 58M parameters (8 layers, width 512, vocabulary 32,000) is trained by DPO with AdamW through
`preftune.DPOTrainer`, TRL's `DPOTrainer` and a plain loop over padded rows with the fused log-prob. Data, collation,
trainer, optimizer and logging are in the times; making the model is not, and neither is what is done once before the
first step. *TRL at its best*: no gradient checkpointing, reference precomputed; *preftune* has the same two settings.
*A pair at a time*: with `max_tokens_per_microbatch` as small as the biggest pair allows; same results, less memory.
*Lists*: all pairs of a prompt as one group of `PreferenceTrainer`, its best answer computed once; the others get pairs.
The settings are those of TRL 1.16 where nothing is said. Useful tokens are those of each prompt once and each answer;
the share of the GEMM peak counts only operations on these.""",
    ),
    _Section(
        "logp",
        "The log-prob function alone",
        "Log-probs of targets from hidden states and a head's weights, forward and backward.",
    ),
    _Section(
        "packing",
        "Packed rows",
        """The same Llama without trainer and optimizer: against one unbroken row of as many tokens, against padded
rows, and as prompts, lists and vocabularies grow.""",
    ),
    _Section(
        "overhead",
        "What the trainer costs",
        "A step of `PreferenceTrainer` against a bare loop that computes the same, and the parts of that step.",
    ),
)


def write_page(page: Path = PAGE, results: Path = RESULTS) -> Path:
    """Write the page and its pictures, which stand in `images/` beside it."""
    by_name = {section.benchmark: load(section.benchmark, results) for section in _SECTIONS}
    images = page.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    pictures = {
        "runs": plot_runs(by_name["runs"], images / "benchmark-runs.png"),
        "packing": plot_growth(by_name["packing"], images / "benchmark-growth.png"),
    }
    parts = [_INTRODUCTION]
    for section in _SECTIONS:
        picture = pictures.get(section.benchmark)
        link = None if picture is None else f"![{section.title}]({picture.relative_to(page.parent)})"
        parts += _section(section, by_name[section.benchmark], link)
    page.write_text("\n\n".join(parts) + "\n")
    return page


def _section(section: _Section, results: Sequence[Result], picture: str | None) -> Iterator[str]:
    yield f"## {section.title}"
    yield section.about
    if not results:
        yield f"Not measured yet: `python -m benchmarks {section.benchmark}`."
        return
    if picture is not None:
        yield picture
    for result in results:
        yield f"### {section.title}: {result.workload}"
        yield markdown_table(result.rows)
        yield "\n".join(f"- {note}" for note in (*result.notes, f"{result.rounds} rounds; {result.machine}"))
