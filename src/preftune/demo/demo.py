"""SFT and DPO in miniature: a model learns to write film reviews, then kind ones, from preferences alone."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console, Group
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from preftune.demo.reviews.world import ReviewWorld
from preftune.demo.small_model import make_llama, train_tokenizer
from preftune.evaluation.evaluate import evaluate
from preftune.files.json_files import write_json_lines
from preftune.files.outputs import check_folder, empty_folder, writing_into
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


@dataclass(frozen=True, slots=True)
class Writer:
    """Measurements of a model's texts.

    Args:
        positive: Share of texts with a true reward above 0.
        reward: True reward. Unit: nats.
    """

    positive: Estimate
    reward: Estimate
    num_words: Estimate

    @staticmethod
    def of(texts: Sequence[str], reward: Callable[[str], float]) -> "Writer":
        """Measure texts, given their true reward."""
        rewards = torch.tensor([reward(text) for text in texts], dtype=torch.float64)
        words = torch.tensor([len(text.split()) for text in texts], dtype=torch.float64)
        return Writer(Estimate.of((rewards > 0).double()), Estimate.of(rewards), Estimate.of(words))


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The demo's two models on held-out prompts.

    Args:
        before, after: The model after SFT and after DPO.
        kl: KL(after || before) over whole texts, by sampling. Unit: nats.
        accuracy: Share of held-out pairs on which the implicit reward agrees with the label.
        examples: Prompt, continuation before and continuation after.
    """

    folder: str
    before: Writer
    after: Writer
    kl: Estimate
    accuracy: Estimate
    examples: tuple[tuple[str, str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self)

    def tables(self) -> Group:
        """Tables of the measurements and of the examples, for the console."""
        return Group(self._numbers(), self._examples())

    def _numbers(self) -> Table:
        table = Table(title="Before and after", title_justify="left", title_style="bold")
        for heading in ("", "SFT", "SFT, then DPO"):
            table.add_column(heading, justify="left" if not heading else "right")
        table.add_row("positive continuations", _share(self.before.positive), _share(self.after.positive))
        table.add_row("true reward (nats)", str(self.before.reward), str(self.after.reward))
        table.add_row("words", str(self.before.num_words), str(self.after.num_words))
        table.add_row("KL to SFT (nats)", "0", str(self.kl))
        table.add_row("held-out preference accuracy", "50 % (a tie)", _share(self.accuracy))
        return table

    def _examples(self) -> Table:
        table = Table(title="The same prompt, both models", title_justify="left", title_style="bold", show_lines=True)
        for heading in ("prompt", "SFT", "SFT, then DPO"):
            table.add_column(heading, ratio=1)
        for example in self.examples:
            table.add_row(*(text.strip() for text in example))
        return table


def _share(estimate: Estimate) -> str:
    return f"{estimate.mean:.1%} ± {estimate.standard_error:.1%}".replace("%", " %")


_MARK = "demo.json"
_MAX_NEW_TOKENS = 80
_BATCH_TOKENS = 64_000
_BETA = 0.1
_JUDGE = "python:preftune.demo.reviews.reward:true_reward"


@dataclass(frozen=True, slots=True)
class DemoSize:
    """Amounts of data in the demo.

    Args:
        num_demonstrations: Reviews for SFT, each used once.
        num_pair_prompts: Prompts with two samples of the SFT model each, for DPO.
        num_test_prompts: Held-out prompts, for the table.
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
    """Write demonstrations, train by SFT, sample and label pairs, train by DPO, and compare the two models.

    Args:
        output: A new folder, or one of an earlier demo, for the folders `base`, `sft`, `dpo` and the data.
        size: Amounts of data. The default takes about three minutes on two cores.
    Raises:
        OutputError: the folder holds something else, or an earlier demo and `overwrite` is false.
    """
    with writing_into(output, "preftune demo"):
        _claim(output, overwrite=overwrite)
        demo = _Demo(output, seed, size or DemoSize(), console or Console(quiet=True), ReviewWorld())
        result = demo.run()
        (output / _MARK).write_text(json.dumps(result.as_dict(), indent=2) + "\n", encoding="utf-8")
    return result


@dataclass(frozen=True, slots=True)
class _Demo:
    """The demo's steps. Test prompts are held out; they never occur in training."""

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
        self._say("3. Two reviews for each prompt, labelled by a reader who likes praise")
        sft = self._load("sft")
        self._write_pairs(sft, tokenizer)
        self._say("4. DPO: the model learns from the preferences")
        dpo_run = self._dpo()
        self._say("5. Both models on held-out prompts")
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
        write_json_lines(self.output / "reviews.jsonl", rows)
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
            raise KeyboardInterrupt  # later steps need a model, which a stopped run does not save
        return result

    def _write_pairs(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        for name, count, held_out in (
            ("pairs.jsonl", self.size.num_pair_prompts, False),
            ("pairs-held-out.jsonl", self.size.num_test_prompts, True),
        ):
            prompts = self.world.prompts(count, self.seed + 1, held_out=held_out)
            samples = self._sample(model, tokenizer, prompts, num_samples=2)
            write_json_lines(self.output / name, self._label(prompts, samples))

    def _label(self, prompts: Sequence[str], samples: Sequence[Sequence[Generation]]) -> list[dict[str, Any]]:
        """Rows of pairs. Samples that are equal, equally good or cut off make no pair."""
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
        """Evaluate the DPO run as `preftune eval` does, for its report, with the true reward as the judge."""
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
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(self.output / name)
        assert AutoTokenizer.from_pretrained(self.output / name).eos_token_id == model.config.eos_token_id
        return model

    def _say(self, text: str) -> None:
        self.console.rule(text, align="left")


def is_usable(generation: Generation) -> bool:
    """True if a sample can be part of a pair: it is finished and not empty."""
    return generation.finished and bool(generation.text)


def _claim(output: Path, *, overwrite: bool) -> None:
    check_folder(output, overwrite=overwrite, kind="demo", holds_kind=lambda folder: (folder / _MARK).is_file())
    empty_folder(output)
    (output / _MARK).write_text("{}\n", encoding="utf-8")


def _pair_row(group: PromptGroup) -> dict[str, Any]:
    (pair,) = group.pairs
    return {
        "prompt": group.prompt,
        "chosen": group.completions[pair.chosen].content,
        "rejected": group.completions[pair.rejected].content,
        "margin": pair.margin,
    }
