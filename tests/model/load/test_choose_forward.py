from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainingArguments

from preftune.model.forward.forward import Forward, completion_logps
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.reference.reference import NoReference
from tests.builders import tiny_llama, token_groups


def test_a_run_computes_the_logits_of_small_steps_once(tmp_path: Path) -> None:
    model, batch = tiny_llama(), pack(token_groups(3))
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    chosen = choose_forward_for(model, NoReference(), arguments).forward

    def operations(forward: Forward) -> int:
        counter = FlopCounterMode(display=False)
        with counter:
            completion_logps(forward, model, batch).sum().backward()
        return int(counter.get_total_flops())

    head = model.get_output_embeddings().weight
    assert isinstance(head, torch.Tensor)
    assert operations(PackedForward()) - operations(chosen) == 2 * head.numel() * len(batch.targets)
