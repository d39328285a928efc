"""A file with verdicts of people."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

from preftune.errors import JudgeError
from preftune.groups import Message, Text
from preftune.judges.judge import Choice, Keep, Question, Verdict

_CHOICES = ("first", "second", "tie")
_TURNED: dict[Choice, Choice] = {"first": "second", "second": "first", "tie": "tie"}


@final
@dataclass(frozen=True, slots=True)
class FileJudge:
    """Looks verdicts up in a JSONL file with the fields `prompt`, `first`, `second` and `verdict`.

    `verdict` is `first`, `second`, `tie`, or null if not judged yet. If there is no file, one is written with all
    questions, in an order that does not reveal whose completion is whose, to be filled in.
    """

    path: Path
    identity: str | None = None
    asks_both_orders: bool = False

    @property
    def name(self) -> str:
        """The file as `--judge` takes it."""
        return f"file:{self.path}"

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """Look each question up, in either order.

        Raises:
            JudgeError: there was no file, so one was written; or it is unreadable, or about other completions.
        """
        for question in questions:
            if question.first == question.second:
                keep(question, Verdict("tie"))
        questions = [question for question in questions if question.first != question.second]
        if not self.path.exists():
            self._write(questions)
            raise JudgeError(
                f"judge = {self.name}: there was no such file. It now holds {len(questions):,} comparisons. Let people "
                "set each `verdict` to first, second or tie, and run the same command again."
            )
        known = dict(self._read())
        num_found = 0
        for question in questions:
            choice, turned = known.get(question), known.get(question.turned)
            num_found += question in known or question.turned in known
            if choice is None and turned is not None:
                choice = _TURNED[turned]
            if choice is not None:
                keep(question, Verdict(choice))
        if questions and not num_found:
            raise JudgeError(
                f"judge = {self.name}: is about other completions: it has none of the {len(questions):,} comparisons. "
                "Name a new file, which will be written with these."
            )

    def _write(self, questions: Sequence[Question]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("".join(f"{_line(question)}\n" for question in questions), encoding="utf-8")
        except OSError as error:
            raise JudgeError(f"judge = {self.name}: cannot be written ({error.strerror}). Name another file.") from None

    def _read(self) -> Iterator[tuple[Question, Choice | None]]:
        try:
            lines = self.path.read_text(encoding="utf-8-sig").split("\n")  # texts may hold other line breaks
        except (OSError, UnicodeDecodeError) as error:
            raise JudgeError(f"judge = {self.name}: cannot be read. {error}") from None
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield self._row(number, line)

    def _row(self, number: int, line: str) -> tuple[Question, Choice | None]:
        try:
            row: dict[str, Any] = json.loads(line)
            question = Question(_text(row["prompt"]), str(row["first"]), str(row["second"]))
            verdict = row["verdict"]
        except (ValueError, KeyError, TypeError) as error:
            raise JudgeError(
                f"{self.path}:{number}: is not a comparison ({type(error).__name__}: {error}). Each line must be an "
                "object with prompt, first, second and verdict."
            ) from None
        if verdict not in (*_CHOICES, None):
            raise JudgeError(
                f"{self.path}:{number}: verdict is {verdict!r}. It must be first, second, tie, or null if not judged."
            )
        return question, cast("Choice | None", verdict)


def _line(question: Question) -> str:
    prompt = question.prompt if isinstance(question.prompt, str) else [item.as_dict() for item in question.prompt]
    row = {"prompt": prompt, "first": question.first, "second": question.second, "verdict": None}
    return json.dumps(row, ensure_ascii=False)


def _text(prompt: Any) -> Text:
    if isinstance(prompt, str):
        return prompt
    return tuple(
        Message(
            message["role"],
            message["content"],
            {name: value for name, value in message.items() if name not in ("role", "content")},
        )
        for message in prompt
    )
