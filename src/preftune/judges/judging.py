"""Comparisons put before a judge: in both orders where that matters, and none that was judged before."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from preftune.judges.comparison import Comparison, Judged, Question, Verdict
from preftune.judges.judge import Judge
from preftune.judges.store import EvaluationStore

__all__ = ["judge_comparisons"]


def judge_comparisons(
    judge: Judge, comparisons: Sequence[Comparison], store: EvaluationStore | None, *, show_progress: bool = False
) -> list[Judged]:
    """What a judge says of each comparison.

    Completions that are equal make a tie without being asked about. A verdict is kept as soon as it is known, so that
    after an interruption only the rest is asked.

    Args:
        judge: Who is asked.
        comparisons: What is asked, in the order in which a budget is spent.
        store: Where verdicts are kept; None to keep none.
        show_progress: Whether to show a progress bar.
    Returns:
        One for each comparison, in order; without verdicts where the judge gave none.
    Raises:
        JudgeError: the judge does not work.
        CacheError: verdicts cannot be read or kept.
    """
    questions = list(dict.fromkeys(question for item in comparisons for question in _questions(judge, item)))
    identity = judge.identity if store is not None else None
    verdicts: dict[Question, Verdict] = {}
    if store is not None and identity is not None:
        verdicts = store.verdicts(identity, questions)
    left = [question for question in questions if question not in verdicts]
    lock = threading.Lock()

    def keep(question: Question, verdict: Verdict) -> None:
        if store is not None and identity is not None:
            store.keep_verdict(identity, question, verdict)
        with lock:
            verdicts[question] = verdict
        advance()

    with _progress(judge.name, len(questions), len(left), show=show_progress and bool(left)) as advance:
        if left:
            judge.ask(left, keep)
    return [_judged(judge, item, verdicts) for item in comparisons]


class _Advance(Protocol):
    def __call__(self) -> None: ...


def _questions(judge: Judge, comparison: Comparison) -> tuple[Question, ...]:
    if _needs_no_judge(judge, comparison):
        return ()
    question = comparison.ours_first
    return (question, question.turned) if judge.asks_both_orders else (comparison.blind,)


def _needs_no_judge(judge: Judge, comparison: Comparison) -> bool:
    """Equal completions are a tie. A judge that scores them is asked all the same, as means of scores need them."""
    return comparison.ours == comparison.theirs and judge.asks_both_orders


def _judged(judge: Judge, comparison: Comparison, verdicts: dict[Question, Verdict]) -> Judged:
    if _needs_no_judge(judge, comparison):
        return Judged(comparison, Verdict("tie"), Verdict("tie"))
    question = comparison.ours_first
    if judge.asks_both_orders:
        found = (verdicts.get(question), verdicts.get(question.turned))
        return Judged(comparison, *found) if None not in found else Judged(comparison, None, None)
    return Judged(comparison, verdicts.get(question), verdicts.get(question.turned))


@contextmanager
def _progress(name: str, total: int, left: int, *, show: bool) -> Iterator[_Advance]:
    """A bar on the terminal that starts where an earlier run stopped."""
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"Asking {name}", total=total, completed=total - left)
        yield lambda: progress.advance(task)
