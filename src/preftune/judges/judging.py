"""The judge that the settings name, and comparisons put before it."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from preftune.errors import ConfigError
from preftune.files.terminal import PlainConsole
from preftune.judges.function import function_judge
from preftune.judges.judge import Comparison, Judge, JudgedComparison, Question, Verdict
from preftune.judges.people import FileJudge
from preftune.judges.store import EvaluationStore
from preftune.model.forward.arithmetic import Arithmetic
from preftune.settings.evaluation_sections import JudgeSettings, split_judge

if TYPE_CHECKING:
    from preftune.judges.endpoint import EndpointJudge

_DEFAULT_TEMPLATE = "dialogue"
_DEFAULT_BASE_URL = "https://api.openai.com/v1"


def find_judge(settings: JudgeSettings, arithmetic: Arithmetic, *, trust_remote_code: bool = False) -> Judge:
    """The judge named by the settings.

    Args:
        settings: Settings with a judge.
        arithmetic: Device and precision of a reward model.
        trust_remote_code: Run the Python code in a reward model's repository.
    Raises:
        ConfigError: an endpoint without a key, a missing client, or an invalid judge prompt.
        JudgeError: a missing or unsuitable function or reward model.
    """
    assert settings.judge is not None, "the settings name no judge"
    kind, name = split_judge(settings.judge)
    match kind:
        case "openai":
            return _endpoint(name, settings)
        case "python":
            return function_judge(name)
        case "file":
            return FileJudge(Path(name).expanduser())
    from preftune.judges.reward_model import reward_model_judge

    return reward_model_judge(name, arithmetic, trust_remote_code=trust_remote_code)


def _endpoint(model: str, settings: JudgeSettings) -> "EndpointJudge":
    from preftune.judges.template import JudgeTemplate

    try:
        from preftune.judges.endpoint import CallBudget, EndpointJudge
    except ImportError:
        raise ConfigError(
            [f"judge = openai:{model}: needs the openai client. Install it: pip install 'preftune[judge]'."]
        ) from None
    key, base_url = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
    if not key and not base_url:
        raise ConfigError(
            [
                f"judge = openai:{model}: there is no key. Set OPENAI_API_KEY, or OPENAI_BASE_URL for an endpoint "
                "without one."
            ]
        )
    return EndpointJudge(
        model,
        JudgeTemplate.load(settings.judge_prompt or _DEFAULT_TEMPLATE),
        CallBudget(settings.judge_budget),
        base_url or _DEFAULT_BASE_URL,
        key or "none",
        settings.judge_timeout,
        settings.judge_concurrency,
    )


def judge_comparisons(
    judge: Judge, comparisons: Sequence[Comparison], store: EvaluationStore | None, *, show_progress: bool = False
) -> list[JudgedComparison]:
    """Ask a judge about each comparison, in both orders if the order matters to it.

    Equal completions tie without a question. Each verdict is stored as soon as it is known, so that after an
    interruption only the remaining questions are asked.

    Args:
        comparisons: In the order in which a budget is spent.
        store: Earlier verdicts, and the place for new ones; None: neither.
    Returns:
        One result per comparison, in order, without verdicts where the judge gave none.
    Raises:
        JudgeError: the judge does not work.
        CacheError: verdicts cannot be read or stored.
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
    """True for equal completions, which tie. A scoring judge is asked all the same: mean scores need them."""
    return comparison.ours == comparison.theirs and judge.asks_both_orders


def _judged(judge: Judge, comparison: Comparison, verdicts: dict[Question, Verdict]) -> JudgedComparison:
    if _needs_no_judge(judge, comparison):
        return JudgedComparison(comparison, Verdict("tie"), Verdict("tie"))
    question = comparison.ours_first
    if judge.asks_both_orders:
        found = (verdicts.get(question), verdicts.get(question.turned))
        return JudgedComparison(comparison, *found) if None not in found else JudgedComparison(comparison, None, None)
    return JudgedComparison(comparison, verdicts.get(question), verdicts.get(question.turned))


@contextmanager
def _progress(name: str, total: int, left: int, *, show: bool) -> Iterator[_Advance]:
    if not show:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=PlainConsole(stderr=True)) as progress:
        task = progress.add_task(f"Asking {name}", total=total, completed=total - left)
        yield lambda: progress.advance(task)
