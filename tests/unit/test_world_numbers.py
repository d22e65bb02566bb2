"""The numbers of environment spec 15."""

import copy
from math import cos, isnan, pi, sin

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.reference.robot import Perception, Robot
from marinenav_env.envs.reference.world import Core

GAMMA = 3 * pi


def close(expected: object) -> object:
    return pytest.approx(expected, rel=0, abs=1e-9)


@pytest.fixture
def world() -> MarineNavEnv3:
    """The environment of section 15.2, before its reset."""
    env = MarineNavEnv3(seed=0)
    env.num_robots, env.num_cores, env.num_obs, env.min_start_goal_dis = 5, 4, 4, 40.0
    return env


def seeds(env: MarineNavEnv3) -> list[int]:
    return [robot.perception.seed for robot in env.robots]


def next_sample(rd: np.random.RandomState) -> float:
    return copy.deepcopy(rd).random_sample()


# ---- 15.2 generation ------------------------------------------------------------------------------------


def test_constructor_seeds(world: MarineNavEnv3) -> None:
    assert seeds(world) == [12, 15, 21, 0, 3, 27]


def test_generation(world: MarineNavEnv3) -> None:
    world.reset()
    assert [robot.start.tolist() for robot in world.robots] == [
        [6.443594284778576, 3.0311382694566116],
        [50.428123725987845, 35.78887021445226],
        [28.685650726801683, 6.7909660486805254],
        [36.44739314121203, 14.739610058403882],
        [45.645970462023165, 2.5974182934351004],
    ]
    assert [robot.goal.tolist() for robot in world.robots] == [
        [44.46361212294484, 41.685994298442374],
        [2.6921534162176015, 33.76515087288014],
        [31.37327127336514, 49.39410607638692],
        [17.974134929243498, 51.23622724651628],
        [20.35888128839656, 39.22951868362696],
    ]
    assert [robot.init_theta for robot in world.robots] == [
        5.466919477681896,
        0.6038041045226995,
        0.05878991047818161,
        4.556907034931878,
        2.1325370915658484,
    ]
    assert seeds(world) == [15, 4, 11, 16, 12]
    assert [(core.x, core.y, core.clockwise, core.Gamma) for core in world.cores] == [
        (11.681477438966972, 12.23437734127503, 0, 9.42477796076938),
        (33.97118538527341, 29.83743262557186, 1, 9.42477796076938),
        (25.822345070014403, 25.080804276982697, 1, 9.42477796076938),
        (17.857563463655595, 28.58411565120519, 0, 9.42477796076938),
    ]
    assert [(obstacle.x, obstacle.y, obstacle.r) for obstacle in world.obstacles] == [
        (25.52583974552879, 26.75338774694387, 1.0),
        (14.669633153776017, 13.390619877020232, 1.0),
        (14.412066326637852, 17.911176948527206, 1.0),
        (13.173404022142194, 28.057705848315667, 1.0),
    ]
    assert next_sample(world.rd) == 0.7875421559550259


def test_schedule_gives_the_same(world: MarineNavEnv3, capsys: pytest.CaptureFixture[str]) -> None:
    world.reset()
    schedule = {
        "timesteps": [0],
        "num_robots": [5],
        "num_cores": [4],
        "num_obstacles": [4],
        "min_start_goal_dis": [40.0],
    }
    scheduled = MarineNavEnv3(seed=0, schedule=schedule)
    scheduled.reset()
    assert scheduled.episode_data() == world.episode_data()
    assert capsys.readouterr().out == (
        "\n======== training schedule ========\nnum of robots:  5\nnum of cores:  4\nnum of obstacles:  4\n"
        "min start goal dis:  40.0\n======== training schedule ========\n\n"
    )


def test_default_generation() -> None:
    env = MarineNavEnv3(seed=0)
    env.reset()
    assert (len(env.robots), len(env.cores), len(env.obstacles)) == (6, 8, 8)
    assert next_sample(env.rd) == 0.06985901733934607


