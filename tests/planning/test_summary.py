from preftune.planning.sizes import GroupSize, WorkModel
from preftune.planning.step import epoch_steps
from preftune.planning.summary import summarise_plan

SIZES = [GroupSize(10, (5, 5), 1), GroupSize(4, (2, 8), 1), GroupSize(6, (1, 1), 1)]
STEPS = epoch_steps([1, 1, 1], batch_size=2, seed=0, epoch=0, shuffle=False)


def test_tokens_of_the_layout_and_of_padded_rows_are_counted() -> None:
    summary = summarise_plan(STEPS, SIZES, num_ranks=1, max_tokens=1000, layout="packed")
    assert (summary.num_steps, summary.num_micro_batches) == (2, 2)
    assert summary.num_tokens == (10 + 5 + 5) + (4 + 2 + 8) + (6 + 1 + 1)
    assert summary.padded_tokens == 4 * 15 + 2 * 7
    assert summary.balance == 1


def test_rows_of_one_completion_each_are_counted_as_the_model_sees_them() -> None:
    summary = summarise_plan(STEPS, SIZES, num_ranks=1, max_tokens=1000, layout="sequences")
    assert summary.num_tokens == summary.padded_tokens == 4 * 15 + 2 * 7


def test_padding_waste_is_the_share_of_padding_among_computed_tokens() -> None:
    summary = summarise_plan(STEPS, SIZES, num_ranks=1, max_tokens=1000, layout="sequences")
    real = (2 * 10 + 5 + 5) + (2 * 4 + 2 + 8) + (2 * 6 + 1 + 1)
    assert summary.padding_waste == 1 - real / (4 * 15 + 2 * 7)
    assert "16 % padding" in str(summary)
    packed = summarise_plan(STEPS, SIZES, num_ranks=1, max_tokens=1000, layout="packed")
    assert packed.padding_waste == 0
    assert "no padding" in str(packed)


def test_the_time_of_a_step_is_the_work_of_the_busiest_rank_over_its_speed() -> None:
    work = WorkModel(per_token=2, per_target=1, per_attended_key=0)
    summary = summarise_plan(STEPS, SIZES, num_ranks=2, max_tokens=1000, layout="packed", work=work)
    assert summary.work_per_step == ((2 * 20 + 10) + (2 * 8 + 2)) / 2
    assert summary.seconds_per_step is None
    assert summary.at_speed(17.0).seconds_per_step == 2.0
    assert str(summary.at_speed(17.0)).endswith("; about 2 s a step")


def test_a_small_budget_makes_more_micro_batches() -> None:
    summary = summarise_plan(STEPS, SIZES, num_ranks=1, max_tokens=20, layout="packed")
    assert summary.num_micro_batches == 3


def test_balance_is_the_share_of_time_that_no_rank_waits() -> None:
    summary = summarise_plan(STEPS[:1], SIZES, num_ranks=2, max_tokens=1000, layout="packed")
    assert summary.balance == (20 + 14) / (2 * 20)
    assert "ranks balanced to 85 %" in str(summary)
