"""Preference tuning with thumbs up and down instead of pairs, in less than a minute, without network or GPU.

    python -m examples.kto_finetuning

Data, model and SFT are those of `dpo_finetuning.py`. Letters are not compared here: the SFT model writes one letter per
prompt, and each letter gets a thumbs up or down. Kahneman-Tversky Optimization (KTO, https://arxiv.org/abs/2402.01306)
learns from these labels.
"""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from transformers.utils import logging

from examples.dpo_finetuning import brightness, compare, make_prompt, run_sft, write_letters
from preftune import KTOConfig, KTOTrainer


def make_thumbs(model_folder: Path, num_letters: int) -> list[dict[str, Any]]:
    """Letters of the model with a label: true if bright, false if gloomy. Neutral letters are dropped."""
    rng = random.Random(2)
    prompts = [make_prompt(rng) for _ in range(num_letters)]
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    letters = write_letters(model, AutoTokenizer.from_pretrained(model_folder), prompts)
    return [
        {"prompt": prompt, "completion": f" {letter}", "label": brightness(letter) > 0}
        for prompt, letter in zip(prompts, letters, strict=True)
        if brightness(letter) != 0
    ]


def run_kto(sft_folder: Path, thumbs: Sequence[dict[str, Any]], output: Path, *, steps: int) -> Path:
    """Train the SFT model on thumbs. Returns the folder of the new model."""
    trainer = KTOTrainer(
        model=str(sft_folder),
        args=KTOConfig(
            output_dir=str(output),
            beta=0.1,
            learning_rate=3e-4,
            train_sampling_strategy="random",
            per_device_train_batch_size=64,  # completions
            max_steps=steps,
            logging_steps=1,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=thumbs,
    )
    trainer.remove_callback(PrinterCallback)  # the two lines below replace its output
    trainer.train()
    trainer.save_model()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    for log in (logs[0], logs[-1]):
        print(f"KTO: step {log['step']:>3}  loss {log['loss']:.4f}  margin {log['rewards/margins']:.2f}")
    return output


def main(*, num_letters: int = 1024, sft_steps: int = 300, kto_steps: int = 120, folder: Path | None = None) -> float:
    """All steps. Returns the gain in mean brightness from SFT to KTO."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        sft = run_sft(place, num_letters=2 * num_letters, steps=sft_steps)
        thumbs = make_thumbs(sft, num_letters)
        print(f"thumbs: {len(thumbs)}, such as {thumbs[0]}")
        kto = run_kto(sft, thumbs, place / "kto", steps=kto_steps)
        bright = compare({"SFT": sft, "KTO": kto}, num_letters=200)
    return bright["KTO"] - bright["SFT"]


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    main()
