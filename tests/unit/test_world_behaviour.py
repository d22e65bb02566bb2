"""Quirks, errors and small queries of the NumPy world (environment spec 1-12, 16 and 17)."""

from math import inf, nan, pi, sqrt

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.reference.robot import Perception, Robot
from marinenav_env.envs.reference.world import Core, Obstacle

GAMMA = 3 * pi


@pytest.fixture
def robot() -> Robot:
    """At (10, 20) heading north, goal 30 m ahead."""
    robot = Robot()
    robot.start, robot.goal = np.array([10.0, 20.0]), np.array([40.0, 20.0])
    robot.reset_state()
    return robot


@pytest.fixture
def world() -> MarineNavEnv3:
    """Two robots in open water, after a reset."""
    env = MarineNavEnv3(seed=4)
    env.num_robots, env.num_cores, env.num_obs = 2, 0, 0
    env.reset()
    return env


def put(robot: Robot, x: float, y: float) -> None:
    robot.x, robot.y = x, y


def still(robot: Robot) -> Robot:
    """Without sensor noise."""
    robot.perception.pos_std = robot.perception.vel_std = 0.0
    robot.perception.r_mean_ratio = 1.0
    return robot


# ---- defaults -------------------------------------------------------------------------------------------


def test_environment_defaults() -> None:
    env = MarineNavEnv3()
    expected = {
        "seed": 0, "is_eval_env": False, "width": 55, "height": 55, "r": 0.5, "v_rel_max": 1.0, "p": 0.8,
        "v_range": [3, 3], "obs_r_range": [1, 1], "clear_r": 10.0, "angular_speed_max": pi / 2,
        "angular_speed_penalty": -1.0, "steering_reward_angle_max": pi / 3, "steering_reward_speed_min": 1.0,
        "steering_reward": 0.5, "timestep_penalty": -0.1, "COLREGs_penalty": -0.1, "collision_penalty": -5.0,
        "goal_reward": 10.0, "num_cores": 8, "num_obs": 8, "min_start_goal_dis": 30.0, "num_robots": 6,
        "cores": [], "obstacles": [], "schedule": None, "episode_timesteps": 0, "total_timesteps": 0,
        "observation_in_robot_frame": True,
    }  # fmt: skip
    assert {key: getattr(env, key) for key in expected} == expected
    assert len(env.robots) == 6
    assert not hasattr(env, "core_centers")
    assert env.get_action_space_dimension() == 25


def test_robot_defaults() -> None:
    robot = Robot(seed=3)
    expected = {
        "dt": 0.05, "N": 10, "length": 5.0, "width": 2.5,
        "detect_r": 2.7950849718747373, "r": 2.7950849718747373, "safe_dis": 10.0,
        "max_angular_speed": pi / 3, "min_thrust": -500.0, "max_thrust": 1000.0,
        "power_coefficient": 1.0, "goal_dis": 2.0, "goal_angluar_speed": pi / 12, "head_on_zone_x_dim": 17.0,
        "head_on_zone_y_dim": 9.0, "collision": False, "reach_goal": False, "deactivated": False,
        "observation_history": [], "action_history": [], "trajectory": [], "x": None, "velocity": None,
    }  # fmt: skip
    assert {key: getattr(robot, key) for key in expected} == expected
    assert not hasattr(robot, "phi")
    assert not hasattr(robot, "apply_COLREGs")
    assert robot.left_thrust_change is not robot.right_thrust_change
    assert robot.perception.seed == 3
    assert robot.perception.observation == {"self": [], "objects": []}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hull_width", 0.5), ("hull_tip_length", 1.25), ("hull_tip_width", 0.25), ("hull_rear_length", 1.0),
        ("hull_rear_width", 0.4), ("thruster_gap", 0.1), ("thruster_length", 0.5),
        ("thruster_tip_width", 0.24), ("thruster_rear_width", 0.3), ("beam_length", 2.0),
        ("beam_width", 0.1), ("beam_distance", 1.5),
        ("beam_base_length", 2.5), ("beam_base_width", 0.25), ("platform_length", 2.0),
        ("platform_width", 1.125),
    ],
)  # fmt: skip
def test_drawing_dimensions(name: str, value: float) -> None:
    assert getattr(Robot(), name) == pytest.approx(value)


# ---- current --------------------------------------------------------------------------------------------


