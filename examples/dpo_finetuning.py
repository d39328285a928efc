"""A preference-tuned language model from scratch in less than a minute, without network or GPU.

    python examples/dpo_finetuning.py

Preference tuning has two phases. First, a language model learns to write text of the right kind (supervised
fine-tuning, SFT). Then it learns from pairs of answers, one better than the other, which kind of answer is preferred
(here by DPO, Direct Preference Optimization, https://arxiv.org/abs/2305.18290). This walk-through does both with a
tiny data set that it generates itself: holiday letters with bright or gloomy remarks. Half of the remarks in the SFT
data are gloomy. The preference is a rule that can be counted: the number of bright words minus the number of gloomy
words. The last step counts both in letters of the models.
"""

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    PrinterCallback,
)
from transformers.utils import logging

from preftune import DPOConfig, DPOTrainer, TrainConfig, train

# --- 1. The data ----------------------------------------------------------------------------------------------
# The first sentence of a letter names a place: the prompt. Three remarks follow: the completion. Each remark is bright
# or gloomy with probability 1/2.

PLACES = ("the beach", "the old town", "the hotel", "the harbour", "the mountains", "the museum")
THINGS = ("the food", "the weather", "the room", "the view", "the music", "the guide")
BRIGHT = ("lovely", "warm", "splendid", "friendly", "sunny", "delicious")
GLOOMY = ("dreadful", "cold", "boring", "rude", "rainy", "stale")


def make_prompt(rng: random.Random) -> str:
    """The first sentence of a letter."""
    return f"dear friend , today we saw {rng.choice(PLACES)} ."


def make_completion(rng: random.Random) -> str:
    """Three random remarks."""
    return "".join(f" {rng.choice(THINGS)} was {rng.choice(rng.choice((BRIGHT, GLOOMY)))} ." for _ in range(3))


def brightness(text: str) -> int:
    """The preference: number of bright words minus number of gloomy words."""
    return sum((word in BRIGHT) - (word in GLOOMY) for word in text.split())


