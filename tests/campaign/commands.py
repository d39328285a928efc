"""The commands of the campaign, on a tiny model: run in this process as the command line runs them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from preftune.cli.main import preftune

__all__ = ["JUDGE", "LOOKS", "RUNS", "Work", "call", "flags", "named", "run", "start"]

JUDGE = "python:tests.campaign.commands:length_judge"
"""A judge that runs in training."""
_NO_RUN = "holds no run to resume"


def length_judge(prompt: str, completion: str) -> float:
    """Scores a completion by its length."""
    return float(len(completion))


def call(*arguments: str) -> int:
    """Run `preftune ARGUMENTS` and return its exit status."""
    sys.argv = ["preftune", *arguments]
    try:
        preftune(args=list(arguments), prog_name="preftune")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@dataclass(frozen=True, slots=True)
class Work:
    """A command that is killed, and called again until it ends.

    Args:
        name: Unique.
        arguments: Of the inputs' folder, to the command line. Its outputs are relative to the working folder.
        again: Arguments added after a kill.
        afresh: Text of the refusal after which the first call is repeated, as a kill came before there was anything.
        given: Commands that make what it reads, in the order of their calls.
        has_report: Write the reports of runs as well, which takes most of the time.
        judged: Needs an endpoint.
    """

    name: str
    arguments: Callable[[Path], Sequence[str]]
    again: tuple[str, ...] = ("--resume",)
    afresh: str = _NO_RUN
    given: tuple[Callable[[Path], Sequence[str]], ...] = ()
    has_report: bool = False
    judged: bool = False


def flags(**settings: Any) -> list[str]:
    """Settings as flags of the command line."""
    found: list[str] = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            found += [f"--{flag}", str(value)]
    return found


def run(
    method: str = "dpo", *, data: str = "pairs", model: str = "model", **settings: Any
) -> Callable[[Path], list[str]]:
    """Arguments of a run of some ten steps that saves often."""
    defaults: dict[str, Any] = {
        "batch_size": 4,
        "epochs": 3,
        "learning_rate": 0.01,
        "precision": "fp32",
        "report_to": "none",
        "eval_samples": 0,
        "eval_fraction": 0.25,
        "save_every": 2,
        "keep_checkpoints": 3,
    }
    named = {name: value for name, value in {**defaults, **settings}.items() if value is not None}

    def arguments(inputs: Path) -> list[str]:
        given = flags(model=inputs / model, data=inputs / f"{data}.jsonl", output="run", **named)
        return ["train", "--method", method, *given]

    return arguments


def _run(name: str, method: str = "dpo", *, has_report: bool = False, **settings: Any) -> Work:
    return Work(name, run(method, **settings), has_report=has_report)


RUNS: Sequence[Work] = (
    _run("dpo"),
    _run("kto", "kto", data="thumbs"),
    _run("moved reference, soft", reference_sync="soft", reference_sync_every=3),
    _run("lora dropout", lora=True, lora_rank=4, lora_dropout=0.2, save_every=3),
    _run("early stopping", keep="best", metric="loss", early_stopping=2, save_every=None, epochs=4),
    _run("bco", "bco", data="thumbs"),
    _run("samples and report", eval_samples=2, eval_sample_tokens=6, has_report=True),
    _run("beta dpo", "beta_dpo"),
    _run("moved reference, hard, adapter", reference_sync="hard", reference_sync_every=3, lora=True, lora_rank=4),
    _run("judged", judge=JUDGE, judge_samples=3, eval_sample_tokens=6, keep="best", metric="win_rate", save_every=None),
    _run("bco of pairs", "bco_pair"),
    _run("dropout", dropout=True, model="dropping", save_every=3),
    _run("tdpo", "tdpo"),
    _run("sum", "0.8*dpo + 0.2*bco_pair + preferred_ft"),
    _run("lists", "plackett_luce", data="lists"),
    _run("sft", "sft", data="demonstrations"),
    _run("evaluated often", eval_every=2, save_every=3, eval_samples=2, eval_sample_tokens=6, eval_kl=True),
    _run("unpaired transport", "aot_unpaired"),
    _run("tokens kept", "ld_dpo"),
    _run("micro-batches", max_tokens_per_microbatch=128, gradient_checkpointing=True),
    _run("tensorboard", report_to="tensorboard"),
)
"""Runs with each kind of state: optimizer, running means, moved references, random numbers, counts of evaluations."""

_EVAL = {"samples": 2, "max_new_tokens": 6, "num_prompts": 4, "resamples": 30}


def _eval(**settings: Any) -> Callable[[Path], list[str]]:
    return lambda _: ["eval", *flags(model="run", **{**_EVAL, **settings})]


def _sweep(inputs: Path) -> list[str]:
    settings = flags(batch_size=4, epochs=1, learning_rate=0.01, precision="fp32", report_to="none", save_every=1)
    shared = flags(model=inputs / "model", data=inputs / "pairs.jsonl", output="sweep", eval_fraction=0.25, **_EVAL)
    return ["sweep", *shared, *settings, "--no-check-data", *flags(over="beta=0.1,0.5", eval_samples=0)]


_SHORT = run(epochs=1, save_every=None, lora=True, lora_rank=4)

LOOKS: Sequence[Work] = (
    Work("eval, endpoint judge", _eval(judge="openai:judge", judge_concurrency=2), (), given=(_SHORT,), judged=True),
    Work("sweep", _sweep, ()),
    Work(
        "convert",
        lambda inputs: [
            "convert",
            str(inputs / "pairs.jsonl"),
            *flags(to="trl-preference", output="new.jsonl", overwrite=True),
        ],
        (),
    ),
    Work(
        "clean",
        lambda inputs: ["clean", str(inputs / "pairs.jsonl"), "--dedupe", *flags(output="new.jsonl", overwrite=True)],
        (),
    ),
    Work("merge", lambda _: ["merge", *flags(model="run", output="merged", overwrite=True)], (), given=(_SHORT,)),
    Work("report", lambda _: ["report", "run"], (), given=(_SHORT,)),
    Work(
        "check",
        lambda inputs: [
            "check",
            str(inputs / "pairs.jsonl"),
            *flags(json="check.json", html="check.html", overwrite=True),
        ],
        (),
    ),
)
"""Other commands that write something."""


def start(work: Work, arguments: Sequence[str]) -> int:
    """Do a work in this process."""
    if not work.has_report:
        for name in ("report.leave_report", "sweep.leave_sweep_reports"):
            patch(f"preftune.cli.{name}", return_value=None).start()
    return call(*arguments)


def named(name: str) -> Work:
    """The work of a name."""
    return next(work for work in (*RUNS, *LOOKS) if work.name == name)
