"""Replay of the TorchRL pipeline: what is stored, when, and what a batch holds."""

import random

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from agents.batch import Batch
from agents.legacy.replay_buffer import ReplayBuffer
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.collect.step import Step
from torchrl_gpu.collect.tensor_steps import step_of
from torchrl_gpu.learn.scale import ObservationScale
from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.ring import ROW, DeviceRing, HostRing
from torchrl_gpu.replay.rows import Draw, plain_row
from torchrl_gpu.replay.samplers import (
    LegacyUniformSampler,
    PrioritizedSampler,
    PrioritySettings,
    UniformSampler,
)
from torchrl_gpu.replay.windows import RobotWindows, Windows

GAMMA = 0.9


def on_host(capacity, batch_size, sampler=None, **options):
    """A replay whose ring the host knows; uniform, unless a sampler is given."""
    ring = HostRing(capacity)
    return Replay(ring, sampler or UniformSampler(ring), batch_size, **options)


def on_device(capacity, batch_size, device="cpu", **options):
    """A uniform replay that the host does not ask."""
    ring = DeviceRing(capacity, device, batch_size)
    return Replay(ring, UniformSampler(ring), batch_size, device=device, **options)


def read(rows):
    """Rows, or a batch of them, by name; all of continuous actions."""
    batch = Batch.of(rows.rows if isinstance(rows, Draw) else rows, continuous=True)
    after = batch.next_state._asdict()
    return {
        **batch.state._asdict(),
        "action": batch.action,
        "reward": batch.reward,
        "done": 1 - batch.not_done,
        "next": after,
    }


def stored_step(*args, **options):
    """What a replay stores of a `vector_step`."""
    return step_of(vector_step(*args), **options)


def vector_step(t, active, done, terminated=None):
    """A vector step of one environment whose numbers tell time t and robot apart."""
    robots = len(active)
    number = torch.arange(robots) + 10.0 * t

    def observation(n):
        mask = torch.zeros(1, robots, 5, dtype=torch.bool)
        return {
            "self_state": n.view(1, -1, 1).expand(1, robots, 7).double(),
            "objects_state": torch.zeros(1, robots, 5, 5).double(),
            "objects_mask": mask,
        }

    def flags(values):
        return torch.tensor(values).view(1, robots, 1)

    before = {**observation(number), "active": flags(active), "action": torch.zeros(1, robots, 2).double()}
    after = {
        **observation(number + 10),
        "reward": (1.0 + number).view(1, robots, 1).double(),
        "outcome": torch.zeros(1, robots, 1, dtype=torch.int8),
        "done": flags(done),
        "terminated": flags(done if terminated is None else terminated),
    }
    before, after = (TensorDict(values, (1, robots)) for values in (before, after))
    ended = torch.tensor(done).all().view(1, 1)
    return TensorDict({"agents": before, "next": {"agents": after, "done": ended}}, [1])


def rows_of(step, **options):
    """The rows that a replay stores of one vector step."""
    replay = on_host(100, 4)
    replay.store(step_of(step, **options))
    return replay.buffer[:][ROW]


def test_only_robots_that_acted_are_stored_each_with_its_own_next_observation():
    stored = read(rows_of(vector_step(2, [True, False, True], [False, True, True])))
    assert stored["self_state"][:, 0].tolist() == [20.0, 22.0]
    assert stored["next"]["self_state"][:, 0].tolist() == [30.0, 32.0]
    assert stored["reward"].flatten().tolist() == [21.0, 23.0]
    assert stored["done"].flatten().tolist() == [False, True]
    assert stored["self_state"].dtype == torch.float32


def test_the_cut_off_is_terminal_unless_it_is_bootstrapped():
    step = vector_step(0, [True, True], done=[True, True], terminated=[True, False])
    assert read(rows_of(step))["done"].flatten().tolist() == [True, True]
    assert read(rows_of(step, done="terminated"))["done"].flatten().tolist() == [True, False]


def test_stored_observations_are_scaled_and_nothing_else_is():
    step = vector_step(1, [True], [False])
    rows = read(rows_of(step, scale=ObservationScale("cpu")))
    assert rows["self_state"][0].tolist() == pytest.approx([0.5, 0.5, 5, 5, 5, 0.01, 0.01])
    assert rows["next"]["self_state"][0, 0] == pytest.approx(1.0)
    assert rows["reward"].item() == 11.0


