"""What TorchRL asks of an environment: one body of tests for both backends."""

import copy
import itertools
import random
import time

import numpy as np
import pytest
import torch
from torchrl.collectors import Collector
from torchrl.envs import EnvCreator, ParallelEnv, RewardSum, SerialEnv, StepCounter, TransformedEnv
from torchrl.envs.utils import check_env_specs, check_marl_grouping

from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.contract.rewards import DEFAULT_REWARDS
from marinenav_env.envs.reference.world import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.env import BACKENDS, MarineNavTorchRLEnv
from tests.contract.goal_seeker import GoalSeeker

ROBOTS = 3
GOAL_DISTANCE = 2.0  # m, environment spec 1.2


def make_env(backend, num_envs=3, continuous=True, seed=0, **kwargs):
    """Short episodes: near goals, few obstacles."""
    sizes = {"num_robots": ROBOTS, "num_cores": 1, "num_obs": 1, "min_start_goal_dis": 8.0}
    return MarineNavTorchRLEnv(num_envs, backend=backend, seed=seed, continuous=continuous, **sizes | kwargs)


def collect(env, steps, policy):
    """`steps` steps with resets in between, batch (E, steps)."""
    return env.rollout(steps, policy, break_when_any_done=False)


@pytest.fixture(params=sorted(BACKENDS))
def backend(request):
    return request.param


@pytest.fixture(params=[1, 3], ids=lambda n: f"E{n}")
def num_envs(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["continuous", "discrete"])
def continuous(request):
    return request.param


