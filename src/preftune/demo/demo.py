"""The whole way in miniature: a model learns to write film reviews, then to write kind ones, from preferences alone."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from preftune.demo.demo_result import DemoResult, Writer
from preftune.demo.reviews.tokenizer import train_tokenizer
from preftune.demo.reviews.world import ReviewWorld
from preftune.demo.small_model import make_llama
from preftune.evaluation.evaluate import evaluate
from preftune.files.outputs import check_folder
from preftune.groups import PromptGroup
from preftune.metrics.intervals import Estimate
from preftune.model.forward.sequences import SequencesForward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.sample_values import sampled_kl
from preftune.model.load.load_model import frozen
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import FrozenCopy
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.settings.evaluation_config import EvaluationConfig

__all__ = ["DemoSize", "is_usable", "run_demo"]

_MARK = "demo.json"
_MAX_NEW_TOKENS = 80
_BATCH_TOKENS = 64_000
_BETA = 0.1
_JUDGE = "python:preftune.demo.reviews.judge:true_reward"


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much the demo learns from, and how closely it looks.

    Args:
        num_demonstrations: Reviews for SFT, each seen once.
        num_pair_prompts: Prompts with two samples of the SFT model each, for DPO.
        num_test_prompts: Prompts kept from training, for the table.
        dpo_epochs: Passes over the pairs.
    """

    num_demonstrations: int = 12_800
    num_pair_prompts: int = 1_200
    num_test_prompts: int = 256
    dpo_epochs: int = 2


def run_demo(
    output: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    size: DemoSize | None = None,
    console: Console | None = None,
) -> DemoResult:
    """Make the world, train by SFT, sample and label pairs, train by DPO, and compare the two models.

    Args:
        output: A new folder, or one that an earlier demo made. Gets the folders `base`, `sft`, `dpo` and the data.
        seed: Of everything.
        overwrite: Whether to replace an earlier demo.
        size: How much to do; the default takes about three minutes on two cores.
        console: Where progress goes; default: nowhere.
    Raises:
        OutputError: the folder holds something else, or an earlier demo that may not be replaced.
    """
    _claim(output, overwrite=overwrite)
    demo = _Demo(output, seed, size or DemoSize(), console or Console(quiet=True), ReviewWorld())
    result = demo.run()
    (output / _MARK).write_text(json.dumps(result.as_dict(), indent=2) + "\n", encoding="utf-8")
    return result