@pytest.mark.parametrize("continuous", [True, False])
def test_rows_of_plain_numbers_are_those_of_the_tensors(continuous):
    """Reproduction mode stores what the environment's TensorDicts would have held, rounded once."""
    env = MarineNavTorchRLEnv(1, seed=3, continuous=continuous, max_robots=4, dtype=torch.float64)
    env.num_robots, env.num_cores, env.num_obs = 4, 0, 6
    step = env.step(env.rand_action(env.reset()))
    robots, after = step["agents"], step["next", "agents"]

    def states(where):
        counts = where["objects_mask"].sum(-1)[0].tolist()
        objects = [rows[:n] for rows, n in zip(where["objects_state"][0].tolist(), counts, strict=True)]
        assert len(set(counts)) > 1  # padding matters
        return zip(where["self_state"][0].tolist(), objects, strict=True)

    endings = (after[key][0, :, 0].tolist() for key in ("reward", "done"))
    rewards, dones = endings
    items = zip(states(robots), robots["action"][0].tolist(), rewards, states(after), dones, strict=True)
    assert torch.equal(torch.tensor([plain_row(*item) for item in items]), rows_of(step))


@pytest.mark.parametrize("count", [30, 50, 50 + 17])
def test_the_legacy_sampler_draws_what_the_legacy_memory_draws_also_after_the_ring_has_wrapped(count):
    random.seed(5)
    legacy = ReplayBuffer(50, 16, 5, 5)
    replay = on_host(50, 16, LegacyUniformSampler())
    for t in range(count):
        legacy.add((([float(t)] * 7, []), [0.0, 0.0], 0.0, ([0.0] * 7, []), False))
        row = plain_row(([float(t)] * 7, []), [0.0, 0.0], 0.0, ([0.0] * 7, []), False)
        replay.store(Windows(torch.tensor([row]), torch.tensor([True])))
    random.seed(7)
    expected = [row[0] for row in legacy.sample()[0][0]]
    random.seed(7)
    [batch] = replay.sample(1)
    assert read(batch)["self_state"][:, 0].tolist() == expected


def test_steps_written_together_are_those_written_one_by_one():
    one, many = on_host(7, 4), on_host(7, 4, steps_at_once=5)
    for t in range(9):
        step = stored_step(t, [t % 2 == 0, True], [False, t == 4])
        one.store(step)
        many.store(step)
        if t in (3, 8):
            assert many.stored == one.stored
    assert torch.equal(many.buffer[:][ROW], one.buffer[:][ROW])


def brute_force(episode, n):
    """n-step transitions of every robot stream, by definition: {(t, robot): (return, next number, done)}."""
    found = {}
    for t, (active, _) in enumerate(episode):
        for robot, acts in enumerate(active):
            if not acts:
                continue
            total, last, ended = 0.0, t, False
            for k in range(n):
                last = t + k
                total += GAMMA**k * (1.0 + robot + 10.0 * last)
                ended = episode[last][1][robot]
                if ended:
                    break
            found[t, robot] = (total, robot + 10.0 * (last + 1), ended)
    return found