def test_current_sense_is_the_opposite_of_its_name() -> None:
    """Quirk W2: north of a "clockwise" core the water flows west."""
    env = MarineNavEnv3()
    env.cores.append(Core(10, 10, 1, GAMMA))
    np.testing.assert_allclose(env.get_velocity(11, 10), [0, -1.5, 0], atol=1e-15)


def test_current_is_a_superposition() -> None:
    """Quirk W3: no shielding."""
    cores = [Core(10, 10, 1, GAMMA), Core(12, 10, 0, GAMMA), Core(20, 30, 1, GAMMA)]
    env = MarineNavEnv3()
    single = []
    for core in cores:
        env.cores[:] = [core]
        single.append(env.get_velocity(9, 10.5))
    env.cores[:] = cores
    np.testing.assert_allclose(env.get_velocity(9, 10.5), sum(single), atol=1e-14)


def test_current_does_not_depend_on_the_order_of_cores() -> None:
    env = MarineNavEnv3(seed=2)
    env.reset()
    forward = env.get_velocity(20.0, 30.0)
    env.cores.reverse()
    assert env.get_velocity(20.0, 30.0).tolist() == forward.tolist()


def test_current_at_a_centre_is_zero() -> None:
    """Quirk W4."""
    env = MarineNavEnv3()
    env.cores.append(Core(10, 10, 1, GAMMA))
    assert env.get_velocity(10, 10).tolist() == [0, 0, 0]


def test_speed_profile() -> None:
    env = MarineNavEnv3()
    assert [env.compute_speed(GAMMA, d) for d in (0.25, 0.5, 1.0)] == pytest.approx([1.5, 3.0, 1.5])


@pytest.mark.parametrize("position", [(nan, 0.0), (0.0, inf)])
def test_non_finite_position(position: tuple[float, float]) -> None:
    env = MarineNavEnv3()
    assert env.get_velocity(*position).tolist() == [0, 0, 0]
    env.cores.append(Core(10, 10, 1, GAMMA))
    with pytest.raises(ValueError, match="finite position"):
        env.get_velocity(*position)


def test_current_test_function() -> None:
    np.testing.assert_allclose(MarineNavEnv3().get_velocity_test(3, 4), np.ones(2) / sqrt(2))


def test_index_over_the_cores_follows_generation() -> None:
    env = MarineNavEnv3(seed=0)
    env.reset()
    np.testing.assert_array_equal(env.core_centers.data, [(core.x, core.y) for core in env.cores])


# ---- generation -----------------------------------------------------------------------------------------


def test_lists_survive_a_reset() -> None:
    env = MarineNavEnv3(seed=0)
    robots, cores, obstacles = env.robots, env.cores, env.obstacles
    env.reset()
    assert env.robots is robots
    assert env.cores is cores
    assert env.obstacles is obstacles
    data = env.episode_data()
    env.reset_with_eval_config(data)
    assert env.robots is robots
    assert env.cores is cores
    assert env.obstacles is obstacles


def test_initial_velocity_knows_no_current_after_a_reset() -> None:
    """Quirks W6 and W25."""
    env = MarineNavEnv3(seed=0)
    env.reset()
    assert all(robot.velocity.tolist() == [0, 0, 0] for robot in env.robots)
    env.reset_with_eval_config(env.episode_data())
    assert all(np.abs(robot.velocity[:2]).sum() > 0 for robot in env.robots)


@pytest.mark.parametrize(
    ("start", "goal", "accepted"),
    [
        ((40.0, 40.0), (10.0, 10.0), True),  # Quirk W5: on the other's goal
        ((20.0, 10.0), (52.0, 10.0), False),  # a clearance of just 10 m
        ((20.5, 10.0), (52.0, 10.0), True),
        ((2.0, 30.0), (40.0, 30.0), False),
        ((50.0, 5.0), (50.0, 34.5), False),  # too short a way
        ((25.0, 5.0), (25.0, 35.0), True),  # just 30 m
    ],
)
def test_start_and_goal_acceptance(start: tuple, goal: tuple, accepted: bool) -> None:
    env = MarineNavEnv3()
    env.robots.clear()
    other = Robot()
    other.start, other.goal = np.array([10.0, 10.0]), np.array([40.0, 40.0])
    env.robots.append(other)
    assert env.check_start_and_goal(start, goal) is accepted


