"""`VectorWorld`: stages, resets by mask, episode dictionaries, cost of a step, compiling."""

import copy
import json
import math

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map, tree_map_only

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.contract.stage import Stage
from marinenav_env.envs.torchrl_gpu.ops.noise import NoiseKeys, radius_maps
from marinenav_env.envs.torchrl_gpu.pool import ScenarioPool
from marinenav_env.envs.torchrl_gpu.state import by_key
from marinenav_env.envs.torchrl_gpu.step import noisy_step, stepped
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

SCHEDULE = {
    "timesteps": [10, 40, 90],
    "num_robots": [3, 5, 4],
    "num_cores": [0, 2, 1],
    "num_obstacles": [0, 3, 2],
    "min_start_goal_dis": [30.0, 35.0, 25.0],
}


def small_world(num_envs: int, **options: object) -> VectorWorld:
    world = VectorWorld(num_envs, 4, 3, 4, **options)
    world.stage = Stage(3, 2, 3, 30.0)
    world.reset()
    return world


def random_action(world: VectorWorld) -> Tensor:
    generator = torch.Generator().manual_seed(world.total_timesteps)
    shape = (2, world.max_robots, world.num_envs)
    return torch.rand(shape, generator=generator, dtype=world.dtype) * 2 - 1


def episodes(*counts: tuple[int, int, int]) -> list[dict]:
    env = MarineNavEnv3(seed=4)
    env.min_start_goal_dis = 20.0
    dictionaries = []
    for env.num_robots, env.num_cores, env.num_obs in counts:
        env.reset()
        dictionaries.append(json.loads(json.dumps(env.episode_data())))
    return dictionaries


def test_a_state_older_than_a_term_of_the_reward_takes_its_default() -> None:
    world = small_world(2, rewards={"collision_penalty": -7.0})
    state = copy.deepcopy(world.state_dict())
    for constants in state["constants"]["maps"]:
        del constants["thrust_change_penalty"]
    other = small_world(2, rewards={"thrust_change_penalty": -1.0})
    other.load_state_dict(state)
    assert other.rewards == world.rewards


# ---- stages ---------------------------------------------------------------------------------------


def test_the_schedule_follows_all_timesteps_together() -> None:
    """Quirk W10: below the first threshold the last stage is in force."""
    world = VectorWorld(2, 5, schedule=SCHEDULE)
    seen = []
    for world.total_timesteps in (0, 9, 10, 39, 40, 90, 1000):
        world.reset()
        seen.append(world.state.scenario.counts[:, 0].tolist())
    last, first, second = [4, 1, 2], [3, 0, 0], [5, 2, 3]
    assert seen == [last, last, first, first, second, last, last]
    assert world.stage == Stage(4, 1, 2, 25.0)


def test_a_step_counts_one_timestep_an_environment() -> None:
    world = small_world(4)
    world.advance(random_action(world))
    world.advance(random_action(world), mask=torch.tensor([True, False, True, True]))
    assert world.total_timesteps == 7


def test_environments_in_different_stages() -> None:
    world = VectorWorld(3, 5, schedule=SCHEDULE)
    world.pin([1, 0, 2])
    world.reset()
    assert world.state.scenario.counts.T.tolist() == [[5, 2, 3], [3, 0, 0], [4, 1, 2]]
    world.pin(0)
    world.reset(torch.tensor([False, False, True]))
    assert world.state.scenario.counts[0].tolist() == [5, 3, 3]
    world.pin(None)
    world.total_timesteps = 45
    world.reset()
    assert world.state.scenario.counts[0].tolist() == [5, 5, 5]


def test_slots_grow_when_a_scenario_needs_more() -> None:
    world = small_world(2)
    world.stage = Stage(4, 5, 6, 20.0)
    world.reset(torch.tensor([False, True]))
    assert world.state.scenario.counts.T.tolist() == [[3, 2, 3], [4, 5, 6]]
    world.advance(random_action(world))


# ---- resets ---------------------------------------------------------------------------------------


