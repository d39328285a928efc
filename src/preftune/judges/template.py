"""The text that an endpoint is asked, and the verdict in its answer."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import final

import jinja2
from jinja2 import meta

from preftune.errors import ConfigError
from preftune.judges.judge import Choice, Question
from preftune.model.generation.prompts import text_of

__all__ = ["ANSWER_FORMAT", "TEMPLATES", "JudgeTemplate", "read_choice"]

TEMPLATES = ("dialogue", "summary", "concise_summary")
"""Built-in templates, modelled on the prompts of Rafailov et al. 2023, arXiv:2305.18290, Appendix C.2."""

_PLACES = {"prompt", "first", "second"}


@final
@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """A Jinja template with `prompt`, `first` and `second`.

    Args:
        text: The template. It must ask for a last line such as `Better: A`.
    Raises:
        ConfigError: a syntax error, or other variables than these.

    >>> template = JudgeTemplate("mine", "{{ prompt }} A: {{ first }} B: {{ second }}")
    >>> template.render(Question("2+2=", "4", "5"))
    '2+2= A: 4 B: 5'
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        try:
            places = meta.find_undeclared_variables(jinja2.Environment(autoescape=False).parse(self.text))
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
        """The template filled in with the question. Completions are never interpreted as templates."""
        template = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined).from_string(self.text)
        return template.render(prompt=text_of(question.prompt), first=question.first, second=question.second)


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