def test_observations(world: MarineNavEnv3) -> None:
    observations, collisions, reach_goals = world.reset()
    state, objects = observations[0]
    assert state == close([-2.1219810271815014, 54.17764158355713, 0, 0, 0, 0, 0])
    assert objects[0] == close(
        [
            -1.9240750753446236,
            13.053262923123745,
            0.01574034210355496,
            0.004469788630994594,
            0.8268451568110494,
        ]
    )
    assert objects[1] == close(
        [
            -5.424701345749625,
            15.997753074530143,
            -0.06387540483856877,
            0.048867365286975474,
            0.7408719894868159,
        ]
    )
    detected = [(robot.perception.observed_obs, robot.perception.observed_objs) for robot in world.robots]
    assert detected == [([1, 2], []), ([], []), ([0, 1, 2], [3, 4]), ([0], [2, 4]), ([], [2, 3])]
    assert [entry[0] for entry in observations[2][1]] == close(
        [8.234276755043627, -13.579035869254094, 16.65024270150725, -13.641178303005567, -1.894957744673878]
    )
    assert collisions == reach_goals == [False] * 5


def test_world_frame_ranks_from_the_origin(world: MarineNavEnv3) -> None:
    """Quirks W14 and W18."""
    world.observation_in_robot_frame = False
    observations, _, _ = world.reset()
    state, objects = observations[2]
    robot = world.robots[2]
    assert state == [robot.x, robot.y, 0.0, 0.0, 0.0, 0.0, 0.0, *robot.goal]
    assert [entry[0] for entry in objects] == close(
        [14.692611011569333, 14.367754343140078, 25.613312482594047, 36.46221049661675, 45.60855293769211]
    )


# ---- 15.3 one step, 15.4 reloading ----------------------------------------------------------------------


def test_one_step(world: MarineNavEnv3) -> None:
    world.reset()
    observations, rewards, dones, infos = world.step([[0.5, -0.25]] * 5)
    assert rewards == close(
        [
            -0.07524997018352622,
            -0.14087317312306738,
            -0.04288309596570486,
            -0.08730728948648761,
            -0.04450326412355424,
        ]
    )
    assert dones == [False] * 5
    assert infos == [{"state": "normal"}] * 5
    robot = world.robots[0]
    assert (robot.x, robot.y, robot.theta) == close((6.521090921134444, 2.989721923330318, 5.500424199655677))
    assert robot.velocity_r.tolist() == close([0.1035144783639353, -0.11618515994084454, 0.13889778110568735])
    assert robot.velocity.tolist() == close([0.20102164779598336, -0.13431348089075545, 0.1274122441991657])
    state, objects = observations[0]
    assert state == close(
        [
            -0.39007404585670624,
            54.1930277168331,
            0.23724130824552697,
            0.046544341155016586,
            0.1274122441991657,
            250.0,
            -125.0,
        ]
    )
    assert objects[0] == close(
        [
            -1.6231019440088297,
            13.098361715879648,
            0.025484575325359294,
            0.03180569626176814,
            0.6492313069480966,
        ]
    )
    assert robot.compute_step_energy_cost() == 187.5


def test_reloading(world: MarineNavEnv3) -> None:
    world.reset()
    observations, _, _ = world.reset_with_eval_config(world.episode_data())
    assert seeds(world) == [12, 15, 21, 0, 3]
    assert world.robots[0].velocity.tolist() == close([0.10642914417116336, -0.03022389693430304, 0])
    state, objects = observations[0]
    assert state == close(
        [-2.1219810271815014, 54.17764158355713, 0.09491921366343722, 0.05684179406401948, 0, 0, 0]
    )
    assert objects[0] == close(
        [
            -1.9021372585666556,
            13.049623222194837,
            0.014954581003607918,
            0.026111708999911682,
            0.9425263634093886,
        ]
    )
    assert objects[1] == close(
        [
            -5.515773124256734,
            16.066761594799864,
            -0.03768528864861374,
            -0.00559809375962849,
            0.6857459635644679,
        ]
    )


