"""A model behind an endpoint that speaks the OpenAI protocol."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, final
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import openai
from openai import OpenAI

from preftune.errors import JudgeError
from preftune.judges.judge import Keep, Question, Verdict
from preftune.judges.template import ANSWER_FORMAT, JudgeTemplate, read_choice


@final
class CallBudget:
    """Counts calls of several threads against a limit. A call is claimed before it is made, and given back if it fails.

    Args:
        limit: Most calls; None: no limit.

    >>> budget = CallBudget(1)
    >>> budget.claim(), budget.claim()
    (True, False)
    >>> budget.give_back()
    >>> budget.claim(), budget.num_claimed
    (True, 1)
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.num_claimed = 0
        """Calls made or under way."""

    def claim(self) -> bool:
        """Count one more call and return True, or return False at the limit."""
        with self._lock:
            if self._limit is not None and self.num_claimed >= self._limit:
                return False
            self.num_claimed += 1
            return True

    def give_back(self) -> None:
        """Uncount a claimed call that was not answered and so cost nothing."""
        with self._lock:
            self.num_claimed -= 1


_ATTEMPTS = 3
"""Answers to a question before its verdict counts as unreadable."""
_FAILURES_IN_A_ROW = 5
"""Unanswered questions in a row before the judge counts as broken."""
_PAUSE_SECONDS = 0.5
"""Pause after an answer that is not JSON; doubles each time."""
_REMINDER = (
    f"Your answer does not end with a verdict. Write one line and nothing else: `{ANSWER_FORMAT}`, `Better: B` or "
    "`Better: tie`."
)
_SHORTEST_SECRET = 6
"""Shorter keys, such as the `none` of local servers, protect nothing and are words of other texts."""
_HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


def public_address(url: str) -> str:
    """An endpoint's address without what may be secret: user, password and query.

    >>> public_address("https://me:key@example.org:8000/v1?key=sk-1")
    'https://example.org:8000/v1'
    """
    address = urlsplit(url)
    return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))


Messages = list[dict[str, str]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class EndpointJudge:
    """Asks a chat model through the OpenAI protocol, several questions at a time.

    The client retries transient failures (connections, time-outs, 408, 409, 429, 5xx) with exponential back-off and
    honours `Retry-After`. After an answer that is not JSON, or has no verdict, the question is repeated with
    a reminder.

    Args:
        model: Name of the model at the endpoint.
        budget: Limit on paid answers.
        timeout: Seconds to wait for an answer.
        concurrency: Simultaneous calls.
        max_retries: Retries of a transient failure. The client backs off for at most 8 s, so the default takes about
            40 s.
    """

    model: str
    template: JudgeTemplate
    budget: CallBudget
    base_url: str = field(repr=False)
    api_key: str = field(repr=False)
    timeout: float = 60.0
    concurrency: int = 8
    max_retries: int = 8
    asks_both_orders: bool = True
    _failures: "_Failures" = field(init=False, default_factory=lambda: _Failures(_FAILURES_IN_A_ROW))
    _settings: dict[str, Any] = field(init=False, default_factory=lambda: {"temperature": 0.0})
    """Sampling options sent with each question; emptied for models that refuse a temperature."""

    @property
    def name(self) -> str:
        """The model's name as `--judge` takes it."""
        return f"openai:{self.model}"

    @property
    def identity(self) -> str:
        """The model, its endpoint and the template."""
        return f"{self.name} at {public_address(self.base_url)} asked {self.template.name} {self.template.digest}"

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """Ask concurrently. An interruption waits for calls under way, which are paid for, and keeps their verdicts.

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
        """Ask until there is a verdict, or attempts or budget are exhausted."""
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
                problem = f"{type(error).__name__}: {self._without_secrets(str(error))[:300]}"
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
            self._failures.add(self._text("Its answer is not the JSON of a chat completion."), is_hopeless=False)
        else:
            keep(question, Verdict(read_choice(answer), answer))

    def _answer(self, client: OpenAI, messages: Messages) -> str | None:
        """The model's words, or None for a malformed answer."""
        settings = dict(self._settings)
        try:
            found: Any = client.chat.completions.create(model=self.model, messages=messages, **settings)  # type: ignore[arg-type]
            return self._without_secrets(str(found.choices[0].message.content or ""))
        except openai.BadRequestError as error:
            if "temperature" not in settings or "temperature" not in str(error):
                raise
            self._settings.pop("temperature", None)
            return self._answer(client, messages)
        except (ValueError, AttributeError, IndexError, TypeError, RecursionError):  # RecursionError: nested deeply
            return None

    def _without_secrets(self, text: str) -> str:
        """A text of the endpoint without key and credentials: it may be shown, logged and stored.

        Half of a surrogate pair, which JSON can hold, becomes a question mark.
        """
        text = text.encode("utf-8", errors="replace").decode("utf-8")
        address = urlsplit(self.base_url)
        credentials = address.netloc.rpartition("@")[0]
        parts = (self.api_key, credentials, address.password or "", *dict(parse_qsl(address.query)).values())
        secrets = {part for part in parts if len(part) >= _SHORTEST_SECRET}
        for secret in sorted(secrets | {unquote(secret) for secret in secrets}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _text(self, problem: str) -> str:
        return (
            f"judge = {self.name} at {public_address(self.base_url)}: gives no answer. {problem} Check "
            "OPENAI_BASE_URL, OPENAI_API_KEY and the name of the model. All verdicts so far are kept: run the same "
            "command again to continue."
        )


class _Failures:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._in_a_row = 0
        self.is_over = False
        """True once there were too many failures to continue."""

    def add(self, problem: str, *, is_hopeless: bool) -> None:
        """Count a failure. Raises JudgeError if it is hopeless or one too many."""
        with self._lock:
            self._in_a_row += 1
            if is_hopeless or self._in_a_row >= self._limit:
                self.is_over = True
                raise JudgeError(problem)

    def clear(self) -> None:
        with self._lock:
            self._in_a_row = 0
