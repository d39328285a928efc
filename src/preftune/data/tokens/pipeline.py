"""The way from prompt groups to token groups, for training, evaluation and the compatible API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from preftune.data.feedback import FeedbackReport, groups_for
from preftune.data.prompts import Capped, cap_per_prompt
from preftune.data.tokens.mismatched import with_mismatched
from preftune.data.tokens.tokenize import TokenizedGroups, TooLong, tokenize_groups
from preftune.data.tokens.weights import weighted_from_first_difference
from preftune.data.views import PairRule
from preftune.groups import Origin, PromptGroup
from preftune.losses import Method
from preftune.settings.chat import ChatChoice
from preftune.settings.data import DataSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class MethodGroups:
    """The token groups that a method learns from, and reports of what was left out or cut.

    Args:
        over_cap: Origins of the pairs, completions or lists beyond the cap per prompt, once for each.
    """

    tokenized: TokenizedGroups
    feedback: FeedbackReport
    over_cap: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPipeline:
    """Turns prompt groups into token groups.

    Args:
        chat: Chat template or raw text for prompts that are text.
        max_length: Most tokens of a prompt and one completion; None for no limit.
        too_long: Treatment of longer groups: see `LengthLimit`.
        learns_prompts: Train on prompts too: all tokens but the first belong to the completion.
        auxiliary: Weight of each auxiliary score: see `with_auxiliary`.
        matches_within_prompt: Allow mismatched completions of the same prompt if there is only one: see
            `with_mismatched`.
        from_first_difference: Give weight 0 to the tokens that chosen and rejected share at their start.
    """

    tokenizer: "PreTrainedTokenizerBase"
    chat: ChatChoice
    max_length: int | None
    too_long: TooLong = "cut"
    learns_prompts: bool = False
    auxiliary: Mapping[str, float] = field(default_factory=dict)
    from_first_difference: bool = False
    matches_within_prompt: bool = False
    num_processes: int = 1
    show_progress: bool = False

    @staticmethod
    def of(
        settings: DataSettings,
        tokenizer: "PreTrainedTokenizerBase",
        chat: ChatChoice,
        *,
        max_length: int | None,
        show_progress: bool = False,
    ) -> "TokenPipeline":
        """The pipeline of a run's data settings."""
        return TokenPipeline(
            tokenizer=tokenizer,
            chat=chat,
            max_length=max_length,
            too_long=settings.too_long,
            auxiliary=settings.auxiliary,
            from_first_difference=settings.token_weights == "from_first_difference",
            num_processes=settings.num_processes,
            show_progress=show_progress,
        )

    def tokens(self, groups: Sequence[PromptGroup]) -> TokenizedGroups:
        """The token groups of prompt groups, which are taken as they are."""
        found = tokenize_groups(
            groups,
            self.tokenizer,
            chat=self.chat,
            max_length=self.max_length,
            too_long=self.too_long,
            learns_prompts=self.learns_prompts,
            auxiliary=self.auxiliary,
            num_processes=self.num_processes,
            show_progress=self.show_progress,
        )
        if not self.from_first_difference:
            return found
        return replace(found, groups=list(map(weighted_from_first_difference, found.groups)))

    def for_method(
        self,
        groups: Sequence[PromptGroup],
        method: Method,
        *,
        rule: PairRule | None = None,
        max_per_prompt: int | None = None,
        seed: int = 0,
    ) -> MethodGroups:
        """The token groups that a method learns from.

        Args:
            rule: Source of the pairs. Default: pairs of the data, else all pairs of different scores.
            max_per_prompt: Most pairs, completions or lists of a prompt; None for no cap.
        """
        fitted = groups_for(method.feedback, groups, needs_margins=method.needs("margins"), rule=rule)
        capped = Capped(fitted.groups, ())
        if max_per_prompt is not None:
            capped = cap_per_prompt(fitted.groups, max_per_prompt, feedback=method.feedback, seed=seed)
        tokenized = self.tokens(capped.groups)
        if method.needs("mismatched"):
            matched = with_mismatched(
                tokenized.groups, max_length=self.max_length, within_prompt=self.matches_within_prompt
            )
            tokenized = replace(tokenized, groups=matched)
        return MethodGroups(tokenized, fitted.report, capped.left_out)
