"""Checks of completions as answers: refusals, truncated ones, another language."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import final

from preftune.data.quality.check import Check, CheckRule, CheckSettings, Draft, FaultLog
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.texts import main_script

_BEGINNING = 300

_NOT = "can't|cannot|can not|won't|will not"
_UNABLE = f"{_NOT}|am unable|'m unable|am not able|'m not able"
_HELP = (
    "help|assist|provide|support|answer|fulfill?|comply|create|write|generate|engage|participate|discuss|share|offer|"
    "recommend|condone|encourage|advise|comment|respond|continue|give|tell|do|say|suggest|promote|make|with|in|that|this"
)
REFUSALS: tuple[str, ...] = (
    # "I can't help with that", "I won't do this"; not "I can't help but smile".
    rf"\bi (?:{_NOT}|refuse to|must decline to|have to decline to) (?!help but)(?:{_HELP})\b",
    # "I'm not able to help", "I am unable to provide", "I'm not going to tell", "I am not comfortable with that".
    rf"\bi(?:'m| am) (?:unable|not (?:able|allowed|permitted|willing|going|comfortable)) (?:to )?(?:\w+ing |{_HELP})\b",
    # "I'm sorry, but I can't", "Unfortunately, I am unable", "I apologize, but as an AI I cannot".
    rf"\b(?:sorry|apologi[sz]e|unfortunately|afraid)\b[^.!?\n]{{0,60}}?\bi ?(?:{_UNABLE})\b",
    # "As an AI language model, I don't"; "as an AI assistant, it is not appropriate".
    rf"\bas an ai\b[^.!?\n]{{0,60}}?(?:{_UNABLE}|don't|do not|not appropriate|not ethical)\b",
    # "It is not appropriate to help", "It would be unethical for me to".
    rf"\b(?:not appropriate|inappropriate|unethical|not ethical|against my [\w ]+?) (?:for me )?to (?:{_HELP})\b",
    # "I don't think that's a good idea", "I do not believe it is appropriate".
    r"\bi (?:don't|do not) (?:think|believe) (?:it's|it is|that's|that is|this is|that would be) "
    r"(?:a good idea|appropriate|right|ok\b|okay|ethical)",
    r"\bi (?:don't|do not) feel comfortable\b",
    r"\bi (?:don't|do not) want to (?:help|assist|encourage|answer|be part of)\b",
)
"""English ways to decline, searched in the first 300 characters, in lower case and with straight apostrophes.