@pytest.mark.parametrize("kind", [on_host, on_device])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_n_step_windows_follow_each_robot_and_end_at_its_terminal(n, kind):
    # Robot 1 finishes at t = 2 and is out until the environment resets after t = 4.
    active = [[True, True]] * 3 + [[True, False]] * 2 + [[True, True]] * 4
    done = [[False, False]] * 2 + [[False, True]] * 2 + [[True, True]] + [[False, False]] * 4
    windows = RobotWindows(n, GAMMA)
    replay = kind(100, 4, windows=windows)
    for t, (a, d) in enumerate(zip(active, done, strict=True)):
        replay.store(stored_step(t, a, d))
    going_on = [([False, False], [False, False])] * n
    expected = brute_force([*zip(active, done, strict=True), *going_on], n)
    complete = {key: value for key, value in expected.items() if key[0] <= len(active) - n}
    stored = read(replay.buffer[torch.arange(len(complete))][ROW])
    assert replay.stored == len(complete)
    found = {
        (int(number) // 10, int(number) % 10): (float(reward), float(following), bool(ended))
        for number, reward, following, ended in zip(
            stored["self_state"][:, 0],
            stored["reward"],
            stored["next"]["self_state"][:, 0],
            stored["done"],
            strict=True,
        )
    }
    assert found.keys() == complete.keys()
    for key, value in complete.items():
        assert found[key] == pytest.approx(value), key


def test_windows_that_the_cut_off_shortens_are_bootstrapped_with_the_discount_of_their_length():
    replay = on_host(100, 4, windows=RobotWindows(3, GAMMA))
    for t in range(6):
        step = vector_step(t, [True, True], done=[t == 3] * 2, terminated=[t == 3, False])
        replay.store(step_of(step, done="terminated"))
    stored = read(replay.buffer[:][ROW])
    bootstrapped = (GAMMA**3 * (1 - stored["done"])).flatten().tolist()
    # Robot 0 ends at t = 3, where robot 1 is only cut off; the windows of t = 1, 2, 3 have 3, 2, 1 steps.
    assert bootstrapped[0::2] == pytest.approx([GAMMA**3, 0, 0, 0])
    assert bootstrapped[1::2] == pytest.approx([GAMMA**3, GAMMA**3, GAMMA**2, GAMMA])
    assert stored["next"]["self_state"][1::2, 0].tolist() == [31.0, 41.0, 41.0, 41.0]


def test_windows_go_on_after_a_restart_as_if_nothing_had_happened():
    whole, first, second = (RobotWindows(3, GAMMA) for _ in range(3))
    steps = [stored_step(t, [True, True], [t == 2, False]) for t in range(5)]
    for step in steps[:3]:
        whole(step)
        first(step)
    second.load_state_dict(first.state_dict())
    for step in steps[3:]:
        expected, found = whole(step), second(step)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_device_ring_keeps_the_newest_transitions_of_robots_that_acted(device):
    plain, ring = on_host(10, 4), on_device(10, 64, device)
    for t, active in enumerate(
        [[True, True, False], [True, False, False], [False, False, False], [True] * 3] * 3
    ):
        step = stored_step(t, active, [False] * 3)
        plain.store(step)
        ring.store(Step(*(each.to(device) for each in step[:6])))
        held = plain.buffer[:][ROW]
        assert int(ring.ring.filled) == len(held)
        slots = torch.arange(len(held), device=device)
        assert torch.equal(ring.buffer[slots][ROW].cpu(), held)
    torch.manual_seed(0)
    [batch] = ring.sample(1)
    drawn, known = ({*map(tuple, rows.tolist())} for rows in (batch.rows, held))
    assert drawn <= known
    assert len(drawn) == 10  # 64 draws miss one of ten once in a hundred seeds


def test_priorities_follow_the_losses():
    replay = on_host(8, 4, PrioritizedSampler(8, PrioritySettings(priority_exponent=1.0)))
    for t in range(6):
        replay.store(stored_step(t, [True], [False]))
    [batch] = replay.sample(1)
    assert batch.weight.shape == (4,)
    everything = batch._replace(index=torch.arange(6))
    replay.feed_back(everything, {"network": torch.tensor([1e6] + [1e-6] * 5)})
    [batch] = replay.sample(1)
    assert (batch.rows[:, 0] == 0).all()
    # Two critics: the mean of their losses counts, 2e6 for slot 1, 0 for all others; the actor's has no say.
    first, second = torch.zeros(6), torch.zeros(6)
    first[1], second[1] = 1e6, 3e6
    losses = {"critic_1": first, "critic_2": second, "actor": torch.tensor(5.0)}
    replay.feed_back(everything, losses)
    [batch] = replay.sample(1)
    assert (batch.rows[:, 0] == replay.buffer[1:2][ROW][0, 0]).all()


def test_priorities_do_not_depend_on_who_keeps_the_ring():
    """Slots that the device ring gives to nobody have no priority, also where it wraps around."""
    rings = HostRing(10), DeviceRing(10, "cpu", 4)
    one, two = (Replay(ring, PrioritizedSampler(10, PrioritySettings()), 4) for ring in rings)
    for t in range(12):
        step = stored_step(t, [t % 2 == 0, t % 3 > 0, False, True], [False] * 4)
        drawn = []
        for replay in (one, two):
            replay.store(step)
            np.random.seed(t)
            [draw] = replay.sample(1)
            replay.feed_back(draw, TensorDict({"critic": draw.rows[:, 0] % 7}, []))
            drawn.append(draw)
        for found, expected in zip(*drawn, strict=True):
            assert torch.equal(found, expected)
    every = torch.arange(11)
    assert torch.equal(one.sampler.tree[every], two.sampler.tree[every])


def test_every_terminal_transition_of_a_real_run_is_stored_once():
    schedule = {
        "timesteps": [0],
        "num_robots": [4],
        "num_cores": [0],
        "num_obstacles": [6],
        "min_start_goal_dis": [20.0],
    }
    env = MarineNavTorchRLEnv(3, seed=5, schedule=schedule)
    replay = on_host(10_000, 4)
    rollout = env.rollout(150, break_when_any_done=False)
    for t in range(rollout.shape[1]):
        replay.store(step_of(rollout[:, t]))
    robots, after = rollout["agents"], rollout["next", "agents"]
    stored = read(replay.buffer[:][ROW])
    assert len(stored["done"]) == robots["active"].sum()
    finished = (after["outcome"] == 1) | (after["outcome"] == 2)
    assert finished.sum() > 3
    assert stored["done"].sum() == finished.sum()
    terminal = stored["next"]["self_state"][stored["done"].squeeze(-1) == 1]
    order = finished.squeeze(-1).transpose(0, 1)
    expected = after["self_state"].transpose(0, 1)[order]
    assert torch.equal(terminal, expected)