def test_a_reset_touches_only_what_the_mask_says() -> None:
    world = small_world(5)
    world.advance(random_action(world))
    before = tree_map(torch.clone, (world.state, world.observation))
    mask = torch.tensor([False, True, False, True, False])
    world.reset(mask)
    after = (world.state, world.observation)
    tree_map(
        lambda a, b: torch.testing.assert_close(a[..., ~mask], b[..., ~mask], rtol=0, atol=0), before, after
    )
    assert world.state.timesteps.tolist() == [1, 0, 1, 0, 1]
    assert (world.state.scenario.goal != before[0].scenario.goal)[:, :3, mask].all()
    assert (world.state.motion[6:9, :, mask] == 0).all()  # Quirk W6


def test_a_reset_after_a_step_gives_the_true_next_observation_and_begins_anew() -> None:
    world = small_world(2)
    world.state = world.state._replace(timesteps=torch.tensor([1000, 5], dtype=torch.int32))
    result = world.advance(random_action(world))
    world.reset(result.done)
    observation = world.observation
    assert result.done.tolist() == [1, 0]
    assert world.state.timesteps.tolist() == [0, 6]
    assert (result.observation.self_state[:2, 0, 0] != observation.self_state[:2, 0, 0]).all()
    assert torch.equal(result.observation.self_state[..., 1], observation.self_state[..., 1])


def test_frozen_environments_keep_their_state() -> None:
    world = small_world(2)
    before = tree_map(torch.clone, world.state)
    world.advance(random_action(world), mask=torch.tensor([False, True]))
    assert torch.equal(world.state.motion[..., 0], before.motion[..., 0])
    assert world.state.timesteps.tolist() == [0, 1]


@pytest.mark.parametrize("lag", [0, 1, 4])
def test_the_pool_hands_out_each_beginning_once_and_per_group(lag: int) -> None:
    drawn = {0: 0, 1: 0}

    def draw(group: int, number: int) -> list[Tensor]:
        first = drawn[group]
        drawn[group] += number
        return [torch.arange(first, drawn[group]) + 1000 * group]

    group = torch.tensor([0, 1, 0, 1, 1])
    pool = ScenarioPool(group, draw, size=10, lag=lag)
    generator = torch.Generator().manual_seed(0)
    seen = []
    for _ in range(100):
        mask = torch.rand(5, generator=generator) < 0.5
        columns = pool.take(mask)
        taken = pool.beginnings[0][columns]
        assert torch.equal((taken >= 1000)[mask], (group == 1)[mask])
        seen += taken[mask].tolist()
    assert len(seen) == len(set(seen)) > 200


def test_two_worlds_of_one_seed_are_equal_and_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state()
    a, b, c = (small_world(3, seed=seed) for seed in (1, 1, 2))
    for world in (a, b, c):
        for _ in range(3):
            world.reset(world.advance(random_action(world)).done)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.observation.objects_state, b.observation.objects_state)
    assert not torch.equal(a.observation.self_state, c.observation.self_state)


def test_absent_robots_and_finished_ones() -> None:
    world = small_world(2)
    world.state = world.state._replace(collision=world.state.collision.index_fill(0, torch.tensor([1]), 1))
    first = world.advance(random_action(world))
    second = world.advance(random_action(world))
    finished = [Outcome.COLLISION, Outcome.DEACTIVATED_AFTER_COLLISION]
    assert [first.outcome[1, 0].item(), second.outcome[1, 0].item()] == finished
    assert (first.outcome[3] == Outcome.ABSENT).all()
    assert (second.reward[[1, 3]] == 0).all()
    assert (second.observation.self_state[:, [1, 3]] == 0).all()
    assert not by_key(second.observation)["objects_mask"][:, [1, 3]].any()


# ---- episode dictionaries -------------------------------------------------------------------------


