"""One training step three ways: padded with all logits, padded with fused log-probs, packed with fused log-probs.

A Llama of 8 layers and width 512 (42M parameters with one embedding, 58M with a head of its own, as here) and
preference pairs with lengths like those of HH-RLHF; forward, DPO loss and backward, no optimizer. The ways take turns,
so that a busy machine is busy for all of them.

    python -m benchmarks.packed_step --rounds 5
"""

import argparse
import math
import random
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.padded_forward import PaddedFused
from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin, Pair
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.forward.sequences import SequencesForward

VOCABULARY_SIZE = 32_000
BETA = 0.1


def hh_like_groups(num_pairs: int) -> list[TokenGroup]:
    """Pairs with log-normal lengths: prompts around 120 tokens, completions around 60."""
    lengths, tokens = random.Random(1), np.random.default_rng(0)

    def some_tokens(median: float, sigma: float) -> np.ndarray:
        length = max(8, min(1500, int(median * math.exp(lengths.gauss(0, sigma)))))
        return tokens.integers(3, VOCABULARY_SIZE, length).astype(np.int32)

    return [
        TokenGroup(
            some_tokens(120, 0.8), (some_tokens(60, 0.7), some_tokens(60, 0.7)), (Pair(0, 1),), Origin("hh", row)
        )
        for row in range(1, num_pairs + 1)
    ]


def step_seconds(forward: Forward, model: nn.Module, batch: PackedBatch, *, bf16: bool) -> tuple[float, float]:
    """Seconds of one step, and its loss."""
    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logps = batch.sum_by_completion(forward.token_logps(model, batch))
    logratios = logps - logps.detach()
    margins = logratios[batch.pairs[:, 0]] - logratios[batch.pairs[:, 1]]
    loss = -logsigmoid(BETA * margins).mean()
    loss.backward()
    return time.perf_counter() - start, float(loss.detach())


def rows_of_the_table(model: nn.Module, batch: PackedBatch, *, rounds: int) -> Iterator[str]:
    """One line per dtype and way, the slowest first."""
    ways: dict[str, Forward] = {
        "padded, all logits": SequencesForward(),
        "padded, fused log-prob": PaddedFused(),
        "packed, fused log-prob": PackedForward(),
        "packed, fused, tiles kept": PackedForward(Tiles(keep_bytes=1 << 40)),
    }
    for bf16 in (True, False):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, forward in ways.items():
                spent, loss = step_seconds(forward, model, batch, bf16=bf16)
                assert abs(loss - math.log(2)) < 1e-4, f"{name}: loss {loss} with policy = reference"
                if turn > 0:  # The first turn warms up.
                    seconds[name].append(spent)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        slowest = medians["padded, all logits"]
        for name, median in medians.items():
            best = min(seconds[name])
            dtype = "bf16 autocast" if bf16 else "float32"
            yield f"| {dtype} | {name} | {median:.2f} | {best:.2f} | {slowest / median:.1f}x |"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="steps per way that count (default 5)")
    parser.add_argument("--pairs", type=int, default=8, help="preference pairs per step (default 8)")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=4096,
    )
    model, batch = LlamaForCausalLM(config), pack(hh_like_groups(options.pairs))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f}M parameters, {torch.get_num_threads()} threads")
    print(f"packed row of {len(batch.token_ids)} tokens, {len(batch.targets)} targets, {options.rounds} rounds\n")
    print("| dtype | way | median seconds | best | against padded, all logits |\n|---|---|---|---|---|")
    for row in rows_of_the_table(model, batch, rounds=options.rounds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
