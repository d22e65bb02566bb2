"""Processes that train one agent together learn what one process with all their batches learns."""

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from tests.unit.test_update import batch_for
from torchrl_gpu.collect.worlds import build_env
from torchrl_gpu.learn.gradients import averaged
from torchrl_gpu.learn.update import Update
from torchrl_gpu.learn.ways import Way
from torchrl_gpu.ranks import ALONE, VARIABLES, Ranks
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.seeding import seed_of_rank
from torchrl_gpu.settings.parse import ConfigError, make_trials
from torchrl_gpu.train_torchrl_gpu import check

pytestmark = pytest.mark.forks

CONFIG = json.loads((Path(__file__).parents[2] / "config" / "ac_iqn.json").read_text())
UPDATES, SIZE = 4, 32
COMPILED = Way(compiled=True)


def on_ranks(count, function, *arguments):
    """Call a function in forked processes, as `torchrun` would start them; gives their exit statuses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_rank, args=(number, count, port, function, arguments))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _rank(number, count, port, function, arguments):
    os.environ.update(dict(zip(VARIABLES, map(str, (number, count, number, count)), strict=True)))
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    os._exit(function(Ranks.here(), *arguments) or 0)


def learned(agent_type, ranks=ALONE, combine=averaged, way=Way()):  # noqa: B008
    """Weights after updates on this rank's share of fixed batches and noise."""
    agent = Agent(agent_type=agent_type, seed=9)
    learner, update = agent.learner, Update(agent.learner, way)
    learner.stay_on_device()
    share = slice(ranks.number * SIZE // ranks.count, (ranks.number + 1) * SIZE // ranks.count)
    draw_noise = learner.draw_noise
    learner.draw_noise = lambda size: {k: v[share].contiguous() for k, v in draw_noise(SIZE).items()}
    if ranks.count > 1:
        learner.combine = combine
    for k in range(UPDATES):
        torch.manual_seed(k)
        rows, _, weight = batch_for(agent, SIZE, seed=k)
        update(Draw(rows[share], weight=None if weight is None else weight[share]))
    networks = learner.networks(learner.policy_local).values()
    return torch.cat([weights.detach().flatten() for each in networks for weights in each.parameters()])


def learn_on_rank(ranks, agents, folder, combine=averaged, way=Way()):  # noqa: B008
    ranks.join("cpu")
    for name in agents:
        torch.save(learned(name, ranks, combine, way), folder / f"{name}_{ranks.number}.pt")
    ranks.leave()


def learned_by_two(folder, agents, *options):
    """What each of two ranks has learned, by the name of the agent."""
    assert on_ranks(2, learn_on_rank, agents, folder, *options) == [0, 0]
    return {name: [torch.load(folder / f"{name}_{rank}.pt") for rank in (0, 1)] for name in agents}


def test_two_ranks_learn_what_one_process_with_both_batches_learns(tmp_path):
    both = learned_by_two(tmp_path, list(LEARNERS))
    for name, (first, second) in both.items():
        assert torch.equal(first, second), name
        torch.testing.assert_close(first, learned(name), rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_broken_twin_ranks_that_do_not_average_drift_apart(tmp_path):
    first, second = learned_by_two(tmp_path, ["DQN"], lambda gradients: gradients)["DQN"]
    assert (first - second).abs().max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_compiled_updates_average_too(agent_type, tmp_path):
    first, second = learned_by_two(tmp_path, [agent_type], averaged, COMPILED)[agent_type]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, learned(agent_type), rtol=1e-5, atol=2e-6)


# ---- shares


def trial_of(**changes):
    (trial,) = make_trials({**CONFIG, "seed": 3, **changes})
    return trial


def test_ranks_share_environments_and_transitions():
    trial = trial_of(num_envs=8, batch_size=32, buffer_size=1000)
    share = trial.of_rank(4)
    assert (share.world.num_envs, share.replay.batch_size, share.replay.buffer_size) == (2, 8, 250)
    assert share.values == trial.values
    assert share.schedule == trial.schedule
    assert trial.of_rank(1) is trial


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "reproduction mode gives the numbers of one process, here are 2; leave torchrun out, or choose"),
        ({"num_envs": 3}, "key 'num_envs': 3 cannot be shared by 2 processes; it must be a multiple of 2"),
        ({"num_envs": 4, "batch_size": 33}, "key 'batch_size': 33 cannot be shared by 2 processes"),
    ],
)
def test_what_cannot_be_shared_is_refused(changes, line):
    with pytest.raises(ConfigError, match=line):
        check(trial_of(buffer_size=1000, **changes), 1, "cpu", Ranks(0, 2, 0, 2))


def test_stages_are_spread_over_the_environments_of_all_ranks():
    stages = len(CONFIG["training_schedule"]["timesteps"])
    keys = {"num_envs": 2 * stages, "batch_size": 4 * stages, "buffer_size": 8 * stages}
    share = trial_of(backend="torch", stage_mix=True, **keys).of_rank(2 * stages)
    options = {"continuous": True, "device": "cpu", "dtype": torch.float32, "compile": False}
    envs = [build_env(share.world, 0, first=number, **options) for number in (0, 1, stages)]
    asked = [env.world.stage for env in envs]
    assert asked[0] == asked[2] != asked[1]


def test_a_stage_of_the_curriculum_begins_at_the_same_timestep_on_any_number_of_ranks():
    schedule = {name: column[:1] * 4 for name, column in CONFIG["training_schedule"].items()}
    thresholds = [0, 40, 41, 57]
    trial = trial_of(num_envs=8, training_schedule=schedule | {"timesteps": thresholds})
    begins = trial.of_rank(4).world.training_schedule.timesteps
    for steps in range(20):  # of two environments, 8 timesteps of all ranks each
        assert sum(2 * steps >= t for t in begins) == sum(8 * steps >= t for t in thresholds)


def test_every_rank_of_every_trial_has_a_seed_of_its_own():
    seeds = [seed_of_rank(seed, rank) for seed in range(50) for rank in range(8)]
    assert len(set(seeds)) == len(seeds)
    assert [seed_of_rank(seed, 0) for seed in (0, 7)] == [0, 7]


def test_ranks_are_those_that_torchrun_tells(monkeypatch):
    assert Ranks.here() == ALONE
    for name, value in zip(VARIABLES, "5814", strict=True):
        monkeypatch.setenv(name, value)
    ranks = Ranks.here()
    assert ranks == (5, 8, 1, 4)
    assert not ranks.first
    assert [ranks.device(name) for name in ("cpu", "cuda", "cuda:3")] == ["cpu", "cuda:1", "cuda:3"]
    assert ranks.folder(Path("trial")) == Path("trial/ranks/5")
