"""Samples that are drawn once: another evaluation with the same settings reads them from the store.

GPUs do not round the same way twice. Without the store, an interrupted evaluation would draw other texts, and the
verdicts that were paid for would be lost.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.data.tokens.token_group import TokenIds
from preftune.groups import Prompt, Text
from preftune.judges.store import EvaluationStore
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.prompts import encode_prompts
from preftune.model.generation.realigned import Realignment
from preftune.model.reference.fingerprint import fingerprint_model
from preftune.model.reference.reference import FrozenCopy
from preftune.settings.chat import RAW, ChatChoice
from preftune.settings.sampling import Sampling

SamplesByPrompt = list[list[Generation]]


@dataclass(frozen=True, slots=True, eq=False)
class Drawer:
    """Draws samples, or reads those that were drawn with the same settings.

    Args:
        chat: Chat template or raw text for prompts that are text.
    """

    store: EvaluationStore | None
    arithmetic: Arithmetic
    batch_tokens: int = 16_384
    show_progress: bool = False
    chat: ChatChoice = RAW
    _digests: dict[tuple[int, tuple[str, ...]], bytes] = field(init=False, default_factory=dict)

    def draw(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Text | Prompt],
        sampling: Sampling,
        *,
        adapters: Collection[str] | None = None,
        realignment: Realignment | None = None,
    ) -> SamplesByPrompt:
        """Completions of the model by prompt. Raises what `generate` raises.

        Args:
            model: On its device. It must not change while the drawer is in use.
            adapters: Names of the active adapters. Default: as set in the model.
            realignment: Draw from this mix of the model and its reference; None: from the model.
        """

        def drawn() -> SamplesByPrompt:
            with self.arithmetic.context():
                return generate(
                    model,
                    tokenizer,
                    prompts,
                    chat=self.chat,
                    **asdict(sampling),
                    batch_tokens=self.batch_tokens,
                    realignment=realignment,
                    show_progress=self.show_progress,
                )

        if self.store is None:
            return drawn()
        key = self._key(model, tokenizer, prompts, sampling, adapters, realignment)
        kept = self.store.samples(key)
        if kept is not None:
            return _restored(kept, encode_prompts(tokenizer, prompts, self.chat))
        samples_by_prompt = drawn()
        rows = [
            [{"ids": one.completion_ids.tolist(), "text": one.text, "finished": one.finished} for one in samples]
            for samples in samples_by_prompt
        ]
        self.store.keep_samples(key, rows)
        return samples_by_prompt

    def _key(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Text | Prompt],
        sampling: Sampling,
        adapters: Collection[str] | None,
        realignment: Realignment | None,
    ) -> bytes:
        """Digest of everything that the samples depend on."""
        digest = hashlib.blake2b(self._digest(model, adapters), digest_size=16)
        ends = model.generation_config.eos_token_id if model.generation_config is not None else None
        digest.update(repr((sampling, self.batch_tokens, tokenizer.eos_token_id, ends)).encode())
        if realignment is not None:
            digest.update(repr(realignment.strength).encode() + self._digest_of_reference(model, realignment))
        for ids in encode_prompts(tokenizer, prompts, self.chat):
            digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
        return digest.digest()

    def _digest_of_reference(self, model: PreTrainedModel | PeftModel, realignment: Realignment) -> bytes:
        reference = realignment.reference
        return self._digest(reference.model, None) if isinstance(reference, FrozenCopy) else self._digest(model, ())

    def _digest(self, model: PreTrainedModel | PeftModel, adapters: Collection[str] | None) -> bytes:
        active = model.active_adapters if isinstance(model, PeftModel) else ()
        names = tuple(active if adapters is None else adapters)
        key = (id(model), names)
        if key not in self._digests:
            found = fingerprint_model(model, names, arithmetic=self.arithmetic, layout="sequences")
            self._digests[key] = found.digest
        return self._digests[key]


def _restored(kept: Sequence[Sequence[Mapping[str, Any]]], prompts: Sequence[TokenIds]) -> SamplesByPrompt:
    return [
        [Generation(ids, np.array(row["ids"], dtype=np.int32), row["text"], row["finished"]) for row in samples]
        for ids, samples in zip(prompts, kept, strict=True)
    ]
