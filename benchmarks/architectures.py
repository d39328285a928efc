"""The table of architectures: the causal LMs of transformers for which packed rows are exact.

Each class is built at a tiny size and run on packed rows and on one row per completion; log-probs and gradients are
compared. Each class runs in its own process, so a crash does not end the run.

    python -m benchmarks.architectures
"""

import argparse
import json
import multiprocessing as mp
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import get_args

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.architecture_verdict import Outcome, Verdict, judge

__all__ = ["judge_apart", "page"]

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
_FORK = mp.get_context("fork")  # Importing transformers again for each class would take most of the time.

_MEANINGS: dict[Outcome, str] = {
    "packed, exact": "prompts are shared; log-probs and all gradients equal those of one row per completion",
    "falls back": "the self-check rejects packed rows, and training uses one row per completion",
    "not causal": "later tokens change earlier logits, so preference losses do not apply",
    "not run": "the tiny model was built, but the forward or backward pass on single rows failed",
    "not built": "the class accepted no tiny configuration",
    "packed, WRONG": "a bug",
}


def judge_apart(model_type: str, model_class: str, *, seconds: float) -> Verdict:
    """The verdict on a class, computed in a separate process within a time limit."""
    ours, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_judge_into, args=(theirs, model_type, model_class))
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            return Verdict(model_type, model_class, "not run", f"took more than {seconds:.0f} s")
        verdict: Verdict = ours.recv()
        return verdict
    except EOFError:
        process.join()
        return Verdict(model_type, model_class, "not run", f"the process died with code {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _judge_into(pipe: Connection, model_type: str, model_class: str) -> None:
    pipe.send(judge(model_type, model_class))


def page(verdicts: Sequence[Verdict]) -> str:
    """docs/architectures.md."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    lines = [
        "# Models with shared prompts",
        "",
        f"Made by `python -m benchmarks.architectures` with transformers {transformers.__version__} and torch "
        f"{torch.__version__.partition('+')[0]}.",
        "Each causal LM class of transformers is built at a tiny size with random weights, in float32 on the CPU.",
        "Log-probs and the gradients of all parameters are computed on packed rows and on one row per completion,",
        "and compared. The self-check that chooses between them also runs before each training, on the actual",
        "model, whose layers may differ from those of the default configuration tested here.",
        "",
        "| outcome | classes | meaning |",
        "|---|---|---|",
        *(
            f"| {outcome} | {counts[outcome]} | {meaning} |"
            for outcome, meaning in _MEANINGS.items()
            if counts[outcome]
        ),
        f"| all | {len(verdicts)} | |",
        "",
        "*head*: `fused` if log-probs are computed without logits, `own logits` if they come from the logits of the",
        "model at the predicting positions. *error*: largest absolute difference of log-probs and of gradients,",
        "relative to the largest absolute value. The two columns are independent: a model with shared prompts may",
        "have `own logits`.",
        "",
        "| model type | class | outcome | head | error: log-probs, gradients | reason |",
        "|---|---|---|---|---|---|",
    ]
    order = list(_MEANINGS)
    ordered = sorted(verdicts, key=lambda verdict: (order.index(verdict.outcome), verdict.model_type))
    return "\n".join([*lines, *map(_row, ordered)]) + "\n"


def _row(verdict: Verdict) -> str:
    errors = [verdict.logp_error, verdict.gradient_error]
    error = ", ".join(f"{value:.0e}" for value in errors if value is not None)
    cells = [verdict.model_type, verdict.model_class, verdict.outcome, verdict.head, error, _escaped(verdict.reason)]
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    for character in "|<>*_`[]":
        text = text.replace(character, f"\\{character}")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, judge, write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.architectures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="only these model types, without writing the page")
    parser.add_argument("--seconds", type=float, default=90.0, help="time limit per class in seconds (default 90)")
    parser.add_argument("--json", type=Path, help="also write the verdicts to this file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # A forked process cannot use the threads of its parent, and tiny models need one.
    transformers.logging.set_verbosity_error()
    classes = [
        (model_type, model_class)
        for model_type, model_class in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
        if not options.only or model_type in options.only
    ]
    verdicts = []
    for number, (model_type, model_class) in enumerate(classes, start=1):
        verdict = judge_apart(model_type, model_class, seconds=options.seconds)
        print(f"{number}/{len(classes)} {model_class}: {verdict.outcome} {verdict.reason}", flush=True)
        verdicts.append(verdict)
    if options.json:
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1) + "\n")
    print({outcome: sum(v.outcome == outcome for v in verdicts) for outcome in get_args(Outcome)})
    if not options.only:
        PAGE.write_text(page(verdicts))
        print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
