import torch

from preftune.losses import LOSSES
from preftune.training.steps import Batching, StepDataset
from tests.builders import token_groups


def dataset(rank: int = 0, num_ranks: int = 1, *, batch_size: int = 5, count: int = 12) -> StepDataset:
    batching = Batching(batch_size=batch_size, max_tokens=60, layout="packed", num_ranks=num_ranks, rank=rank)
    return StepDataset(token_groups(count), LOSSES["dpo"], batching)


def test_ranks_share_a_step_without_overlap_and_count_its_units_alike() -> None:
    whole, parts = dataset()[0], [dataset(rank, num_ranks=2)[0] for rank in (0, 1)]
    assert whole.num_units == 5
    assert [part.num_units for part in parts] == [5, 5]
    assert sum(part.num_tokens for part in parts) == whole.num_tokens
    assert len(parts[0].micro_batches) == len(parts[1].micro_batches)


def test_a_rank_without_a_group_gets_a_micro_batch_that_does_not_count() -> None:
    parts = [dataset(rank, num_ranks=3, batch_size=1, count=1)[0] for rank in range(3)]
    assert [part.micro_batches[0].weight for part in parts] == [1.0, 0.0, 0.0]
    assert [part.num_tokens for part in parts][1:] == [0, 0]


def test_a_step_is_a_pure_function_of_its_epoch() -> None:
    first, second = dataset(), dataset()
    second.set_epoch(1)
    other = [batch.token_ids for batch in second[0].micro_batches]
    second.set_epoch(0)
    again = [batch.token_ids for batch in second[0].micro_batches]
    expected = [batch.token_ids for batch in first[0].micro_batches]
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
    assert [ids.tolist() for ids in other] != [ids.tolist() for ids in expected]