def test_reloading_draws_seeds_within_the_present_attribute(world: MarineNavEnv3) -> None:
    """Quirk W26."""
    world.reset()
    data = world.episode_data()
    world.num_robots = 3
    world.reset_with_eval_config(data)
    assert seeds(world) == [12, 5, 0, 3, 11]


# ---- 15.5 field, 15.6 dynamics --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "vx", "vy"),
    [
        (22, 21, 0.46153846153846145, -0.6923076923076922),
        (20.3, 20.1, 0.7248682824025375, -1.8900948366701833),
        (20, 20, 0.12, -0.09),
        (26, 28.5, -2.8822170900692843, -0.08314087759815242),
        (-5, 60, 0.0027849319333201165, -0.006571760110944451),
    ],
)
def test_field(x: float, y: float, vx: float, vy: float) -> None:
    env = MarineNavEnv3()
    env.cores[:] = [Core(20, 20, 1, GAMMA), Core(26, 28, 0, GAMMA)]
    assert env.get_velocity(x, y).tolist() == pytest.approx([vx, vy, 0.0], rel=0, abs=1e-12)


def moving_robot() -> Robot:
    robot = Robot()
    robot.start, robot.goal = np.array([10.0, 20.0]), np.array([40.0, 35.0])
    robot.init_theta = 6.2
    robot.init_velocity_r = np.array([1.2, -0.4, 0.3])
    robot.init_left_thrust, robot.init_right_thrust = 300.0, 150.0
    robot.reset_state()
    return robot


CURRENT = np.array([0.25, -0.35, 0.0])


def run_step(robot: Robot, action: object, continuous: bool) -> None:
    for k in range(10):
        robot.update_state(action, CURRENT, k == 0, continuous)


def motion(robot: Robot) -> list[float]:
    return [robot.x, robot.y, robot.theta, *robot.velocity_r]


def test_dynamics_sub_step() -> None:
    robot = moving_robot()
    robot.update_state([0.8, -0.6], CURRENT, is_new_action=True)
    velocity_r = [1.2153032622592794, -0.4167749627037409, 0.324152822878466]
    assert motion(robot) == close([10.0725, 19.9625, 6.215, *velocity_r])
    assert robot.velocity.tolist() == close([1.45, -0.75, 0.3])
    assert (robot.left_thrust, robot.right_thrust) == (700, -150)


def test_dynamics_continuous_step() -> None:
    robot = moving_robot()
    run_step(robot, [0.8, -0.6], True)
    assert motion(robot) == close(
        [
            10.74919346870879,
            19.586116507197882,
            0.11381248866320048,
            1.2817111671573076,
            -0.5675802783067799,
            0.4882171374284074,
        ]
    )
    assert robot.velocity.tolist() == close([1.5291441364365606, -0.903369636766458, 0.47419758797096245])
    assert robot.compute_step_energy_cost() == close(425.0)
    assert robot.dist_to_goal() == close(33.06353712264775)


def test_without_sub_steps_nothing_changes() -> None:
    robot = moving_robot()
    robot.N = 0
    before = [*motion(robot), robot.left_thrust, robot.right_thrust]
    robot.execute([0.8, -0.6], lambda x, y: (0.25, -0.35, 0.0))
    assert [*motion(robot), robot.left_thrust, robot.right_thrust] == before


def test_a_bearing_that_is_no_number_is_not_outside_the_sector() -> None:
    assert moving_robot().check_detection(float("nan"), 0.0, 1.0)


def test_dynamics_discrete_step() -> None:
    robot = moving_robot()
    assert robot.actions[17] == (500, -1000)
    run_step(robot, 17, False)
    assert motion(robot) == close(
        [
            10.660172124405298,
            19.591711144066068,
            0.11792084828966479,
            0.9226410269716752,
            -0.5459839333779394,
            0.5040623285392514,
        ]
    )
    assert (robot.left_thrust, robot.right_thrust) == (550, -350)