def test_specs_hold(backend, num_envs, continuous):
    env = make_env(backend, num_envs, continuous)
    check_env_specs(env, break_when_any_done="both")
    collect(env, 20, GoalSeeker(continuous))
    check_env_specs(env)
    check_marl_grouping(env.group_map, [f"robot_{i}" for i in range(ROBOTS)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes_of_the_schema(backend, num_envs, continuous, dtype):
    data = make_env(backend, num_envs, continuous, dtype=dtype).rollout(1)[:, 0]
    rows = (num_envs, ROBOTS)
    expected = {
        ("agents", "self_state"): ((*rows, 7), dtype),
        ("agents", "objects_state"): ((*rows, 5, 5), dtype),
        ("agents", "objects_mask"): ((*rows, 5), torch.bool),
        ("agents", "active"): ((*rows, 1), torch.bool),
        ("agents", "outcome"): ((*rows, 1), torch.int8),
        ("agents", "action"): ((*rows, 2), dtype) if continuous else (rows, torch.int64),
        ("next", "agents", "reward"): ((*rows, 1), dtype),
        ("next", "agents", "terminated"): ((*rows, 1), torch.bool),
        ("next", "agents", "done"): ((*rows, 1), torch.bool),
        ("next", "terminated"): ((num_envs, 1), torch.bool),
        ("next", "truncated"): ((num_envs, 1), torch.bool),
        ("next", "done"): ((num_envs, 1), torch.bool),
    }
    assert {key: (tuple(data[key].shape), data[key].dtype) for key in expected} == expected
    assert data.batch_size == (num_envs,)
    assert data["agents"].batch_size == rows


def test_every_robot_ends_once_with_its_true_next_observation(backend, num_envs, continuous):
    data = collect(make_env(backend, num_envs, continuous), 120, GoalSeeker(continuous))
    active, after = data["agents", "active"], data["next", "agents"]
    ends = active & after["terminated"]
    arrived = ends & (after["outcome"] == Outcome.REACH_GOAL)
    assert ends.sum() >= 3 * num_envs
    assert arrived.any()
    # the observation of the terminal step is the real one: the goal is within reach
    goal = after["self_state"][arrived[..., 0]][..., :2]
    assert (goal.norm(dim=-1) <= GOAL_DISTANCE).all()
    # each episode that ended holds one terminal transition of every robot
    for k, done in enumerate(data["next", "done"][..., 0]):
        bounds = [0, *(done.nonzero().flatten() + 1).tolist()]
        for first, last in itertools.pairwise(bounds):
            assert (ends[k, first:last].sum(0) == 1).all()


def test_a_collision_costs_what_is_asked_for(backend):
    rewards, collisions = [], []
    for penalty in (-5.0, -12.0):
        env = make_env(backend, num_obs=20, collision_penalty=penalty)
        assert env.world.rewards == DEFAULT_REWARDS | {"collision_penalty": penalty}
        after = collect(env, 60, GoalSeeker(True))["next", "agents"]
        rewards.append(after["reward"])
        collisions.append(after["outcome"] == Outcome.COLLISION)
    assert torch.equal(*collisions)
    assert collisions[0].any()
    torch.testing.assert_close(rewards[1] - rewards[0], -7.0 * collisions[0])


def test_without_a_seed_no_two_environments_are_alike(backend):
    starts = [make_env(backend, seed=None).reset()["agents", "self_state"] for _ in range(2)]
    assert (starts[0] != starts[1]).any()


@pytest.mark.parametrize(
    ("continuous", "action"), [(True, float("nan")), (True, float("inf")), (False, -1), (False, 25)]
)
def test_an_invalid_action_is_refused_and_changes_nothing(continuous, action):
    env = make_env("torch", continuous=continuous)
    td = env.rand_action(env.reset())
    td["agents", "action"][2, 1] = action
    before = env.world.state
    allowed = "two finite numbers" if continuous else "0 to 24"
    with pytest.raises(
        ValueError, match=f"action of robot 1 in environment 2 is invalid; allowed are {allowed}"
    ):
        env.step(td)
    assert env.world.state is before
    env.step(env.rand_action(td))


@pytest.mark.parametrize(("continuous", "action"), [(True, float("inf")), (False, 25)])
def test_the_reference_world_names_environment_and_robot_too(continuous, action):
    env = make_env("numpy", continuous=continuous)
    td = env.rand_action(env.reset())
    td["agents", "action"][2, 1] = action
    with pytest.raises(ValueError, match=f"environment 2: robot 1: action: .* not .*{action}"):
        env.step(td)


def test_what_is_no_action_of_a_robot_out_of_the_water_does_not_matter():
    env = make_env("torch", max_robots=4)
    td = env.rand_action(env.reset())
    td["agents", "action"][:, 3] = float("nan")
    after = env.step(td)["next", "agents"]
    assert not after["self_state"].isnan().any()


def test_how_many_found_room_is_readable(backend):
    env = make_env(backend, num_obs=600)
    env.reset()
    robots, cores, obstacles = env.world.placed.T
    assert (robots == ROBOTS).all()
    assert (cores == 1).all()
    assert ((obstacles > 50) & (obstacles <= 500)).all()


@pytest.mark.parametrize("crowd", [{"num_obs": 1000}, {"num_cores": 200}], ids=["obstacles", "cores"])
def test_a_crowded_map_is_drawn_in_seconds(crowd):
    start = time.process_time()
    make_env("torch", 1, **crowd).reset()
    assert time.process_time() - start < 4  # 25 it was


def test_a_whole_step_compiles_to_one_graph_that_serves_all_steps():
    """With the backend that runs the traced operations: other noise at each step, the same as eager."""
    env, other = (make_env("torch", num_cores=0) for _ in range(2))
    step = torch.compile(env.step, fullgraph=True, backend="eager")
    td, same = env.rand_action(env.reset()), other.reset()
    for k in range(3):
        same["agents", "action"] = td["agents", "action"]
        with torch.compiler.set_stance("fail_on_recompile" if k else "default"):
            after = step(td)
        assert (after["next"] == other.step(same)["next"]).all()
        td, same = (each.rand_action(each.step_mdp(after)) for each in (env, other))
    assert env.world.total_timesteps == other.world.total_timesteps == 9
    td["agents", "action"][1, 2, 0] = torch.inf
    step(td)
    with pytest.raises(ValueError, match="action of robot 2 in environment 1 is invalid"):
        env.world.check()


@pytest.mark.parametrize("loaded", [False, True])
def test_a_restored_world_goes_on_draw_for_draw(backend, loaded):
    """Also one whose episodes were loaded, and before any reset."""
    env, other = make_env(backend, seed=1), make_env(backend, seed=2)
    td = collect_last(env, GoalSeeker())
    if loaded:
        episodes = env.episode_data()
        episodes[1]["env"]["goal_reward"], episodes[2]["robots"]["m"] = 3.5, [500] * ROBOTS
        td = env.reset_with_eval_configs(episodes)
    other.world.load_state_dict(copy.deepcopy(env.world.state_dict()))
    assert other.world.rewards == env.world.rewards
    for name in ("observation", "total_timesteps", "stage"):
        assert repr(getattr(env.world, name, None)) == repr(getattr(other.world, name, None))
    for _ in range(60):
        action = GoalSeeker()(td)
        (first, td), (second, _) = (each.step_and_maybe_reset(action.clone()) for each in (env, other))
        assert (first == second).all()
    fresh = make_env(backend, seed=3)
    fresh.world.load_state_dict(make_env(backend, seed=4).world.state_dict())
    assert (fresh.reset() == make_env(backend, seed=4).reset()).all()


def test_a_state_of_other_environments_is_refused(backend):
    env, other = make_env(backend, 2), make_env(backend, 3)
    env.reset()
    with pytest.raises(ValueError, match=r"other shapes than those|argument 2 is shorter"):
        other.world.load_state_dict(env.world.state_dict())


def test_robot_that_finishes_early_resets_nothing(backend, num_envs, continuous):
    data = collect(make_env(backend, num_envs, continuous), 60, GoalSeeker(continuous))
    active, after = data["agents", "active"], data["next", "agents"]
    idle = ~active
    assert idle.any()  # some robot waits for others
    assert (after["done"] & ~data["next", "done"][:, :, None]).any()
    assert not data["done"].any()  # a reset, not the root flag, starts the next step
    for key in ("self_state", "objects_state", "objects_mask", "reward"):
        assert not after[key][idle[..., 0]].any()
    assert after["terminated"][idle].all()
    assert not after["active"][idle].any()
    # everybody is back in the water exactly after a root done
    restarts = (active[:, 1:] & ~after["active"][:, :-1]).any(2)
    torch.testing.assert_close(restarts, data["next", "done"][:, :-1])


def test_partial_reset_touches_only_masked_environments(backend, continuous):
    envs = [make_env(backend, continuous=continuous) for _ in range(2)]
    first, second = (collect_last(env, GoalSeeker(continuous)) for env in envs)
    mask = torch.tensor([[False], [True], [False]])
    reset = envs[1].reset(second.clone().set("_reset", mask))
    kept = ~mask[:, 0]
    for key in ("self_state", "objects_state", "objects_mask", "active", "outcome"):
        torch.testing.assert_close(reset["agents", key][kept], first["agents", key][kept], rtol=0, atol=0)
    assert (reset["agents", "self_state"][1] != first["agents", "self_state"][1]).any()
    # and the world behind goes on as if nothing had happened: own observations carry no noise
    after = [
        env.step(GoalSeeker(continuous)(td))["next", "agents", "self_state"]
        for env, td in zip(envs, (first, reset), strict=True)
    ]
    torch.testing.assert_close(after[1][kept], after[0][kept], rtol=0, atol=0)
    assert (after[1][1] != after[0][1]).any()


def collect_last(env, policy, steps=4):
    td = env.reset()
    for _ in range(steps):
        _, td = env.step_and_maybe_reset(policy(td))
    return td


def test_reset_mask_without_any_environment_changes_nothing(backend):
    env = make_env(backend)
    td = collect_last(env, GoalSeeker())
    same = env.reset(td.clone().set("_reset", torch.zeros(3, 1, dtype=torch.bool)))
    torch.testing.assert_close(same["agents", "self_state"], td["agents", "self_state"], rtol=0, atol=0)


def test_native_reset_gives_what_torchrl_would(backend, num_envs):
    native = collect(make_env(backend, num_envs), 60, GoalSeeker())
    by_torchrl = collect(TransformedEnv(make_env(backend, num_envs), StepCounter()), 60, GoalSeeker())
    assert native["next", "done"][:, :-1].any()
    same = by_torchrl.exclude("step_count", ("next", "step_count"))
    torch.testing.assert_close(native.to_dict(), same.to_dict(), rtol=0, atol=0)


def test_seed_decides_everything(backend, num_envs):
    policy = GoalSeeker()
    env = make_env(backend, num_envs, seed=5)
    first = collect(env, 15, policy)
    again = collect(make_env(backend, num_envs, seed=5), 15, policy)
    assert (first == again).all()
    env.set_seed(5)
    assert (collect(env, 15, policy) == first).all()
    env.set_seed(6)
    assert not (collect(env, 15, policy) == first).all()
    if num_envs > 1:
        assert (first["agents", "self_state"][0] != first["agents", "self_state"][1]).any()


def test_global_generators_stay_where_they_were(backend):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    env = make_env(backend, seed=1)
    env.set_seed(2)
    collect(env, 60, GoalSeeker())
    assert states() == before


def test_reward_sum_and_step_counter(backend, num_envs):
    env = TransformedEnv(make_env(backend, num_envs))
    env.append_transform(
        RewardSum(in_keys=[("agents", "reward")], out_keys=["return"], reset_keys=["_reset"])
    )
    env.append_transform(StepCounter())
    check_env_specs(env)
    data = collect(env, 60, GoalSeeker())
    assert data["next", "done"].any()
    total = torch.zeros(num_envs, ROBOTS, 1)
    count = torch.zeros(num_envs, 1, dtype=torch.int64)
    for t in range(60):
        after = data[:, t]["next"]
        total, count = total + after["agents", "reward"], count + 1
        torch.testing.assert_close(after["return"], total)
        torch.testing.assert_close(after["step_count"], count)
        total = torch.where(after["done"][:, None], 0.0, total)
        count = torch.where(after["done"], 0, count)


def test_rollout_until_all_are_done(backend, num_envs):
    data = make_env(backend, num_envs).rollout(
        1001, GoalSeeker(), break_when_any_done=False, break_when_all_done=True
    )
    assert data["next", "done"][:, -1].all()
    reward = data["next", "agents", "reward"]
    assert torch.isfinite(reward).all()


def test_cut_off_is_a_truncation(backend, num_envs):
    env = make_env(backend, num_envs)
    env.num_robots, env.num_obs, env.num_cores = 1, 0, 0
    td = env.reset().set(("agents", "action"), torch.zeros(num_envs, ROBOTS, 2))
    set_episode_timesteps(env, 999)
    td = env.step_mdp(env.step(td))  # the 1000th step
    assert not td["done"].any()
    after = env.step(td)["next"]
    assert after["truncated"].all()
    assert after["done"].all()
    assert not after["terminated"].any()
    assert (after["agents", "outcome"][:, 0] == Outcome.TOO_LONG_EPISODE).all()
    assert after["agents", "done"][:, 0].all()
    assert not after["agents", "terminated"].any()
    torch.testing.assert_close(after["agents", "reward"][:, 0], torch.full((num_envs, 1), -0.1))


def set_episode_timesteps(env, timesteps):
    world = env.world
    if env.backend == "torch":
        world.state = world.state._replace(timesteps=torch.full_like(world.state.timesteps, timesteps))
    else:
        for world in env.world.worlds:
            world.episode_timesteps = timesteps


def test_robots_beyond_the_scenario_are_absent(backend, num_envs):
    env = make_env(backend, num_envs)
    env.num_robots = 2
    data = collect(env, 60, GoalSeeker())
    assert (data["agents", "outcome"][:, :, 2] == Outcome.ABSENT).all()
    assert (data["next", "agents", "outcome"][:, :, 2] == Outcome.ABSENT).all()
    assert not data["agents", "active"][:, :, 2].any()
    assert not data["next", "agents", "self_state"][:, :, 2].any()
    assert data["next", "terminated"].any()  # absent robots keep no episode alive
    assert not data["next", "agents", "terminated"][:, :, 2].any()


def test_episode_dictionaries_of_unequal_sizes(backend):
    episodes = []
    for robots, cores, obstacles in ((1, 0, 0), (3, 2, 1), (2, 1, 2)):
        world = MarineNavEnv3(seed=robots)
        world.verbose = False
        world.num_robots, world.num_cores, world.num_obs = robots, cores, obstacles
        world.reset()
        episodes.append(world.episode_data())
    env = make_env(backend, dtype=torch.float64)
    td = env.reset_with_eval_configs(episodes)
    assert td["agents", "active"].sum((1, 2)).tolist() == [1, 3, 2]
    for written, episode in zip(env.episode_data(), episodes, strict=True):
        for key in ("start", "goal", "init_theta", "m", "perception"):
            assert written["robots"][key] == episode["robots"][key]
        for key in ("cores", "obstacles", "width", "goal_reward"):
            assert written["env"][key] == episode["env"][key]
    for k, episode in enumerate(episodes):
        robots = episode["robots"]
        goal = np.subtract(robots["goal"], robots["start"])
        seen = td["agents", "self_state"][k, : len(goal), :2].norm(dim=-1).numpy()
        np.testing.assert_allclose(seen, np.linalg.norm(goal, axis=-1), rtol=1e-12)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_stage_follows_the_timesteps_of_all_environments(backend, num_envs):
    schedule = {
        "timesteps": [0, 30],
        "num_robots": [1, 3],
        "num_cores": [0, 0],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [8.0, 20.0],
    }
    env = MarineNavTorchRLEnv(num_envs, backend=backend, schedule=schedule)
    assert env.max_robots == 3
    td = env.reset()
    for timesteps in range(num_envs, 31, num_envs):
        td = env.step_mdp(env.rand_step(td))
        assert env.world.total_timesteps == timesteps
        if timesteps in (30 - num_envs, 30):
            fresh = env.reset()
            assert fresh["agents", "active"].sum().item() == num_envs * (3 if timesteps == 30 else 1)


def test_environments_may_be_pinned_to_stages():
    schedule = {
        "timesteps": [0, 30],
        "num_robots": [1, 3],
        "num_cores": [0, 2],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [8.0, 20.0],
    }
    env = MarineNavTorchRLEnv(3, backend="torch", schedule=schedule)
    env.world.pin([1, 0, 1])
    td = env.reset()
    assert td["agents", "active"].sum((1, 2)).tolist() == [3, 1, 3]
    assert [len(episode["env"]["cores"]["Gamma"]) for episode in env.episode_data()] == [2, 0, 2]
    check_env_specs(env)


@pytest.mark.slow
def test_compiled_rollout_equals_eager():
    """Compiled kernels reassociate sums: after 40 steps in float64 the worlds agree to 1e-9 (m, m/s, N)."""
    eager, compiled = (
        collect(make_env("torch", dtype=torch.float64, compile=flag), 40, GoalSeeker())
        for flag in (False, True)
    )
    for key in (("agents", "self_state"), ("agents", "objects_state"), ("next", "agents", "reward")):
        torch.testing.assert_close(compiled[key], eager[key], rtol=0, atol=1e-9)
    outcomes = [data["next", "agents", "outcome"] for data in (eager, compiled)]
    torch.testing.assert_close(*outcomes)


@pytest.mark.gpu
def test_step_and_reset_never_wait_for_the_gpu():
    env = make_env("torch", 512, device="cuda")
    policy = GoalSeeker()
    td = env.reset()
    for _ in range(3):
        _, td = env.step_and_maybe_reset(policy(td))
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, td = env.step_and_maybe_reset(policy(td))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert td.device.type == "cuda"


def test_serial_env(backend, continuous):
    env = SerialEnv(2, lambda: make_env(backend, 2, continuous))
    check_env_specs(env)
    data = collect(env, 60, GoalSeeker(continuous))
    assert data.batch_size == (2, 2, 60)
    assert data["next", "done"].any()


def test_parallel_env(backend):
    env = ParallelEnv(2, EnvCreator(lambda: make_env(backend, 2)), mp_start_method="fork")
    try:
        env.set_seed(0)
        data = collect(env, 60, GoalSeeker())
        assert data.batch_size == (2, 2, 60)
        assert data["next", "done"].any()
        starts = data["agents", "self_state"][:, :, 0].flatten(0, 1)
        assert (starts[0] != starts[2]).any()
    finally:
        env.close()


def test_collector(backend, num_envs, continuous):
    env = make_env(backend, num_envs, continuous)
    steps = 30
    collector = Collector(
        env, GoalSeeker(continuous), frames_per_batch=steps * num_envs, total_frames=2 * steps * num_envs
    )
    try:
        batches = [batch.clone() for batch in collector]
    finally:
        collector.shutdown()
    assert [batch.batch_size for batch in batches] == [(num_envs, steps)] * 2
    data = torch.cat(batches, 1)
    assert data["next", "done"].any()
    # the stream is the one of a plain rollout, across batches too
    same = collect(make_env(backend, num_envs, continuous), 2 * steps, GoalSeeker(continuous))
    for key in (("agents", "self_state"), ("next", "agents", "reward"), ("next", "done")):
        torch.testing.assert_close(data[key], same[key], rtol=0, atol=0)
