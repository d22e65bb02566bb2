"""The schedule's pure functions against the legacy cadence (training spec 4 and 12)."""

import pytest

from torchrl_gpu.learn.schedule import Schedule

SHIPPED = Schedule(total_timesteps=6_000_000, eval_freq=60_000)


def test_shipped_schedule_counts():
    stop = SHIPPED.total_timesteps + 1
    assert SHIPPED.updates(0, stop) == 1_499_501
    ends = [last for last, _ in SHIPPED.spans(0, stop)]
    assert sum(map(SHIPPED.target_copy_due, ends)) == 600
    assert sum(map(SHIPPED.evaluation_due, ends)) == 101


@pytest.mark.parametrize(("t", "eps"), [(0, 0.6), (750_000, 0.325), (1_500_000, 0.05), (6_000_000, 0.05)])
def test_epsilon(t, eps):
    assert SHIPPED.epsilon(t) == pytest.approx(eps, abs=1e-15)


@pytest.mark.parametrize(("t", "rate"), [(0, 1e-3), (25, 8.550179e-4), (50, 5.05e-4), (100, 1e-5)])
def test_learning_rate_follows_half_a_cosine(t, rate):
    schedule = Schedule(total_timesteps=100, eval_freq=5, final_learning_rate=1e-5)
    assert schedule.learning_rate_at(t, 1e-3) == pytest.approx(rate, rel=1e-6)
    assert Schedule(total_timesteps=100, eval_freq=5).learning_rate_at(t, 1e-3) == 1e-3


def test_no_exploration_phase_goes_straight_to_the_final_epsilon():
    assert Schedule(total_timesteps=10, eval_freq=5, exploration_fraction=0.0).epsilon(0) == 0.05


@pytest.mark.parametrize("learning_starts", [0, 1, 7, 12, 99])
@pytest.mark.parametrize("stride", [1, 4, 7, 64])
def test_updates_of_vector_steps_are_those_of_the_predicate(learning_starts, stride):
    schedule = Schedule(
        total_timesteps=90,
        eval_freq=6,
        update_every=3,
        learning_starts=learning_starts,
        target_update_interval=5,
    )
    for start in range(0, 91, stride):
        stop = min(start + stride, 91)
        span = range(start, stop)
        assert schedule.updates(start, stop) == sum(map(schedule.update_due, span))


@pytest.mark.parametrize("learning_starts", [0, 1, 6, 7, 12, 89, 90, 91])
@pytest.mark.parametrize("total_timesteps", [5, 6, 89, 90])
def test_the_last_evaluation_is_that_of_the_predicate(learning_starts, total_timesteps):
    schedule = Schedule(total_timesteps=total_timesteps, eval_freq=6, learning_starts=learning_starts)
    due = [t for t in range(total_timesteps + 1) if schedule.evaluation_due(t)]
    assert schedule.evaluations() == due
    assert schedule.last_evaluation == (due[-1] if due else None)


@pytest.mark.parametrize("name", ["total_timesteps", "eval_freq", "update_every", "target_update_interval"])
def test_zero_periods_are_refused(name):
    with pytest.raises(ValueError, match=name):
        Schedule(**{"total_timesteps": 10, "eval_freq": 5, name: 0})


@pytest.mark.parametrize("learning_starts", [0, 1, 7, 12, 99])
@pytest.mark.parametrize("stride", [1, 4, 7, 64])
def test_spans_make_every_timestep_do_what_the_predicates_say_in_order(learning_starts, stride):
    schedule = Schedule(
        total_timesteps=90,
        eval_freq=6,
        update_every=3,
        learning_starts=learning_starts,
        target_update_interval=5,
    )
    expected, made = [], []
    for t in range(91):
        expected += ["update"] * schedule.update_due(t)
        expected += [("copy", t)] * schedule.target_copy_due(t) + [("evaluate", t)] * schedule.evaluation_due(
            t
        )
    for start in range(0, 91, stride):
        for last, updates in schedule.spans(start, min(start + stride, 91)):
            made += ["update"] * updates
            made += [("copy", last)] * schedule.target_copy_due(last)
            made += [("evaluate", last)] * schedule.evaluation_due(last)
    assert made == expected