def test_dynamics_with_other_parameters() -> None:
    robot = moving_robot()
    names = (
        "m Izz xDotU yDotV yDotR nDotR nDotV xU xUU yV yVV yR yRV yVR yRR nR nRR nV nVV nRV nVR".split()  # noqa: SIM905
    )
    values = [420, 470, -30, -60, -15, -900, -25, -90, -140, -110, -160, -12, -13, -14, -16, -970, -940]
    for name, value in zip(names, [*values, -17, -18, -19, -21], strict=True):
        setattr(robot, name, value)
    robot.left_pos, robot.right_pos = 0.2, -0.35
    robot.compute_constant_matrices()
    robot.update_state([0.8, -0.6], CURRENT, is_new_action=True)
    assert robot.velocity_r.tolist() == close([1.2156359916267618, -0.39746226685150154, 0.3070509611010357])


# ---- 15.7 noise, 15.8 COLREGs ---------------------------------------------------------------------------


def test_noise() -> None:
    perception = Perception(7)
    first = (
        *perception.pos_observation(10, 20),
        *perception.vel_observation(1, -0.5),
        perception.r_observation(2.7950849718747373),
    )
    assert first == (
        10.084526285190018,
        19.97670313147296,
        1.0016410081839293,
        -0.47962418585017463,
        2.0746175997774783,
    )
    second = (
        *perception.pos_observation(3, 4),
        *perception.vel_observation(0, 0),
        perception.r_observation(1),
    )
    assert second == (
        3.101288576206852,
        3.999933597476192,
        -0.023846584977262983,
        0.06083661743909853,
        0.8064248267448997,
    )


HEAD_ON = [12, 1, -1.5, 0.1, 2.4]
COLREGS = [
    ((2, 0), HEAD_ON, (11.906902883755533, 1.796013284141897), "head-on", 0.6067908030590559, True),
    (
        (1.5, 0.2),
        [8, 7, -0.2, -1.4, 2.3],
        (8.061017305526642, -6.929646455628166),
        "left",
        1.171790367345015,
        True,
    ),
    (
        (2, 0),
        [12, -3.9, -1.5, 0.05, 2.3],
        (12.123266721657142, -3.4980571744270383),
        "head-on",
        0.17597937773516398,
        True,
    ),
    (
        (2, 1),
        [12, -3.9, -1.5, 0.05, 2.3],
        (12.123266721657142, -3.4980571744270383),
        "head-on",
        -0.2876682312656422,
        False,
    ),
    ((2, 0), [12, -8, 0.2, 1.5, 2.3], (6.343858564368862, 12.95204456891976), None, None, False),
    ((2, 1.9), HEAD_ON, (11.906902883755533, 1.796013284141897), None, None, False),
    ((0.3, 0.2), HEAD_ON, None, None, None, False),
    ((2, 0), [12, 1, -0.3, 0.1, 2.4], None, None, None, False),
    ((2, 0), [3.2, 0.2, -1.5, 0.1, 2.4], (3.179608703036394, 0.4124178652473986), "head-on", np.nan, False),
]


@pytest.mark.parametrize(("ego", "obj", "position", "zone", "phi", "applies"), COLREGS)
def test_colregs(ego: tuple, obj: list, position: tuple | None, zone: str | None, phi: float | None, applies):
    robot = Robot()
    robot.x = robot.y = robot.theta = 0.0
    robot.velocity = np.array([*ego, 0.0])
    assert robot.check_apply_COLREGs(obj) is applies
    if position is not None:
        projected = robot.project_ego_to_vehicle_frame(obj)
        assert projected[0].tolist() == close(list(position))
        assert robot.check_in_head_on_zone(*projected) is (zone == "head-on")
        assert robot.check_in_left_crossing_zone(*projected) is (zone == "left")
    if phi is None:
        assert not hasattr(robot, "phi")
    else:
        assert (isnan(phi) and isnan(robot.phi)) or robot.phi == close(phi)