# --- 2. A tokenizer and a model -------------------------------------------------------------------------------
# Any tokenizer and causal language model of transformers works, by hub id or folder. This tokenizer knows a few dozen
# words, and the model is a Llama with about a hundred thousand random weights.


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word of the data."""
    texts = (*PLACES, *THINGS, *BRIGHT, *GLOOMY, "dear friend , today we saw . was")
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def make_model(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A small Llama with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


# --- 3. Supervised fine-tuning --------------------------------------------------------------------------------
# `train` does the work of the command `preftune sft`: it takes settings and writes a model folder. Each line of the
# data file has a prompt and a completion. Only completions count in the loss.


def run_sft(folder: Path, *, num_letters: int, steps: int) -> Path:
    """Train a new model to write letters. Returns its folder."""
    rng = random.Random(1)
    letters = [{"prompt": make_prompt(rng), "completion": make_completion(rng)} for _ in range(num_letters)]
    data = folder / "letters.jsonl"
    data.write_text("".join(json.dumps(letter) + "\n" for letter in letters))

    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder / "untrained")
    tokenizer.save_pretrained(folder / "untrained")

    settings = TrainConfig.of(
        method="sft",
        model=str(folder / "untrained"),
        data=str(data),
        output=str(folder / "sft"),
        learning_rate=3e-3,
        batch_size=32,
        epochs=100,  # max_steps ends the run earlier
        max_steps=steps,
        report_to="none",
    )
    result = train(settings)
    loss = result.train["loss"]
    print(f"SFT: {result.num_steps} steps, loss {loss.first:.2f} -> {loss.last:.2f} nats per token")
    return folder / "sft"


# --- 4. Preference pairs --------------------------------------------------------------------------------------
# DPO works best on samples of the model itself. So the SFT model writes two letters per prompt, and the rule decides
# which one is chosen and which is rejected. Ties carry no preference and are dropped. With real data, people or a judge
# compare the answers.


def write_letters(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[str]:
    """Sample a continuation of each prompt."""
    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    inputs.pop("token_type_ids", None)
    torch.manual_seed(0)
    sequences = model.generate(**inputs, do_sample=True, max_new_tokens=20)  # type: ignore[operator]
    start = inputs["input_ids"].shape[1]
    return [str(tokenizer.decode(sequence[start:], skip_special_tokens=True)) for sequence in sequences]


def make_pairs(model_folder: Path, num_pairs: int) -> list[dict[str, str]]:
    """Pairs of letters by the model; the brighter letter is chosen."""
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    rng = random.Random(2)
    prompts = [make_prompt(rng) for _ in range(2 * num_pairs)]  # about a third are ties
    letters = write_letters(model, tokenizer, [prompt for prompt in prompts for _ in range(2)])
    pairs = []
    for prompt, one, other in zip(prompts, letters[::2], letters[1::2], strict=True):
        worse, better = sorted((one, other), key=brightness)
        if brightness(worse) < brightness(better) and worse and better:
            pairs.append({"prompt": prompt, "chosen": f" {better}", "rejected": f" {worse}"})
    return pairs[:num_pairs]


# --- 5. DPO ---------------------------------------------------------------------------------------------------
# `DPOTrainer` is a `transformers.Trainer` with the arguments of TRL. The reference is a frozen copy of the SFT model; a
# higher `beta` keeps the model closer to it. The loss starts at ln 2 = 0.6931, where model and reference are equal, and
# falls as the chosen letters become more likely than the rejected ones, relative to the reference.


def run_dpo(sft_folder: Path, pairs: Sequence[dict[str, str]], output: Path, *, steps: int) -> Path:
    """Train the SFT model on pairs. Returns the folder of the new model."""
    trainer = DPOTrainer(
        model=str(sft_folder),
        args=DPOConfig(
            output_dir=str(output),
            beta=0.1,
            learning_rate=3e-4,
            per_device_train_batch_size=32,
            max_steps=steps,
            logging_steps=1,
            gradient_checkpointing=False,  # a model of this size needs no memory savings
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=pairs,
    )
    trainer.remove_callback(PrinterCallback)  # the two lines below replace its output
    trainer.train()
    trainer.save_model()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    for log in (logs[0], logs[-1]):
        margin, accuracy = log["rewards/margins"], log["rewards/accuracies"]
        print(f"DPO: step {log['step']:>3}  loss {log['loss']:.4f}  margin {margin:.2f}  accuracy {accuracy:.2f}")
    return output


def same_as_settings(sft_folder: Path, pairs: Sequence[dict[str, str]], folder: Path, *, steps: int) -> TrainConfig:
    """The same run as settings for `train`, a YAML file, or the command `preftune train --method dpo`."""
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return TrainConfig.of(
        method="dpo",
        beta=0.1,
        model=str(sft_folder),
        data=str(data),
        output=str(folder / "dpo-by-settings"),
        learning_rate=3e-4,
        batch_size=32,
        max_steps=steps,
        schedule="linear",
        warmup=0,
    )


# --- 6. Before and after --------------------------------------------------------------------------------------


def compare(folders: dict[str, Path], num_letters: int) -> dict[str, float]:
    """Sample letters from each model, print one of each, and return the mean brightness."""
    rng = random.Random(3)
    prompts = [make_prompt(rng) for _ in range(num_letters)]
    letters = {}
    for name, folder in folders.items():
        model = AutoModelForCausalLM.from_pretrained(folder)
        letters[name] = write_letters(model, AutoTokenizer.from_pretrained(folder), prompts)
    bright = {name: sum(map(brightness, written)) / num_letters for name, written in letters.items()}
    # The models use the same random numbers, so many letters are equal. Show one that differs.
    shown = next((place for place, both in enumerate(zip(*letters.values(), strict=True)) if len(set(both)) > 1), 0)
    print(f"\n{'model':<8}{'mean brightness':>16}   {prompts[shown]} ...")
    for name, written in letters.items():
        print(f"{name:<8}{bright[name]:>16.2f}   {written[shown]}")
    return bright


def main(*, num_pairs: int = 512, sft_steps: int = 300, dpo_steps: int = 120, folder: Path | None = None) -> float:
    """All steps. Returns the gain in mean brightness from SFT to DPO."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        sft = run_sft(place, num_letters=4 * num_pairs, steps=sft_steps)
        pairs = make_pairs(sft, num_pairs)
        print(f"pairs: {len(pairs)}, such as {pairs[0]}")
        dpo = run_dpo(sft, pairs, place / "dpo", steps=dpo_steps)
        settings = same_as_settings(sft, pairs, place, steps=dpo_steps)
        print(f"the same with settings: train(TrainConfig.of(method={settings.method.name!r}, beta=0.1, ...))")
        bright = compare({"SFT": sft, "DPO": dpo}, num_letters=200)
    return bright["DPO"] - bright["SFT"]


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    main()