@pytest.mark.parametrize(
    ("obstacle", "accepted"),
    [
        (Obstacle(5, 5, 1), True),
        (Obstacle(0.9, 5, 1), False),
        (Obstacle(54.1, 5, 1), False),
        (Obstacle(5, 29.1, 1), False),
        (Obstacle(40, 15, 1), False),
        (Obstacle(20 + 1.5, 15, 1), False),
        (Obstacle(20 + 1.5001, 15, 1), True),
        (Obstacle(10, 27, 1), False),
        (Obstacle(10.01, 27, 1), True),
    ],
)
def test_obstacle_acceptance(obstacle: Obstacle, accepted: bool) -> None:
    env = MarineNavEnv3()
    env.robots.clear()
    env.height = 30
    robot = Robot()
    robot.start, robot.goal = np.array([50.0, 15.0]), np.array([51.0, 15.0])
    env.robots.append(robot)
    env.cores.append(Core(20, 15, 1, GAMMA))
    env.obstacles.append(Obstacle(8, 27, 1))
    assert env.check_obstacle(obstacle) is accepted


def test_generation_ends_short_in_silence() -> None:
    """Quirk W9."""
    env = MarineNavEnv3(seed=0)
    env.num_robots, env.num_cores, env.num_obs = 40, 0, 90
    env.reset()
    assert len(env.robots) < env.num_robots == 40
    assert len(env.obstacles) < env.num_obs == 90


def test_no_robots_without_a_schedule() -> None:
    env = MarineNavEnv3(seed=0)
    env.num_robots, env.min_start_goal_dis = 0, 1e9
    assert env.reset() == ([], [], [])
    env.min_start_goal_dis = 0.0
    with pytest.raises(ValueError, match=r"high <= 0"):
        env.reset()
    with pytest.raises(IndexError):
        env.get_action_space_dimension()


def schedule(num_robots: list[int]) -> dict[str, list]:
    stages = len(num_robots)
    return {
        "timesteps": [100 * (k + 1) for k in range(stages)],
        "num_robots": num_robots,
        "num_cores": [0] * stages,
        "num_obstacles": list(range(stages)),
        "min_start_goal_dis": [30.0 + k for k in range(stages)],
    }


@pytest.mark.parametrize(("total", "stage"), [(0, 2), (99, 2), (100, 0), (199, 0), (200, 1), (10**6, 2)])
def test_stage(total: int, stage: int) -> None:
    """Quirk W10: the last stage before the first threshold."""
    env = MarineNavEnv3(schedule=schedule([1, 2, 3]))
    env.verbose = False
    env.total_timesteps = total
    env.reset()
    assert (env.num_robots, env.num_obs, env.min_start_goal_dis) == (stage + 1, stage, 30.0 + stage)


def test_stage_without_robots() -> None:
    env = MarineNavEnv3(schedule=schedule([0]))
    with pytest.raises(AssertionError, match=r"^Number of robots is 0!$"):
        env.reset()


def test_stage_announcement_can_be_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    env = MarineNavEnv3(schedule=schedule([1]))
    env.verbose = False
    env.reset()
    assert capsys.readouterr().out == ""


# ---- vessel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "rate", "expected"), [(0.0, -1e-18, 0.0), (6.3, 0.0, 6.3 - 2 * pi), (-7.0, 0.0, 4 * pi - 7)]
)
def test_yaw_range(robot: Robot, start: float, rate: float, expected: float) -> None:
    robot.theta = start
    robot.velocity_r = np.array([0.0, 0.0, rate])
    robot.update_state(None)
    assert robot.theta == pytest.approx(expected, abs=1e-15)
    assert 0.0 <= robot.theta < 2 * pi


def test_wrap_to_pi(robot: Robot) -> None:
    assert [robot.wrap_to_pi(angle) for angle in (pi, -pi, 3.5 * pi)] == [-pi, -pi, pytest.approx(-0.5 * pi)]
    assert np.isnan(robot.wrap_to_pi(nan))


def test_thrust_jumps_once_and_saturates(robot: Robot) -> None:
    """Quirk W11; commands are not clipped, thrusts are."""
    robot.update_state([0.5, -3.0], is_new_action=True)
    assert (robot.left_thrust, robot.right_thrust) == (250.0, -500.0)
    robot.update_state([1.0, 1.0])
    assert (robot.left_thrust, robot.right_thrust) == (250.0, -500.0)


