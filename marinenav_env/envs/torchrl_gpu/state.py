"""What `VectorWorld` carries: state, episodes and constants of E environments as plain tensors.

Everything is a structure of arrays with the environments as the last, contiguous axis: ``[rows, R, E]`` for
robots, ``[rows, C, E]`` for vortex cores, ``[rows, O, E]`` for obstacles. Rows are named below, so that
``motion[THETA]`` is the yaw of all robots. Named tuples, because `torch.compile` takes them apart for free.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.layout import OBJECT_ROWS, OBSERVATION_FIELDS, OBSERVATION_KEYS
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.contract.rewards import REWARDS

# Rows of ``motion``: pose, velocity relative to the water, velocity over ground (both world frame), thrusts.
X, Y, THETA, WATER_X, WATER_Y, WATER_YAW, GROUND_X, GROUND_Y, GROUND_YAW, LEFT, RIGHT = range(11)
MOTION_SIZE = 11

# Rows of ``cores`` and of ``counts``.
CORE_X, CORE_Y, CORE_CLOCKWISE, CORE_GAMMA = range(4)
ROBOTS, CORES, OBSTACLES = range(3)


class Scenario(NamedTuple):
    """Scenarios of N environments: what an episode starts with and keeps."""

    initial: Tensor  # motion at the start, [11, R, N] (m, rad, m/s, rad/s, N)
    goal: Tensor  # [2, R, N] (m)
    cores: Tensor  # x, y (m), clockwise (0 or 1), Gamma (m²/s; 0 beyond the count), [4, C, N]
    obstacles: Tensor  # x, y, radius (m), [3, O, N]
    counts: Tensor  # numbers of robots, cores and obstacles that exist, int32 [3, N]


class WorldState(NamedTuple):
    """State of E environments of R robots each; flags are int32 0 or 1, [R, E]."""

    scenario: Scenario
    motion: Tensor  # [11, R, E], rows as above; the velocity over ground lags one sub-step (Quirk W12)
    active: Tensor  # robot exists and is in the water
    collision: Tensor  # sticky (Quirk W16)
    reach_goal: Tensor  # sticky (Quirk W16)
    outcome: Tensor  # `Outcome` of the last step, NORMAL or ABSENT before the first, int32 [R, E]
    timesteps: Tensor  # of the episode so far, int32 [E]


Observation = NamedTuple("Observation", [(key, Tensor) for key in (*OBSERVATION_FIELDS, "num_objects")])
"""What the robots perceive, robot frame, zero where inactive (environment spec 7).

Parts have the numbers and units of `contract.layout`: [7, R, E] of the own state, [5, 5, R, E] of objects,
nearest first; `num_objects` says how many of these rows are observations, int32 [R, E].
"""


def by_key(observation: Observation) -> dict[str, Tensor]:
    """The parts by the keys of `contract.layout`; which objects there are is bool [5, R, E]."""
    *parts, count = observation
    rows = torch.arange(OBJECT_ROWS, dtype=count.dtype, device=count.device)
    found = dict(zip(OBSERVATION_FIELDS, parts, strict=True)) | {"objects_mask": rows[:, None, None] < count}
    return {key: found[key] for key in OBSERVATION_KEYS}


class StepResult(NamedTuple):
    """What a step returns; the observation is the true next one, no environment has been reset."""

    observation: Observation  # of all in the water during this step, those who finish with it included
    reward: Tensor  # [R, E], zero where inactive (Quirk W21: the legacy zero is an integer)
    outcome: Tensor  # `Outcome` numbers, int32 [R, E]
    done: Tensor  # every robot has finished, or the cut-off was reached, int32 [E]
    apply_colregs: Tensor  # a COLREGs penalty is in force, int32 [R, E]
    phi: Tensor  # starboard turn still needed where ``apply_colregs``, else 0 (rad), [R, E]
    refused: Tensor  # who is in the water was given no action: not finite, or no index; int32 [R, E]


class RobotParams(NamedTuple):
    """Constants of each robot, [R, E] or, while all robots are alike, [1, 1] (environment spec 1.2, 1.3).

    Names and units are those of `Robot` and `Perception`. ``left_pos`` and ``right_pos`` are thruster angles,
    which no action changes.
    """

    dt: Tensor
    N: Tensor
    length: Tensor
    width: Tensor
    detect_r: Tensor
    r: Tensor
    goal_dis: Tensor
    power_coefficient: Tensor
    min_thrust: Tensor
    max_thrust: Tensor
    m: Tensor
    Izz: Tensor
    xDotU: Tensor
    yDotV: Tensor
    yDotR: Tensor
    nDotR: Tensor
    nDotV: Tensor
    xU: Tensor
    xUU: Tensor
    yV: Tensor
    yVV: Tensor
    yR: Tensor
    yRV: Tensor
    yVR: Tensor
    yRR: Tensor
    nR: Tensor
    nRR: Tensor
    nV: Tensor
    nVV: Tensor
    nRV: Tensor
    nVR: Tensor
    left_pos: Tensor
    right_pos: Tensor
    range: Tensor
    angle: Tensor
    max_obj_num: Tensor
    pos_std: Tensor
    vel_std: Tensor
    r_kappa: Tensor
    r_mean_ratio: Tensor


MAP_NAMES = (
    "width", "height", "r", "v_rel_max", "p", "v_low", "v_high", "obs_r_low", "obs_r_high", "clear_r",
)  # fmt: skip
MapParams = NamedTuple("MapParams", [(name, Tensor) for name in (*MAP_NAMES, *REWARDS)])
"""Constants of each environment, [E], names of `MarineNavEnv3`, ranges apart (environment spec 1.1)."""


class WorldParams(NamedTuple):
    """Constants of the step, packed so that a call carries few tensors."""

    robot: Tensor  # rows of `RobotParams`, [40, R, E] or [40, 1, 1]
    thrust_change: Tensor  # left and right rates of the discrete actions (N/s), [2, 5, R, E] or [2, 5, 1, 1]
    map: Tensor  # rows of `MapParams`, [M, E]

    def of_robots(self) -> RobotParams:
        """Constants of the robots by name."""
        return RobotParams(*self.robot.unbind(0))

    def of_map(self) -> MapParams:
        """Constants of the environments by name."""
        return MapParams(*self.map.unbind(0))


def present(count: Tensor, size: int) -> Tensor:
    """Which of `size` slots the first `count` [E] fill, bool [size, E]."""
    return torch.arange(size, device=count.device)[:, None] < count


def begin(scenario: Scenario) -> WorldState:
    """State at the start of an episode; flags of the first perception are not yet set."""
    exists = present(scenario.counts[ROBOTS], scenario.goal.shape[1])
    active, no = exists.int(), torch.zeros_like(exists, dtype=torch.int32)
    return WorldState(
        scenario=scenario,
        motion=scenario.initial,
        active=active,
        collision=no,
        reach_goal=no,
        outcome=torch.where(exists, Outcome.NORMAL, Outcome.ABSENT).int(),
        timesteps=torch.zeros_like(scenario.counts[ROBOTS]),
    )


def leaves_of(state: WorldState, observation: Observation) -> list[Tensor]:
    """All tensors of both, in a fixed order; environments are the last axis of each."""
    return [*state.scenario, *state[1:], *observation]


def from_leaves(leaves: Sequence[Tensor]) -> tuple[WorldState, Observation]:
    """State and observation of `leaves_of`."""
    first, second = len(Scenario._fields), len(Scenario._fields) + len(WorldState._fields) - 1
    scenario = Scenario(*leaves[:first])
    return WorldState(scenario, *leaves[first:second]), Observation(*leaves[second:])