def test_dictionaries_come_back_as_they_were() -> None:
    given = episodes((3, 4, 0), (1, 0, 5), (4, 8, 8))
    given[1]["robots"]["N"], given[2]["robots"]["yRV"] = [8], [-3.5] * 4
    given[0]["env"] |= {"r": 0.7, "goal_reward": 3}
    world = VectorWorld(3, 4, dtype=torch.float64)
    world.load(given)
    for got, expected in zip(world.episode_data(), given, strict=True):
        for dictionary in (got, expected):
            for key in ("observation_history", "action_history", "trajectory"):
                dictionary["robots"].pop(key)
        assert got == expected
        assert list(got["env"]) == list(expected["env"])
        assert list(got["robots"]) == list(expected["robots"])
    MarineNavEnv3().reset_with_eval_config(world.episode_data()[2])


def test_entries_beyond_the_positions_are_not_read() -> None:
    given = episodes((3, 4, 2))
    longer = copy.deepcopy(given)
    longer[0]["env"]["cores"]["Gamma"].append(9.0)
    longer[0]["env"]["cores"]["clockwise"].append(1)
    longer[0]["env"]["obstacles"]["r"].append(1.0)
    plain, world = VectorWorld(1, 3), VectorWorld(1, 3)
    plain.load(given)
    world.load(longer)
    assert world.episode_data() == plain.episode_data()


def test_fewer_things_than_none_are_none() -> None:
    schedule = SCHEDULE | {key: [-1] * len(SCHEDULE[key]) for key in ("num_cores", "num_obstacles")}
    world = VectorWorld(2, 5, schedule=schedule)
    world.reset()
    assert world.episode_data()[0]["env"]["cores"]["positions"] == []
    assert world.episode_data()[1]["env"]["obstacles"]["positions"] == []


def test_episodes_name_the_seed_of_their_world() -> None:
    world = VectorWorld(1, 3, seed=7)
    world.reset()
    assert world.episode_data()[0]["env"]["seed"] == 7


def test_new_episodes_forget_loaded_vessels_but_keep_the_map() -> None:
    """Environment spec 4.1: robots are new objects with class defaults; the map stays."""
    given = episodes((3, 2, 2), (3, 2, 2))
    for episode in given:
        episode["robots"]["m"] = [500] * 3
        episode["env"]["clear_r"] = 8.0
    world = VectorWorld(2, 3, dtype=torch.float64)
    world.load(given)
    world.stage = Stage(3, 2, 2, 30.0)
    world.reset(torch.tensor([True, False]))
    first, second = world.episode_data()
    assert first["robots"]["m"] == [400] * 3
    assert second["robots"]["m"] == [500] * 3
    assert first["env"]["clear_r"] == second["env"]["clear_r"] == 8.0


def test_the_first_velocity_of_a_loaded_episode_has_the_current() -> None:
    """Quirk W25."""
    (given,) = episodes((3, 8, 0))
    world, env = VectorWorld(1, 3, dtype=torch.float64), MarineNavEnv3()
    env.reset_with_eval_config(given)
    world.load([given])
    expected = torch.tensor([robot.velocity.tolist() for robot in env.robots], dtype=torch.float64)
    torch.testing.assert_close(world.state.motion[6:9, :, 0].T, expected, rtol=0, atol=1e-12)


# ---- refusals -------------------------------------------------------------------------------------


