"""docs/benchmarks.md from the stored results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plots import plot_growth, plot_runs
from benchmarks.results import RESULTS, Result, load, markdown_table

__all__ = ["PAGE", "write_page"]

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION = """# Benchmarks

Made by `python -m benchmarks --page` from `benchmarks/results/`, which `make bench` writes. All sides run in turn in
one process, so that other load on the machine affects all of them. Times are medians over the rounds; relative speeds
are medians of the ratio within a round. Peak memory is measured in a separate process per side."""


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
`preftune.DPOTrainer`, through TRL's `DPOTrainer`, and in a plain loop over padded rows with the fused log-prob. Times
include data, collation, trainer, optimizer and logging. They exclude building the model and all work before the first
step. All settings not named here are the defaults of TRL 1.16.

- *TRL at its best*: without gradient checkpointing, with precomputed reference log-probs. *preftune* uses the same two
  settings.
- *A pair at a time*: the smallest `max_tokens_per_microbatch` that the largest pair allows. Same results, less memory.
- *Lists*: all pairs of a prompt form one group of `PreferenceTrainer`, so its best answer is computed once. The other
  sides get separate pairs.

Useful tokens count each prompt once and each answer. The share of the GEMM peak counts only operations on these.""",
    ),
    _Section(
        "logp",
        "The log-prob function alone",
        "Log-probs of target tokens from hidden states and the weights of the head, forward and backward.",
    ),
    _Section(
        "packing",
        "Packed rows",
        """The same Llama without trainer and optimizer: against one sequence of as many tokens, against padded rows,
and with growing prompts, lists and vocabularies.""",
    ),
    _Section(
        "overhead",
        "Overhead of the trainer",
        "A step of `PreferenceTrainer` against a bare loop that computes the same, and the parts of that step.",
    ),
    _Section(
        "gpu",
        "On a GPU",
        """Kernels against their twins in plain PyTorch, and training steps of models with random weights: Llama 3.2 1B,
Llama 3.1 8B, Qwen3 1.7B and 8B by their shapes. The steps run through `preftune.DPOTrainer`, a plain loop over
padded rows with the same log-prob function, and TRL's `DPOTrainer` without gradient checkpointing and with its
reference precomputed, 4 pairs at a time. `preftune` has micro-batches of 8,192 tokens. Peak memory is that of
PyTorch's allocator, model included. The share of the matrix peak counts only operations that cannot be left
out: each prompt once, no padding, no recomputation.""",
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
