"""Completions drawn from a model."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from typing_extensions import override

from preftune.data.progress import track
from preftune.data.tokens.token_group import TokenIds
from preftune.errors import ConfigError, TokenizerError
from preftune.groups import Prompt, Text
from preftune.model.forward.forward import evaluating
from preftune.model.forward.model_size import context_length, num_embeddings
from preftune.model.generation.prompts import encode_prompts
from preftune.model.generation.realigned import Mixer, Realignment
from preftune.model.reference.reference import FrozenCopy
from preftune.planning.sizes import batches_by_length
from preftune.settings.chat import RAW, ChatChoice
from preftune.settings.sampling import Sampling


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A sampled completion.

    Args:
        prompt_ids: Tokens of the prompt. Shape: (token,).
        completion_ids: Tokens of the completion, with the end-of-sequence token if there is one. Shape: (token,).
        text: The completion without special tokens.
        finished: True if it ended by itself, false if it was cut off at `max_new_tokens`.
    """

    prompt_ids: TokenIds
    completion_ids: TokenIds
    text: str
    finished: bool


def generate(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Text | Prompt],
    *,
    chat: ChatChoice = RAW,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    num_samples: int = 1,
    greedy: Collection[int] = (),
    batch_tokens: int = 16_384,
    seed: int = 0,
    realignment: Realignment | None = None,
    show_progress: bool = False,
    shorten: Callable[[str], None] | None = None,
) -> list[list[Generation]]:
    """Continue each prompt. The defaults sample from the model's own distribution.

    The same seed, model, prompts and `batch_tokens` give the same completions. The state of torch's generators and
    of the model (training or evaluation mode, cache, generation config) is restored afterwards.

    Args:
        tokenizer: The model's. It needs no padding token.
        prompts: Text or conversations, the latter always through the chat template.
        chat: Chat template or raw text for prompts that are text.
        max_new_tokens, temperature, top_p, top_k, num_samples, seed: As in `Sampling`.
        greedy: Places of prompts that are completed greedily, whatever the temperature.
        batch_tokens: Memory budget: rows of a batch x (longest prompt + `max_new_tokens`), doubled if the reference
            keeps a second cache.
        realignment: Draw from this mix of the model and its reference; None: from the model. Completions end at the
            model's end-of-sequence tokens.
        shorten: Lower `max_new_tokens` to the room that the longest prompt leaves, and call this with a line on it.
            Default: too little room is an error.
    Returns:
        `num_samples` completions per prompt, in the order of the prompts.
    Raises:
        ConfigError: settings out of range, or more tokens than the model has positions for.
        DataError, TokenizerError: prompts that cannot be tokenized for this model.
        ModelError: the reference does not give probabilities to the same tokens.
    Differs: `model.generate` applies the generation config of the model (temperature, top-k, repetition penalty). This
        function uses only its end-of-sequence tokens, with those of the tokenizer, so that log-probs of samples follow
        the sampling distribution.
    """
    sampling = Sampling(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        num_samples=num_samples,
        seed=seed,
    )
    encoded = encode_prompts(tokenizer, prompts, chat)
    if shorten is not None:
        sampling = _shortened(sampling, model, encoded, shorten)
    _check_fits(model, encoded, sampling)
    mix = _mix_of(realignment, model, encoded, sampling)
    ends = _end_tokens(model, tokenizer)
    rows = [index for index in range(len(encoded)) for _ in range(num_samples)]
    row_prompts = [encoded[index] for index in rows]
    budget = batch_tokens // (1 if mix is None else 2)
    completions = _complete(
        model,
        row_prompts,
        sampling,
        ends,
        mix=mix,
        greedy=[index in greedy for index in rows],
        budget=budget,
        show_progress=show_progress,
    )
    texts = tokenizer.batch_decode([completion.tolist() for completion in completions], skip_special_tokens=True)
    generations = [
        Generation(prompt, completion, text, bool(completion[-1] in ends))
        for prompt, completion, text in zip(row_prompts, completions, texts, strict=True)
    ]
    return [generations[start : start + num_samples] for start in range(0, len(rows), num_samples)]


def _mix_of(
    realignment: Realignment | None,
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[TokenIds],
    sampling: Sampling,
) -> Realignment | None:
    """The realignment, checked for this model; None if it is none or the policy itself."""
    if realignment is None or realignment.is_policy:
        return None
    realignment.check(model)
    if isinstance(realignment.reference, FrozenCopy):
        _check_fits(realignment.reference.model, prompts, sampling)
    return realignment


def _complete(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[TokenIds],
    sampling: Sampling,
    ends: frozenset[int],
    *,
    mix: Realignment | None,
    greedy: Sequence[bool],
    budget: int,
    show_progress: bool,
) -> list[TokenIds]:
    """A completion of each prompt, drawn in batches of similar lengths with at most `budget` tokens each."""
    batches = batches_by_length([len(prompt) + sampling.max_new_tokens for prompt in prompts], budget)
    completions: dict[int, TokenIds] = {}
    mixed = nullcontext() if mix is None else mix.mixer(model)
    with _generating(model), _seeded(model.device, sampling.seed), mixed as mixer:
        for batch in track(batches, "Generating", total=len(batches), show=show_progress):
            is_greedy = [greedy[row] for row in batch]
            drawn = _draw(model, [prompts[row] for row in batch], sampling, ends, mixer, is_greedy=is_greedy)
            completions.update(zip(batch, drawn, strict=True))
    return [completions[row] for row in range(len(prompts))]


