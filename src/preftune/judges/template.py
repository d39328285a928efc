"""What an endpoint is asked: a text with places for the prompt and the two completions."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import final

import jinja2
from jinja2 import meta

from preftune.errors import ConfigError
from preftune.judges.comparison import Question
from preftune.model.generation.prompts import text_of

__all__ = ["TEMPLATES", "JudgeTemplate"]

TEMPLATES = ("dialogue", "summary", "concise_summary")
"""Ours. In the spirit of the prompts of Rafailov et al. 2023, arXiv:2305.18290, Appendix C.2, in words of our own."""

_PLACES = {"prompt", "first", "second"}


@final
@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """A Jinja template with `prompt`, `first` and `second`.

    Args:
        name: For people.
        text: The template. The answer must end with a line such as `Better: A`.
    Raises:
        ConfigError: it is no template, or lacks a place or has another one.

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
                    f"judge_prompt = {self.name}: has places for {', '.join(sorted(places)) or 'nothing'}. It must "
                    f"have {wanted} and no other, and must ask for a last line such as `Better: A`."
                ]
            )

    @staticmethod
    def load(name: str) -> "JudgeTemplate":
        """One of ours by its name, else the one in a file.

        Raises:
            ConfigError: there is no such file, or it holds no such template.
        """
        if name in TEMPLATES:
            return JudgeTemplate(name, (files(__package__) / "prompts" / f"{name}.jinja").read_text(encoding="utf-8"))
        try:
            return JudgeTemplate(name, Path(name).expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                [f"judge_prompt = {name}: cannot be read. {error}. Give a file, or one of {', '.join(TEMPLATES)}."]
            ) from None

    @property
    def digest(self) -> str:
        """Tells templates apart."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()

    def render(self, question: Question) -> str:
        """The template with the question in its places. What completions say is never read as a template."""
        template = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined).from_string(self.text)
        return template.render(prompt=text_of(question.prompt), first=question.first, second=question.second)
