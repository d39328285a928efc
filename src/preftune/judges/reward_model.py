"""A reward model: a sequence classifier of transformers with one output."""

from collections.abc import Sequence

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.encoder import GroupEncoder
from preftune.errors import JudgeError, first_line
from preftune.groups import NO_INPUTS, Completion, Message, Origin, PromptGroup, Text
from preftune.judges.function import ScoringJudge
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.load.pretrained import adapter_config
from preftune.model.load.reward_model import is_reward_adapter, load_reward_model, noted_text
from preftune.planning.sizes import batches_by_length
from preftune.settings.chat import ChatChoice

_ANY_TEXT = "."
"""Stands in for an empty completion, to get the tokens of its prompt."""


def reward_model_judge(
    name: str, arithmetic: Arithmetic, *, max_tokens: int = 8192, trust_remote_code: bool = False
) -> ScoringJudge:
    """A judge that scores completions with a reward model.

    Prompt and completion are rendered with the tokenizer's chat template, a text prompt as in `ChatFormat`. Without a
    template, text is joined as it is. A model of `preftune reward` gets the tokens that it was trained on: they end in
    one end-of-sequence token.

    Args:
        max_tokens: Most tokens in one forward, padding included.
        trust_remote_code: Run the Python code in the model's repository.
    Raises:
        JudgeError: it cannot be loaded, or gives more than one number.
    """
    label = f"reward:{name}"
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
        arguments = {"dtype": "auto", "trust_remote_code": trust_remote_code}
        if is_reward_adapter(adapter_config(name)):
            model: PreTrainedModel | PeftModel = load_reward_model(name, arguments)
        else:
            model = AutoModelForSequenceClassification.from_pretrained(name, **arguments)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise JudgeError(
            f"judge = {label}: no sequence classifier could be loaded from it ({first_line(error)}). Give a "
            "folder or hub id of a reward model of transformers."
        ) from error
    if model.config.num_labels != 1:
        raise JudgeError(
            f"judge = {label}: gives {model.config.num_labels} numbers for a text. A reward model gives one. Turn them "
            "into a score with --judge python:MODULE:FUNCTION."
        )
    nn.Module.to(model, arithmetic.device)
    model.eval()
    scorer = _RewardModel(label, model, tokenizer, arithmetic, max_tokens, noted_text(name, model))
    return ScoringJudge(label, scorer.scores)


class _RewardModel:
    """Scores texts in batches of similar length, of at most `max_tokens` with padding."""

    def __init__(
        self,
        label: str,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        arithmetic: Arithmetic,
        max_tokens: int,
        trained_on: ChatChoice | None,
    ) -> None:
        self._label = label
        self._model = model
        self._tokenizer = tokenizer
        self._chat = ChatFormat.of(tokenizer, ChatChoice())
        self._arithmetic = arithmetic
        self._max_tokens = max_tokens
        self._encoder = None if trained_on is None else GroupEncoder(tokenizer, chat=trained_on)

    def scores(self, prompts: Sequence[Text], completions: Sequence[str]) -> list[float]:
        sequences = self._trained_on(prompts, completions) or list(map(self._token_ids, prompts, completions))
        found: dict[int, float] = {}
        # Without a padding token the model cannot tell where a sequence ends.
        can_pad = self._model.config.pad_token_id is not None
        for batch in batches_by_length([len(ids) for ids in sequences], self._max_tokens if can_pad else 0):
            values = self._run([sequences[index] for index in batch])
            found.update(zip(batch, values.tolist(), strict=True))
        return [found[index] for index in range(len(sequences))]

    def _trained_on(self, prompts: Sequence[Text], completions: Sequence[str]) -> list[list[int]]:
        """Token ids as in training; none for a model that was trained elsewhere."""
        if self._encoder is None:
            return []
        groups = [
            PromptGroup(prompt, (Completion(text or _ANY_TEXT),), (), Origin(self._label, row))
            for row, (prompt, text) in enumerate(zip(prompts, completions, strict=True), start=1)
        ]
        # An empty completion is its end-of-sequence token alone.
        return [
            [*group.prompt.tolist(), *(group.completions[0].tolist() if text else [self._tokenizer.eos_token_id])]
            for group, text in zip(self._encoder.encode(groups), completions, strict=True)
        ]

    def _token_ids(self, prompt: Text, completion: str) -> list[int]:
        turned = self._chat.turned(prompt)
        text = f"{turned}{completion}" if isinstance(turned, str) else self._rendered(turned, completion)
        adds_special_tokens = self._chat.adds_special_tokens(prompt)
        return list(self._tokenizer(text, add_special_tokens=adds_special_tokens, verbose=False)["input_ids"])

    def _rendered(self, turns: tuple[Message, ...], completion: str) -> str:
        whole = [*turns, Message("assistant", completion)]
        return self._chat.render(whole, NO_INPUTS, place=self._label, is_prompt=False)

    def _run(self, sequences: Sequence[list[int]]) -> Tensor:
        padding = self._model.config.pad_token_id or 0
        token_ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(ids) for ids in sequences], batch_first=True, padding_value=padding
        )
        lengths = torch.tensor([len(ids) for ids in sequences])
        mask = (torch.arange(token_ids.shape[1]) < lengths[:, None]).long()
        device = self._arithmetic.device
        with torch.no_grad(), self._arithmetic.context():
            logits: Tensor = self._model(input_ids=token_ids.to(device), attention_mask=mask.to(device)).logits
        return logits.float().cpu()[:, 0]
