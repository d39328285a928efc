"""A model behind an endpoint that speaks the OpenAI protocol."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, final

import openai
from openai import OpenAI

from preftune.errors import JudgeError
from preftune.judges.answer import ANSWER_FORMAT, read_choice
from preftune.judges.budget import CallBudget
from preftune.judges.comparison import Question, Verdict
from preftune.judges.judge import Keep
from preftune.judges.template import JudgeTemplate

__all__ = ["EndpointJudge"]

_ATTEMPTS = 3
"""Answers to a question before it is given up as unreadable."""
_FAILURES_IN_A_ROW = 5
"""Questions without an answer, one after the other, before the judge is given up as out of order."""
_PAUSE_SECONDS = 0.5
"""Before an endpoint that sent no JSON is asked again; doubles each time."""
_REMINDER = (
    f"Your answer does not end with a verdict. Write one line and nothing else: `{ANSWER_FORMAT}`, `Better: B` or "
    "`Better: tie`."
)
_HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)

Messages = list[dict[str, str]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class EndpointJudge:
    """Asks a chat model, several questions at a time.

    The client retries what may pass (connections, time-outs, 408, 409, 429, 5xx) with exponential back-off, and waits
    as long as `Retry-After` says. An answer that is no JSON, or without a verdict, is asked for again, with a reminder.

    Args:
        model: Name of the model at the endpoint.
        template: What it is asked.
        budget: How many answers may be paid for.
        base_url, api_key: Of the endpoint.
        timeout: Seconds to wait for an answer.
        concurrency: Calls at a time.
        max_retries: How often a call that may succeed later is made again. With the client's back-off of at most 8 s
            the default takes about 40 s.
    """

    model: str
    template: JudgeTemplate
    budget: CallBudget
    base_url: str
    api_key: str = field(repr=False)
    timeout: float = 60.0
    concurrency: int = 8
    max_retries: int = 8
    asks_both_orders: bool = True
    _failures: "_Failures" = field(init=False, default_factory=lambda: _Failures(_FAILURES_IN_A_ROW))
    _settings: dict[str, Any] = field(init=False, default_factory=lambda: {"temperature": 0.0})
    """What goes with each question; models that take no temperature make it empty."""

    @property
    def name(self) -> str:
        """See `Judge.name`."""
        return f"openai:{self.model}"

    @property
    def identity(self) -> str:
        """See `Judge.identity`."""
        return f"{self.name} at {self.base_url} asked {self.template.name} {self.template.digest}"

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """See `Judge.ask`. An interruption waits for the calls under way, which are paid for, and keeps their verdicts.

        Raises:
            JudgeError: the endpoint refuses the key or the model, or several questions in a row had no answer.
        """
        client = OpenAI(
            base_url=self.base_url, api_key=self.api_key, timeout=self.timeout, max_retries=self.max_retries
        )
        with client, ThreadPoolExecutor(self.concurrency, thread_name_prefix="judge") as pool:
            futures = [pool.submit(self._ask_one, client, question, keep) for question in questions]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _ask_one(self, client: OpenAI, question: Question, keep: Keep) -> None:
        """Ask until there is a verdict, the attempts are used up, or the budget is."""
        if self._failures.is_over:
            return
        messages: Messages = [{"role": "user", "content": self.template.render(question)}]
        answer: str | None = None
        for attempt in range(_ATTEMPTS):
            if not self.budget.claim():
                return
            try:
                answer = self._answer(client, messages)
            except openai.OpenAIError as error:
                self.budget.give_back()
                problem = f"{type(error).__name__}: {str(error)[:300]}"
                self._failures.add(self._text(problem), is_hopeless=isinstance(error, _HOPELESS))
                return
            if answer is None:
                time.sleep(_PAUSE_SECONDS * 2**attempt)
                continue
            self._failures.clear()
            if read_choice(answer) != "unreadable":
                break
            reminder = [{"role": "assistant", "content": answer}, {"role": "user", "content": _REMINDER}]
            messages = [messages[0], *reminder]
        if answer is None:
            self._failures.add(self._text("It sends no JSON of a chat completion."), is_hopeless=False)
        else:
            keep(question, Verdict(read_choice(answer), answer))

    def _answer(self, client: OpenAI, messages: Messages) -> str | None:
        """The model's words, or None where the endpoint sent something that is no answer."""
        settings = dict(self._settings)
        try:
            found: Any = client.chat.completions.create(model=self.model, messages=messages, **settings)  # type: ignore[arg-type]
            return str(found.choices[0].message.content or "")
        except openai.BadRequestError as error:
            if "temperature" not in settings or "temperature" not in str(error):
                raise
            self._settings.pop("temperature", None)
            return self._answer(client, messages)
        except (ValueError, AttributeError, IndexError, TypeError):
            return None

    def _text(self, problem: str) -> str:
        return (
            f"judge = {self.name} at {self.base_url}: gives no answer. {problem} Check OPENAI_BASE_URL, "
            "OPENAI_API_KEY and the name of the model. All verdicts so far are kept: the same command goes on from "
            "there."
        )


class _Failures:
    """Counts failures in a row over several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._in_a_row = 0
        self.is_over = False
        """Whether it was found that it makes no sense to go on."""

    def add(self, problem: str, *, is_hopeless: bool) -> None:
        """One more; raises JudgeError where it makes no sense to go on."""
        with self._lock:
            self._in_a_row += 1
            if is_hopeless or self._in_a_row >= self._limit:
                self.is_over = True
                raise JudgeError(problem)

    def clear(self) -> None:
        """There was an answer."""
        with self._lock:
            self._in_a_row = 0
