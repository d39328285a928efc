"""Small tokenizers, made on the spot."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["BOS", "CHATML", "EOS", "make_tokenizer"]

EOS = "<|end|>"
BOS = "<|start|>"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_SENTENCES = (
    "What is the capital of France? The capital of France is Paris.",
    "How do I bake a cake? Mix flour, sugar and eggs, then bake it for an hour.",
    "Two plus two equals four, and four plus four equals eight.",
)


@cache
def _backend(post_processing: str) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[EOS, BOS, "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    if post_processing:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=post_processing, special_tokens=[(EOS, 0), (BOS, 1)]
        )
    return tokenizer.to_str()


def make_tokenizer(
    *,
    post_processing: str = "",
    chat_template: str | None = CHATML,
    eos: str | None = EOS,
    bos: str | None = None,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 400 tokens.

    Args:
        post_processing: What is put around a text, such as `<|start|> $A`.
        chat_template: For conversations.
        eos, bos: End and beginning of a sequence.
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend(post_processing)),
        eos_token=eos,
        bos_token=bos,
        chat_template=chat_template,
    )
