import torch

from preftune.losses import Method
from preftune.planning.sizes import TOKENS, WorkModel
from preftune.training.steps import Batching, StepDataset
from tests.builders import token_groups


def dataset(
    rank: int = 0, num_ranks: int = 1, *, batch_size: int = 5, count: int = 12, work: WorkModel = TOKENS
) -> StepDataset:
    batching = Batching(
        batch_size=batch_size, max_tokens=60, layout="packed", work=work, num_ranks=num_ranks, rank=rank
    )
    return StepDataset(token_groups(count), Method.named("dpo"), batching)


def test_ranks_share_a_step_without_overlap_and_count_its_units_alike() -> None:
    whole, parts = dataset()[0], [dataset(rank, num_ranks=2)[0] for rank in (0, 1)]
    assert whole.num_units == {"dpo": 5}
    assert [part.num_units for part in parts] == [{"dpo": 5}, {"dpo": 5}]
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


def test_a_step_is_cut_again_under_another_budget_and_holds_the_same() -> None:
    steps = dataset()
    before = steps[0]
    assert steps.biggest_group < steps.biggest_micro_batch(before) <= 60
    steps.set_max_tokens(steps.biggest_group)
    again = steps.cut_again(before)
    assert steps.biggest_micro_batch(again) == steps.biggest_group
    assert len(again.micro_batches) > len(before.micro_batches)
    keys = [sorted(key for batch in step.micro_batches for key in batch.keys) for step in (before, again)]
    assert keys[0] == keys[1]
    assert (again.groups, again.num_units, again.num_tokens) == (before.groups, before.num_units, before.num_tokens)


def test_the_work_of_a_step_is_that_of_its_busiest_rank() -> None:
    ranks = [dataset(rank, num_ranks=2) for rank in (0, 1)]
    assert ranks[0].work(0) == ranks[1].work(0) == max(steps[0].num_tokens for steps in ranks)
    doubled = dataset(num_ranks=2, work=WorkModel(per_token=2, per_target=0, per_attended_key=0))
    assert doubled.work(0) == 2 * ranks[0].work(0)
    assert ranks[0].summary().work_per_step == sum(ranks[0].work(index) for index in range(3)) / 3