def _draw(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[TokenIds],
    sampling: Sampling,
    ends: frozenset[int],
    mixer: Mixer | None,
    *,
    is_greedy: Sequence[bool],
) -> Iterator[TokenIds]:
    """Completions of one batch, each cut off after its first end-of-sequence token."""
    width = max(len(prompt) for prompt in prompts)
    padding = min(ends, default=0)
    token_ids = torch.full((len(prompts), width), padding)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        token_ids[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask[row, width - len(prompt) :] = 1
    mask = mask.to(model.device)
    processors = LogitsProcessorList([] if mixer is None else [mixer(mask)])
    if any(is_greedy):
        processors.append(_GreedyRows(is_greedy))
    output = _generate_of(model)(
        input_ids=token_ids.to(model.device),
        attention_mask=mask,
        generation_config=_generation_config(sampling, ends, padding),
        logits_processor=processors,
    )
    for completion in output[:, width:].cpu():
        yield _cut_after_end(completion, ends).numpy().astype(np.int32)


class _GreedyRows(LogitsProcessor):
    """Leaves only the likeliest token of some rows of a batch."""

    def __init__(self, is_greedy: Sequence[bool]) -> None:
        self._is_greedy = torch.tensor(is_greedy)[:, None]

    @override
    def __call__(self, input_ids: Any, scores: Any) -> Any:
        others = torch.ones_like(scores, dtype=torch.bool).scatter_(1, scores.argmax(-1, keepdim=True), False)
        return scores.masked_fill(self._is_greedy.to(scores.device) & others, -math.inf)


def _generate_of(model: PreTrainedModel | PeftModel) -> Callable[..., Tensor]:
    method: Any = model.generate
    return cast("Callable[..., Tensor]", method)


def _cut_after_end(completion: Tensor, ends: frozenset[int]) -> Tensor:
    found = torch.isin(completion, torch.tensor(sorted(ends), dtype=completion.dtype)).nonzero()
    return completion[: int(found[0]) + 1] if len(found) else completion


def _generation_config(sampling: Sampling, ends: frozenset[int], padding: int) -> GenerationConfig:
    draws = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=sampling.temperature > 0,
        use_cache=True,
        eos_token_id=sorted(ends) or None,
        pad_token_id=padding,
        **(draws if sampling.temperature > 0 else {}),
    )


def _end_tokens(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """End-of-sequence tokens of the tokenizer and of the model. They may differ for chat models."""
    configured: Any = model.generation_config.eos_token_id if model.generation_config is not None else None
    of_model = configured if isinstance(configured, list) else [configured]
    return frozenset(int(token) for token in (tokenizer.eos_token_id, *of_model) if token is not None)


def _shortened(
    sampling: Sampling, model: PreTrainedModel | PeftModel, prompts: Sequence[TokenIds], say: Callable[[str], None]
) -> Sampling:
    context, longest = context_length(model.config), max(map(len, prompts), default=0)
    room = sampling.max_new_tokens if context is None else context - longest
    if not 0 < room < sampling.max_new_tokens:
        return sampling
    say(f"max_new_tokens: {room:,}, the room beside the longest prompt in the model's {context:,} positions")
    return replace(sampling, max_new_tokens=room)


def _check_fits(model: PreTrainedModel | PeftModel, prompts: Sequence[TokenIds], sampling: Sampling) -> None:
    """Make sure that prompts and completions fit the model's positions, and token ids its embedding."""
    longest = max(map(len, prompts), default=0)
    context = context_length(model.config)
    if context is not None and longest + sampling.max_new_tokens > context:
        room = context - longest
        advice = f"Set it to {room:,} or less." if room > 0 else "Shorten the prompt."
        raise ConfigError(
            [
                f"max_new_tokens = {sampling.max_new_tokens:,}: the longest prompt has {longest:,} tokens, and the "
                f"model has positions for {context:,}. {advice}"
            ]
        )
    biggest = max((int(prompt.max()) for prompt in prompts), default=0)
    if biggest >= num_embeddings(model):
        raise TokenizerError(
            f"a prompt has token {biggest:,}, but the model's embedding has {num_embeddings(model):,} rows, so model "
            "and tokenizer do not belong together. Give the tokenizer of the model."
        )


@contextmanager
def _generating(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """No gradients, no dropout, and an empty generation config, since the model's own could change the distribution."""
    plain: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    before = plain.generation_config
    plain.generation_config = GenerationConfig()
    try:
        with torch.no_grad(), evaluating(model):
            yield
    finally:
        plain.generation_config = before


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