def test_velocity_lags(robot: Robot) -> None:
    """Quirk W12."""
    robot.velocity_r = np.array([1.0, 0.0, 0.0])
    robot.update_state([1.0, 1.0], np.array([0.5, 0.0, 0.0]), is_new_action=True)
    assert robot.velocity.tolist() == [1.5, 0.0, 0.0]
    assert robot.velocity_r[0] > 1.0


def test_surge_inertia_is_below_the_dry_mass(robot: Robot) -> None:
    """Quirk W13: 1000 N on 380 kg."""
    robot.left_thrust = robot.right_thrust = 500.0
    robot.compute_motion()
    assert robot.velocity_r[0] == pytest.approx(1000 / 380 * robot.dt)


def test_compute_motion_is_the_last_part_of_a_sub_step(robot: Robot) -> None:
    robot.velocity_r = np.array([1.2, -0.4, 0.3])
    robot.update_state([0.3, 0.4], np.array([0.2, 0.1, 0.0]), is_new_action=True)
    expected, robot.velocity_r = robot.velocity_r, np.array([1.2, -0.4, 0.3])
    robot.compute_motion()
    assert robot.velocity_r.tolist() == expected.tolist()


def test_singular_inertia(robot: Robot) -> None:
    robot.xDotU = robot.m
    robot.compute_constant_matrices()
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        robot.compute_motion()


def test_matrices(robot: Robot) -> None:
    assert np.diag(robot.M_RB).tolist() == [400, 400, 450]
    assert robot.M_A.tolist() == [[-20, 0, 0], [0, 0, 0], [0, 0, 980]]
    assert np.diag(robot.D).tolist() == [100, 100, 980]


def test_actions_follow_their_lists(robot: Robot) -> None:
    robot.left_thrust_change = np.array([1.0, 2.0])
    robot.right_thrust_change = np.array([3.0, 4.0, 5.0])
    robot.compute_actions()
    assert robot.actions == [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)]
    assert robot.compute_actions_dimension() == 6


def test_spin_check(robot: Robot) -> None:
    robot.velocity = np.array([0.0, 0.0, -1.05])
    assert robot.check_over_spin()
    robot.velocity[2] = 1.04
    assert not robot.check_over_spin()


def test_frames(robot: Robot) -> None:
    robot.theta = 0.7
    rotation, position = robot.get_robot_transform()
    assert (rotation.shape, position.shape) == ((2, 2), (2, 1))
    vector = np.array([3.0, -2.0])
    np.testing.assert_allclose(rotation @ robot.project_to_robot_frame(vector), vector)
    point = robot.project_to_robot_frame(vector, is_vector=False)
    np.testing.assert_allclose(rotation @ point + position[:, 0], vector)


def test_frames_take_arrays_of_two(robot: Robot) -> None:
    with pytest.raises(AssertionError, match="the input needs to be an numpy array"):
        robot.project_to_robot_frame([1.0, 2.0])
    with pytest.raises(AssertionError, match=r"\(3,\)"):
        robot.project_to_robot_frame(np.zeros(3))


@pytest.mark.parametrize("action", [None, 3, [0.5]])
def test_bad_continuous_action(robot: Robot, action: object) -> None:
    with pytest.raises((TypeError, IndexError), match=r"action: two finite numbers needed, not"):
        robot.update_state(action, is_new_action=True)


@pytest.mark.parametrize("action", [None, 25, 0.5])
def test_bad_discrete_action(robot: Robot, action: object) -> None:
    with pytest.raises((TypeError, IndexError), match=r"an index in 0\.\.24 needed, not"):
        robot.update_state(action, is_new_action=True, is_continuous_action=False)


@pytest.mark.parametrize(
    "use",
    [
        lambda robot: robot.update_state([0.0, 0.0]),
        lambda robot: robot.dist_to_goal(),
        lambda robot: robot.perception_output([], []),
        lambda robot: robot.compute_motion(),
        lambda robot: robot.reset_state(),
        lambda robot: robot.check_apply_COLREGs([5.0, 0.0, 1.0, 0.0, 1.0]),
    ],
)
def test_robot_before_a_reset(use) -> None:
    with pytest.raises(TypeError):
        use(Robot())