def test_refusals() -> None:
    with pytest.raises(ValueError, match="num_envs is 0; allowed are 1 and more"):
        VectorWorld(0, 3)
    world = VectorWorld(2, 3)
    with pytest.raises(ValueError, match="num_robots is 4; allowed are 1 to max_robots=3"):
        world.stage = Stage(4, 0, 0, 30.0)
    with pytest.raises(ValueError, match="1 episodes given; allowed are exactly num_envs=2"):
        world.load(episodes((3, 0, 0)))
    with pytest.raises(ValueError, match="num_robots is 4 in episode 1"):
        world.load(episodes((3, 0, 0), (4, 0, 0)))
    short = episodes((3, 0, 0), (3, 0, 0))
    short[1]["robots"]["left_thrust_change"][0] = [0.0, 1.0]
    with pytest.raises(ValueError, match="left_thrust_change of episode 1"):
        world.load(short)
    for key, value, allowed in (("range", 1e7, "0 to 1000000 m"), ("angle", -0.1, "0 and more")):
        odd = episodes((3, 0, 0), (3, 0, 0))
        odd[1]["robots"]["perception"][key][2] = value
        with pytest.raises(ValueError, match=f"{key} is {value} in episode 1; allowed are {allowed}"):
            world.load(odd)
    for group, key, what in (("cores", "positions", "cores"), ("obstacles", "r", "obstacles")):
        odd = episodes((3, 0, 0), (3, 1, 1))
        odd[1]["env"][group][key][0] = [1.0, math.nan] if key == "positions" else math.inf
        with pytest.raises(ValueError, match=f"{what} of episode 1 is not finite"):
            world.load(odd)
    odd = episodes((3, 0, 0), (3, 1, 1))
    odd[1]["robots"]["start"][2] = [math.nan, 1.0]
    with pytest.raises(ValueError, match="start, yaw, velocity or thrust of episode 1 is not finite"):
        world.load(odd)
    scheduled = VectorWorld(2, 5, schedule=SCHEDULE)
    with pytest.raises(ValueError, match="allowed are 0 to 2"):
        scheduled.pin(3)
    with pytest.raises(ValueError, match="the schedule decides"):
        scheduled.stage = Stage()
    with pytest.raises(RuntimeError, match="reset or load"):
        world.advance(torch.zeros(2, 3, 2))


# ---- cost -----------------------------------------------------------------------------------------


class Counter(TorchDispatchMode):
    """Counts the operations that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def operations(num_envs: int, max_robots: int, cores: int) -> int:
    world = VectorWorld(num_envs, max_robots, cores, 6)
    world.stage = Stage(max_robots, cores, 6, 20.0)
    world.reset()
    with Counter() as counter:
        world.advance(random_action(world))
    return counter.calls


def test_operations_of_a_step_do_not_depend_on_its_size() -> None:
    base = operations(2, 2, 3)
    assert operations(200, 2, 3) == base
    assert operations(2, 7, 3) == base
    assert operations(2, 2, 8) == base
    assert operations(2, 2, 0) < base


def test_a_step_asks_the_host_nothing() -> None:
    """Fake tensors hold no numbers: whoever asks for one is refused."""
    world = small_world(2)
    keys, radii = NoiseKeys(0, "cpu").next(), radius_maps(world.params.of_robots().r_kappa, world.dtype)
    arguments = (keys, radii, world.state, world.params, random_action(world))
    with FakeTensorMode() as mode:
        fake = tree_map_only(Tensor, mode.from_tensor, arguments)
        leaves = noisy_step(*fake, continuous=True, substeps=(10, 10), terms=())
        state, result = stepped(world.state.scenario, leaves)
        assert result.reward.shape == (4, 2)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            bool(state.active.sum() > 0)


@pytest.mark.slow
def test_the_compiled_step_is_the_eager_one() -> None:
    """The same noise in both, different noise in consecutive steps, and no new graph for another stage."""
    eager, compiled = (VectorWorld(3, 5, schedule=SCHEDULE, seed=3) for _ in range(2))
    compiled.compile()
    for world in (eager, compiled):
        world.pin([0, 1, 2])
        world.reset()
    for k in range(3):
        action = random_action(eager)
        with torch.compiler.set_stance("default" if k == 0 else "fail_on_recompile"):
            results = [world.advance(action) for world in (eager, compiled)]
            tree_map(
                lambda a, b: torch.testing.assert_close(a.float(), b.float(), rtol=1e-4, atol=1e-4), *results
            )
        if k == 0:
            for world in (eager, compiled):
                world.pin([2, 2, 1])
                world.reset()
    still = torch.zeros(2, 5, 3)
    with torch.compiler.set_stance("fail_on_recompile"):
        state = compiled.state
        first = compiled.advance(still).observation.objects_state
        compiled.state = state
        second = compiled.advance(still).observation.objects_state
    seen = (first != 0) & (second != 0)
    assert seen.any()
    assert (first != second)[seen].all()