@dataclass(frozen=True, slots=True)
class _Demo:
    """The demo's steps. Prompts of the pairs and of the test are drawn apart; those of the test are held out."""

    output: Path
    seed: int
    size: DemoSize
    console: Console
    world: ReviewWorld

    def run(self) -> DemoResult:
        self._say("1. A tokenizer, a small Llama with random weights, and reviews by a grammar to imitate")
        tokenizer = self._make_base()
        self._say("2. SFT: the model learns to write reviews")
        self._sft()
        self._say("3. Two reviews for each prompt, and which one a reader who likes praise prefers")
        sft = self._load("sft")
        self._write_pairs(sft, tokenizer)
        self._say("4. DPO: the model learns from the preferences")
        dpo_run = self._dpo()
        self._say("5. Both models on prompts that neither has seen")
        result = self._compare(sft, self._load("dpo"), tokenizer, dpo_run)
        self._evaluate()
        return result

    def _make_base(self) -> PreTrainedTokenizerBase:
        tokenizer = train_tokenizer(seed=self.seed)
        model = make_llama(tokenizer, seed=self.seed)
        model.save_pretrained(self.output / "base")
        tokenizer.save_pretrained(self.output / "base")
        self.console.print(f"{model.num_parameters():,} parameters, {len(tokenizer):,} tokens", highlight=False)
        reviews = self.world.demonstrations(self.size.num_demonstrations, self.seed)
        rows = [{"prompt": group.prompt, "completion": group.completions[0].content} for group in reviews]
        _write_rows(self.output / "reviews.jsonl", rows)
        return tokenizer

    def _sft(self) -> RunResult:
        return self._train(
            method="sft", model="base", data="reviews.jsonl", output="sft", learning_rate=3e-3, warmup=20.0
        )

    def _dpo(self) -> RunResult:
        return self._train(
            method="dpo",
            model="sft",
            data="pairs.jsonl",
            eval_data=str(self.output / "pairs-held-out.jsonl"),
            output="dpo",
            beta=_BETA,
            learning_rate=3e-4,
            warmup=5.0,
            epochs=self.size.dpo_epochs,
        )

    def _train(self, *, model: str, data: str, output: str, **settings: Any) -> RunResult:
        config = TrainConfig.of(
            model=str(self.output / model),
            data=str(self.output / data),
            output=str(self.output / output),
            batch_size=32,
            log_every=10,
            precision="fp32",
            seed=self.seed,
            **settings,
        )
        result = train(config, console=self.console)
        self.console.print(result.table())
        if result.stopped_early:
            raise KeyboardInterrupt  # The steps to come need a model, which a stopped run does not save.
        return result

    def _write_pairs(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        for name, count, held_out in (
            ("pairs.jsonl", self.size.num_pair_prompts, False),
            ("pairs-held-out.jsonl", self.size.num_test_prompts, True),
        ):
            prompts = self.world.prompts(count, self.seed + 1, held_out=held_out)
            samples = self._sample(model, tokenizer, prompts, num_samples=2)
            _write_rows(self.output / name, self._label(prompts, samples))

    def _label(self, prompts: Sequence[str], samples: Sequence[Sequence[Generation]]) -> list[dict[str, Any]]:
        """Rows of pairs. Samples that are equal, or equally good, or cut off before their end make no pair."""
        rng = random.Random(self.seed)
        rows = []
        for prompt, (first, second) in zip(prompts, samples, strict=True):
            if is_usable(first) and is_usable(second):
                group = self.world.label_pair(prompt, first.text, second.text, rng)
                rows += [_pair_row(group)] if group.pairs else []
        return rows

    def _compare(
        self, sft: PreTrainedModel, dpo: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dpo_run: RunResult
    ) -> DemoResult:
        prompts = self.world.prompts(self.size.num_test_prompts, self.seed + 2, held_out=True)
        samples = {name: self._sample(model, tokenizer, prompts) for name, model in (("sft", sft), ("dpo", dpo))}
        texts = {name: [drawn[0].text for drawn in given] for name, given in samples.items()}
        num_held_out = sum(1 for _ in (self.output / "pairs-held-out.jsonl").open(encoding="utf-8"))
        accuracy = dpo_run.held_out["rewards/accuracies"].last
        return DemoResult(
            folder=str(self.output),
            before=Writer.of(texts["sft"], self.world.reward),
            after=Writer.of(texts["dpo"], self.world.reward),
            kl=sampled_kl(dpo, FrozenCopy(frozen(sft)), samples["dpo"], Runner(SequencesForward())),
            accuracy=Estimate.of_share(accuracy, num_held_out),
            examples=tuple(zip(prompts[:3], texts["sft"][:3], texts["dpo"][:3], strict=True)),
        )

    def _evaluate(self) -> None:
        """The same of the DPO run by `preftune eval`, for its report: with intervals, the true reward as the judge."""
        prompts = self.output / "test-prompts.txt"
        texts = self.world.prompts(self.size.num_test_prompts, self.seed + 2, held_out=True)
        prompts.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        evaluate(
            EvaluationConfig.of(
                model=str(self.output / "dpo"),
                prompts=str(prompts),
                num_prompts=self.size.num_test_prompts,
                samples=1,
                max_new_tokens=_MAX_NEW_TOKENS,
                batch_tokens=_BATCH_TOKENS,
                judge=_JUDGE,
                seed=self.seed,
            ),
            console=self.console,
        )

    def _sample(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], num_samples: int = 1
    ) -> list[list[Generation]]:
        return generate(
            model,
            tokenizer,
            prompts,
            max_new_tokens=_MAX_NEW_TOKENS,
            num_samples=num_samples,
            batch_tokens=_BATCH_TOKENS,
            seed=self.seed,
            show_progress=not self.console.quiet,
        )

    def _load(self, name: str) -> PreTrainedModel:
        """A trained model, with plain transformers, as anyone would load it."""
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(self.output / name)
        assert AutoTokenizer.from_pretrained(self.output / name).eos_token_id == model.config.eos_token_id
        return model

    def _say(self, text: str) -> None:
        self.console.rule(text, align="left")


def is_usable(generation: Generation) -> bool:
    """Whether a sample can stand in a pair: it came to its end, and says something."""
    return generation.finished and bool(generation.text)


def _claim(output: Path, *, overwrite: bool) -> None:
    check_folder(output, overwrite=overwrite, kind="demo", holds_kind=lambda folder: (folder / _MARK).is_file())
    if any(output.iterdir()):
        shutil.rmtree(output)
        output.mkdir()
    (output / _MARK).write_text("{}\n", encoding="utf-8")


def _pair_row(group: PromptGroup) -> dict[str, Any]:
    (pair,) = group.pairs
    return {
        "prompt": group.prompt,
        "chosen": group.completions[pair.chosen].content,
        "rejected": group.completions[pair.rejected].content,
        "margin": pair.margin,
    }


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