# ---- 15.9 core acceptance, 15.10 timeout, 15.11 regression episode --------------------------------------


@pytest.mark.parametrize(
    ("distance", "clockwise", "accepted"),
    [
        (0.3, 0, True),
        (0.99, 0, True),
        (1.0, 0, False),
        (1.01, 0, False),
        (1.62, 0, False),
        (1.63, 0, True),
        (2.9, 1, False),
        (3.0, 1, True),
    ],
)
def test_core_acceptance(distance: float, clockwise: int, accepted: bool) -> None:
    """Quirk W8: opposite cores may overlap."""
    env = MarineNavEnv3()
    env.robots.clear()
    env.cores.append(Core(20, 20, 1, GAMMA))
    assert env.check_core(Core(20 + distance, 20, clockwise, GAMMA)) is accepted


def test_core_limits_take_the_width_for_both_axes() -> None:
    """Quirk W7."""
    env = MarineNavEnv3()
    env.robots.clear()
    env.width, env.height = 55, 30
    assert env.check_core(Core(10, 40, 1, GAMMA))


def test_timeout() -> None:
    env = MarineNavEnv3(seed=1)
    env.num_robots, env.num_cores, env.num_obs = 1, 0, 0
    env.reset()
    for call in range(1, 1003):
        _, rewards, dones, infos = env.step([(0.0, 0.0)])
        late = call > 1000
        assert rewards == close([-0.1])
        assert dones == [late]
        assert infos == [{"state": "too long episode" if late else "normal"}]
    assert env.episode_timesteps == 1002


def test_regression_episode() -> None:
    env = MarineNavEnv3(seed=3, is_eval_env=True)
    env.reset()
    returns, events = np.zeros(6), []
    for t in range(182):
        actions = [
            None if robot.deactivated else (sin(0.3 * t + i), cos(0.2 * t - i))
            for i, robot in enumerate(env.robots)
        ]
        _, rewards, _, infos = env.step(actions)
        returns += rewards
        if t == 19:
            assert rewards == close([1.0096698995020303, 0, -0.6321818474147086, 0, 0, -0.523836497537593])
            assert type(rewards[1]) is int  # Quirk W21
            check_state_at_19(env.robots[0])
        for i, robot in enumerate(env.robots):
            if not robot.deactivated and (robot.collision or robot.reach_goal):
                robot.deactivated = True
                events.append((t, i, rewards[i], infos[i]["state"]))
    expected = [
        (14, 1, -5.653857368745824),
        (14, 4, -4.418876155305375),
        (18, 3, -6.569860504746549),
        (33, 0, -5.404984145038506),
        (33, 2, -4.74859965147539),
        (181, 5, -3.3373109276765107),
    ]
    assert [event[:2] for event in events] == [event[:2] for event in expected]
    assert [event[2] for event in events] == close([event[2] for event in expected])
    assert {event[3] for event in events} == {"collision"}
    assert returns.tolist() == close(
        [
            -12.099202754557952,
            -22.86206309824084,
            -1.415256740687945,
            -4.5987208835839715,
            -15.01741492431697,
            1.153936651532589,
        ]
    )
    assert [len(robot.trajectory) for robot in env.robots] == [35, 16, 35, 20, 16, 183]
    assert [len(robot.observation_history) for robot in env.robots] == [183] * 6
    assert env.check_all_deactivated()
    assert env.check_any_collision()


def check_state_at_19(robot: Robot) -> None:
    assert (robot.x, robot.y, robot.theta) == close(
        (38.79748090010589, 56.11892500875282, 1.5981789372996105)
    )
    assert robot.velocity_r.tolist() == close([-0.5290642282338186, -2.2384299526231035, 0.07093661086709109])
    assert robot.velocity.tolist() == close([-0.39619791378103086, -2.3515298663716107, 0.07267697529982231])
    assert (robot.left_thrust, robot.right_thrust) == (-500, -500)