def test_world_before_a_reset() -> None:
    env = MarineNavEnv3()
    with pytest.raises(TypeError):
        env.get_observations()
    with pytest.raises(TypeError):
        env.step([[0.0, 0.0]] * 6)


# ---- perception -----------------------------------------------------------------------------------------


def test_noise_stream_is_that_of_normal_and_vonmises() -> None:
    perception, rd = Perception(5), np.random.RandomState(5)
    perception.pos_std, perception.vel_std, perception.r_kappa = 0.3, 0.2, 2.5
    for _ in range(20):
        assert perception.pos_observation(1.0, 2.0) == (1.0 + rd.normal(0, 0.3), 2.0 + rd.normal(0, 0.3))
        assert perception.vel_observation(3.0, 4.0) == (3.0 + rd.normal(0, 0.2), 4.0 + rd.normal(0, 0.2))
        noise = rd.vonmises(0, 2.5) / pi * 2.0
        assert perception.r_observation(2.0) == pytest.approx(0.8 * 2.0 + 0.2 * noise)


def test_undetected_objects_draw_noise_but_do_not_collide(robot: Robot) -> None:
    """Quirk W15."""
    robot.perception.angle = pi / 2
    behind = Obstacle(9.0, 20.0, 1.0)
    (_, objects), collision, _ = robot.perception_output([behind], [])
    assert (objects, collision, robot.perception.observed_obs) == ([], False, [])
    fresh = np.random.RandomState(0)
    fresh.normal(size=4)
    fresh.vonmises(0, 1)
    assert robot.perception.rd.random_sample() == fresh.random_sample()
    robot.perception.angle = 2 * pi
    assert robot.perception_output([behind], [])[1]


def test_flags_are_sticky(robot: Robot) -> None:
    """Quirk W16."""
    robot.goal = np.array([11.0, 20.0])
    robot.perception_output([Obstacle(10.0, 21.0, 1.0)], [])
    put(robot, 30.0, 40.0)
    assert robot.perception_output([], [])[1:] == (True, True)


def test_collision_and_goal_take_equality(robot: Robot) -> None:
    robot.goal, robot.r = np.array([12.0, 20.0]), 2.75
    robot.check_reach_goal()
    robot.check_collision(13.75, 20.0, 1.0)
    assert (robot.reach_goal, robot.collision) == (True, True)
    assert robot.compute_distance(13.75, 20.0, 1.0) == 0.0
    assert robot.compute_distance(3.0, 4.0, 1.0, in_robot_frame=True) == 1.25


def test_detection(robot: Robot) -> None:
    robot.perception.angle = pi
    assert robot.check_detection(10.0, 41.0, 1.0)
    assert not robot.check_detection(10.0, 41.001, 1.0)
    assert not robot.check_detection(9.999, 25.0, 1.0)


def test_deactivated_robot_sees_nothing_and_is_not_seen(world: MarineNavEnv3) -> None:
    first, second = world.robots
    put(second, first.x + 8.0, first.y)
    first.perception_output([], world.robots)
    assert first.perception.observed_objs == [1]  # Quirk W17: seen until deactivated
    second.deactivated = second.collision = True
    state = second.perception.rd.get_state()[2]
    seen = list(second.perception.observation["self"])
    assert second.perception_output([], world.robots) == ((None, None), True, False)
    assert second.perception.rd.get_state()[2] == state
    assert second.perception.observation["self"] == seen
    first.perception_output([], world.robots)
    assert first.perception.observed_objs == []


def test_observation_is_a_copy(robot: Robot) -> None:
    (state, objects), _, _ = robot.perception_output([Obstacle(20.0, 20.0, 1.0)], [])
    state[0], objects[0][0] = 99.0, 99.0
    assert robot.perception.observation["self"][0] == 30.0
    assert robot.perception.observation["objects"][0][0] != 99.0


def test_nearest_objects_in_order(robot: Robot) -> None:
    still(robot).perception.max_obj_num = 2
    obstacles = [Obstacle(10.0 + d, 20.0, 1.0) for d in (15.0, 9.0, 12.0, 9.0)]
    (_, objects), _, _ = robot.perception_output(obstacles, [robot])
    assert [entry[0] for entry in objects] == pytest.approx([9.0, 9.0])
    assert len(robot.perception.observation["objects"]) == 4


