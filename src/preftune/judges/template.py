"""The text that an endpoint is asked, and the verdict in its answer."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import final

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from preftune.errors import ConfigError, JudgeError, first_line
from preftune.judges.judge import Choice, Question
from preftune.model.generation.prompts import text_of

TEMPLATES = ("dialogue", "summary", "concise_summary")
"""Built-in templates, modelled on the prompts of Rafailov et al. 2023, arXiv:2305.18290, Appendix C.2."""

_PLACES = {"prompt", "first", "second"}
_SANDBOX = ImmutableSandboxedEnvironment(autoescape=False, undefined=jinja2.StrictUndefined)
"""Templates come from files of others: they may format text, and neither run code nor read files."""


@final
@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """A Jinja template with `prompt`, `first` and `second`.

    Args:
        text: The template. It must ask for a last line such as `Better: A`.
    Raises:
        ConfigError: a syntax error, other variables than these, or a template that fails on a question.

    >>> template = JudgeTemplate("mine", "{{ prompt }} A: {{ first }} B: {{ second }}")
    >>> template.render(Question("2+2=", "4", "5"))
    '2+2= A: 4 B: 5'
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        try:
            places = meta.find_undeclared_variables(_SANDBOX.parse(self.text))
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError([f"judge_prompt = {self.name}: line {error.lineno}: {error.message}."]) from None
        if places != _PLACES:
            wanted = ", ".join(f"{{{{ {place} }}}}" for place in ("prompt", "first", "second"))
            raise ConfigError(
                [
                    f"judge_prompt = {self.name}: uses the variables {', '.join(sorted(places)) or '(none)'}. Use "
                    f"{wanted} and no other, and ask for a last line such as `Better: A`."
                ]
            )
        try:
            self.render(Question("2+2=", "4", "5"))
        except JudgeError as error:
            raise ConfigError([str(error)]) from None

    @staticmethod
    def load(name: str) -> "JudgeTemplate":
        """The built-in template of this name, else the one in this file.

        Raises:
            ConfigError: no such file, or an invalid template.
        """
        if name in TEMPLATES:
            return JudgeTemplate(name, (files(__package__) / "prompts" / f"{name}.jinja").read_text(encoding="utf-8"))
        try:
            return JudgeTemplate(name, Path(name).expanduser().read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                [f"judge_prompt = {name}: cannot be read. {error}. Give a file, or one of {', '.join(TEMPLATES)}."]
            ) from None

    @property
    def digest(self) -> str:
        """A digest of the text."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()

    def render(self, question: Question) -> str:
        """The template filled in with the question. Completions are never interpreted as templates.

        Raises:
            JudgeError: the template fails on this question, or does what the sandbox forbids.
        """
        shown = {"prompt": text_of(question.prompt), "first": question.first, "second": question.second}
        try:
            return _SANDBOX.from_string(self.text).render(shown)
        except Exception as error:  # whatever the expressions in a template may raise
            raise JudgeError(
                f"judge_prompt = {self.name}: cannot be filled in. {first_line(error)} Its places hold plain text, and "
                "templates run in a sandbox: no includes, no attributes of Python objects."
            ) from None


ANSWER_FORMAT = "Better: A"
"""The last line of an answer, with `B` or `tie` in place of `A`."""

_CHOICES: dict[str, Choice] = {"a": "first", "b": "second", "tie": "tie", "c": "tie", "neither": "tie", "both": "tie"}
_DECORATION = r"[\s*_`\"'\[\](){}<>#>.-]*"
_LABEL = r"(?:(?:better|preferred|verdict|winner|answer|more helpful|best)\b[^:\n]{0,20}[:=])?"
_NAME = r"(?:summary|response|completion|answer|option)?"
_LINE = re.compile(
    rf"^{_DECORATION}{_LABEL}{_DECORATION}{_NAME}{_DECORATION}\b(?P<choice>a|b|c|tie|neither|both)\b{_DECORATION}$",
    re.IGNORECASE,
)


def read_choice(answer: str) -> Choice:
    """The completion that an answer prefers, by the last line that holds a verdict and nothing else.

    Args:
        answer: Ends with a line `Better: A`, or the letter alone, in any decoration. The text before is the reason.

    >>> read_choice("B is vague, and A names the date.\\n\\n**Better: A**"), read_choice("I cannot say. A is nice.")
    ('first', 'unreadable')
    """
    for line in reversed(answer.splitlines()):
        found = _LINE.match(line)
        if found:
            return _CHOICES[found["choice"].lower()]
    return "unreadable"