They aim at precision, not recall: the tests hold sentences that they must match and sentences that they must not.
"""

_PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in REFUSALS))

_REFUSALS = CheckRule(
    title="Refusals among chosen completions: {count:,}; among rejected ones: {rejected:,}",
    unit="chosen completions",
    reason="Chosen completions are learned. Chosen refusals teach to decline where an answer was possible; rejected "
    "refusals teach to answer every question.",
    advice="Read some. If the data are not about declining, leave these rows out.",
    warning=0.05,
)


def is_refusal(text: str) -> bool:
    """True if a text begins by declining, in English.

    >>> is_refusal("I'm sorry, but I can’t help with that."), is_refusal("I'm sorry to hear that. You could rest.")
    (True, False)
    """
    return _PATTERN.search(text[:_BEGINNING].casefold().replace("’", "'")) is not None


@final
class Refusals(Check):
    """Refusals among chosen and among rejected completions, once for each pair or thumb.

    Severity: a warning if 5 % or more of the chosen completions are refusals, else a note. In data about harmless
    answers they are intended; in others the model learns to decline.
    """

    name = "refusals"
    about = "completions that decline, chosen or rejected"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._totals: Counter[str] = Counter()
        self._logs = {"chosen": FaultLog(), "rejected": FaultLog()}

    def add(self, facts: GroupFacts) -> None:
        refusing = {index for index, text in enumerate(facts.texts) if is_refusal(text)}
        for side, index in facts.sides():
            self._totals[side] += 1
            if index in refusing:
                self._logs[side].add(facts.place, note=side, text=facts.texts[index])

    def drafts(self) -> Iterator[Draft]:
        chosen, rejected = len(self._logs["chosen"]), len(self._logs["rejected"])
        if not chosen + rejected:
            return
        log = self._logs["chosen"] or self._logs["rejected"]
        severity = _REFUSALS.severity_of(chosen / max(self._totals["chosen"], 1))
        measures = {"chosen": chosen, "rejected": rejected}
        yield _REFUSALS.draft(
            chosen,
            self._totals["chosen"],
            log.places,
            severity=severity,
            is_advised=severity != "note",
            examples=log.examples,
            measures=measures | {f"{side}_total": self._totals[side] for side in measures},
            values={"rejected": rejected},
        )


_FEWEST_WORDS = 20
_MOST_OPEN = 0.2
_LARGEST_GAP = 0.05
_OPEN_END = re.compile(r"[^\W_]$|[,;:(\[{\-–—/&+=]$")
_LINE_WITHOUT_END = re.compile(r"\s*(?:[-*+•#>|]|\d+[.)]|[a-zA-Z][.)]|```|\w+:\s)")
_LINK = re.compile(r"https?://\S+$")

_TRUNCATED = CheckRule(
    title="Long completions that end in the middle of a sentence: {count:,}{sides}",
    unit="completions",
    reason="A model that learns from truncated texts learns to stop anywhere. If one side is truncated more often, the "
    "cut tells chosen from rejected.",
    advice="Generate these again with room for more tokens, or leave them out.",
    warning=0.02,
)


def ends_open(text: str) -> bool:
    """True if a text stops where no sentence ends: at a letter, a digit or a sign that something must follow.

    Lines of lists, tables and headings, finished code, and links need no end; unfinished code has none.

    >>> ends_open("and then the"), ends_open("and then the end."), ends_open("Buy:\\n- milk\\n- eggs")
    (True, False, False)
    """
    body = text.rstrip()
    if body.count("```") % 2:
        return True
    if _OPEN_END.search(body) is None or _LINK.search(body):
        return False
    last_line = body[body.rfind("\n") + 1 :]
    return _LINE_WITHOUT_END.match(last_line) is None


@final
class Truncated(Check):
    """Long completions that stop in the middle of a sentence, in data where others do not.

    Counts completions of 20 words or more that end at a letter, a digit or a sign such as a comma, outside lists,
    tables and code. If more than a fifth of them do, the data do not write sentences with ends, and the finding is a
    note that blames no row. Severity: a warning from 2 %, or if one side of the pairs has it 5 points more often: then
    it gives the answer away.
    """

    name = "truncated"
    about = "completions that stop in the middle of a sentence"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._num_long = 0
        self._log = FaultLog()
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()

    def add(self, facts: GroupFacts) -> None:
        is_long = [length >= _FEWEST_WORDS for length in facts.lengths]
        is_open = [long and ends_open(text) for long, text in zip(is_long, facts.texts, strict=True)]
        self._num_long += sum(is_long)
        for text, ends in zip(facts.texts, is_open, strict=True):
            if ends:
                self._log.add(facts.place, text="…" + text.rstrip()[-80:])
        for side, index in facts.sides():
            self._totals[side] += is_long[index]
            self._counts[side] += is_open[index]

    def drafts(self) -> Iterator[Draft]:
        num_open = len(self._log)
        if not num_open:
            return
        share = num_open / self._num_long
        shares = {side: self._counts[side] / max(self._totals[side], 1) for side in ("chosen", "rejected")}
        is_custom = share > _MOST_OPEN
        severity = "note" if is_custom else _TRUNCATED.severity_of(share)
        if abs(shares["chosen"] - shares["rejected"]) >= _LARGEST_GAP:
            severity = "warning"
        sides = ", ".join(f"{100 * own:.1f} % of {side}" for side, own in shares.items())
        yield _TRUNCATED.draft(
            num_open,
            self._num_long,
            () if is_custom else self._log.places,
            severity=severity,
            is_advised=severity != "note",
            examples=self._log.examples,
            measures={f"{side}_share": round(own, 4) for side, own in shares.items()},
            values={"sides": f" ({sides})" if self._totals else ""},
        )


_SEVERAL_SCRIPTS = 0.2

_OTHER_SCRIPT = CheckRule(
    title="Completions in another script than {main}, that of most: {count:,}",
    unit="completions",
    reason="A few completions in another language teach the model to switch languages.",
    advice="See whether the prompts ask for it; otherwise leave them out.",
    warning=0.005,
)
_AGAINST_PROMPT = CheckRule(
    title="Completions in another script than their prompt: {count:,}",
    unit="completions",
    reason="Unless a translation was requested, they answer in the wrong language.",
    advice="See whether the prompts ask for it; otherwise leave them out.",
    warning=0.005,
)


@final
class Language(Check):
    """Completions with more than half of their letters in another script than most completions, or than their prompt.

    A rule on letters, without a model: it tells Chinese from English, not French from English. Texts with fewer than
    ten letters are left out. Severity: against the data set a warning from 0.5 %, a note if more than a fifth are in
    another script, because several languages are then intended; against the prompt a warning from 0.5 %.
    """

    name = "language"
    about = "completions in another script"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._by_script: dict[str, array[int]] = {}
        self._against_prompt = array("Q")

    def add(self, facts: GroupFacts) -> None:
        asked = main_script(facts.prompt)
        for text in facts.texts:
            script = main_script(text)
            if script is not None:
                self._by_script.setdefault(script, array("Q")).append(facts.place)
                if asked not in (None, script):
                    self._against_prompt.append(facts.place)

    def drafts(self) -> Iterator[Draft]:
        counts = {script: len(places) for script, places in sorted(self._by_script.items())}
        total = sum(counts.values())
        main = max(counts, key=lambda script: counts[script], default="")
        others = array("Q", sorted(place for name, own in self._by_script.items() if name != main for place in own))
        if others:
            is_several = len(others) / total > _SEVERAL_SCRIPTS
            yield _OTHER_SCRIPT.draft(
                len(others), total, () if is_several else others,
                severity="note" if is_several else None, is_advised=not is_several,
                measures=counts, values={"main": main},
            )  # fmt: skip
        if self._against_prompt:
            yield _AGAINST_PROMPT.draft(len(self._against_prompt), total, self._against_prompt)


CHECKS: tuple[type[Check], ...] = (Refusals, Truncated, Language)