# ---- step -----------------------------------------------------------------------------------------------


def test_number_of_actions(world: MarineNavEnv3) -> None:
    with pytest.raises(AssertionError, match=r"^Number of actions not equal number of robots!$"):
        world.step([[0.0, 0.0]])
    assert world.episode_timesteps == 0


def test_no_actions_once_all_have_arrived(world: MarineNavEnv3) -> None:
    for robot in world.robots:
        robot.reach_goal = True
    with pytest.raises(AssertionError, match=r"^All robots reach goals, not actions are available!$"):
        world.step([[0.0, 0.0]] * 2)


def test_deactivation_without_cause(world: MarineNavEnv3) -> None:
    world.robots[0].deactivated = True
    x = world.robots[1].x
    world.robots[1].velocity_r = np.array([1.0, 0.0, 0.0])
    with pytest.raises(RuntimeError, match="can only be caused by collsion or reaching goal!"):
        world.step([None, [0.0, 0.0]])
    assert world.robots[1].x != x
    assert world.episode_timesteps == 0


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ({"collision": True}, "deactivated after collision"),
        ({"reach_goal": True}, "deactivated after reaching goal"),
        ({"collision": True, "reach_goal": True}, "deactivated after collision"),
    ],
)
def test_deactivated_robot_in_a_step(world: MarineNavEnv3, flags: dict[str, bool], state: str) -> None:
    robot = world.robots[0]
    robot.deactivated = True
    for key, value in flags.items():
        setattr(robot, key, value)
    observations, rewards, dones, infos = world.step([None, [0.0, 0.0]])
    assert observations[0] == (None, None)
    assert (rewards[0], dones[0], infos[0]) == (0, True, {"state": state})
    assert type(rewards[0]) is int  # Quirk W21
    assert type(rewards[1]) is float


def test_the_world_never_deactivates(world: MarineNavEnv3) -> None:
    """Quirk W22: the event repeats until the caller acts."""
    robot = world.robots[0]
    robot.goal = np.array([robot.x, robot.y])
    for _ in range(2):
        _, rewards, dones, infos = world.step([[0.0, 0.0]] * 2)
        assert (rewards[0], dones[0], infos[0]["state"]) == (pytest.approx(9.9), True, "reach goal")
        assert not robot.deactivated
    robot.collision = True
    _, rewards, _, infos = world.step([[0.0, 0.0]] * 2)
    assert (rewards[0], infos[0]["state"]) == (pytest.approx(-5.1), "collision")


def test_timeout_suppresses_event_rewards(world: MarineNavEnv3) -> None:
    """Quirk W23."""
    robot = world.robots[0]
    robot.goal = np.array([robot.x, robot.y])
    world.episode_timesteps = 1000
    _, rewards, dones, infos = world.step([[0.0, 0.0]] * 2)
    assert (rewards[0], dones[0], infos[0]["state"]) == (pytest.approx(-0.1), True, "too long episode")
    assert robot.reach_goal


def test_colregs_penalty(world: MarineNavEnv3) -> None:
    robot = world.robots[0]
    robot.apply_COLREGs, robot.phi = True, 0.5
    assert world.compute_COLREGs_penalty(robot) == -0.05
    robot.apply_COLREGs = False
    assert world.compute_COLREGs_penalty(robot) == 0.0


def test_map_has_no_boundary(world: MarineNavEnv3) -> None:
    """Quirk W1."""
    robot = world.robots[0]
    put(robot, -20.0, 70.0)
    _, _, _, infos = world.step([[1.0, 1.0]] * 2)
    assert infos[0]["state"] == "normal"
    with pytest.raises(AttributeError):
        world.out_of_boundary()


def test_histories_only_in_evaluation_mode(world: MarineNavEnv3) -> None:
    world.step([[0.0, 0.0]] * 2)
    robot = world.robots[0]
    lengths = len(robot.trajectory), len(robot.action_history), len(robot.observation_history)
    assert lengths == (1, 0, 0)
    world.is_eval_env = True
    action = [0.5, 0.5]
    observations, *_ = world.step([action] * 2)
    assert robot.action_history[0] is action
    assert robot.observation_history[0][0] is observations[0][0]
    assert robot.observation_history[0][1] is observations[0][1]
    assert len(robot.trajectory[-1]) == 13
