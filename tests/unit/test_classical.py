"""The classical policies: where they go, what they keep clear of, and that batches change nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.batch import Observation
from agents.classical import APF, CLASSICAL, ORCA, ClassicalPolicy
from agents.classical.autopilot import STEP, TOP_SPEED, Tuning, nearest_actions, thrust_commands
from agents.classical.orca import (
    NO_LINE,
    SLACK,
    Lines,
    best_velocity,
    least_violating,
    nearest_allowed,
)
from agents.models.files import ModelFileError
from agents.policies import CLASSICAL_NAMES, load_policy
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.constants import THRUST_CHANGES
from marinenav_env.envs.marinenav_env import Obstacle
from marinenav_env.envs.reference import imazu
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from torchrl_gpu.evaluation.fleets import Beginning, play, results_of
from torchrl_gpu.evaluation.metrics import FleetResults

POLICIES = [load_policy(name) for name in CLASSICAL_NAMES]
EPISODES = imazu.episodes()
TIMES = 6


def alone(buoys: list[tuple[float, float]] = ()) -> dict:
    """A vessel that lies across its course of 40 m, with buoys."""
    world = MarineNavEnv3(num_robots=1)
    ship = Robot()
    ship.start, ship.goal, ship.init_theta = np.array([5.0, 25.0]), np.array([45.0, 25.0]), np.pi / 2
    ship.reset_state()
    world.robots[:] = [ship]
    world.obstacles[:] = [Obstacle(x, y, 1.0) for x, y in buoys]
    return world.episode_data()


@pytest.fixture(scope="module", params=POLICIES, ids=CLASSICAL_NAMES)
def played(request: pytest.FixtureRequest) -> list[FleetResults]:
    """Open water, a vessel head-on and a buoy, each played several times with other noise."""
    kinds = [alone(), EPISODES[0], alone(buoys=[(25.0, 25.2)])]
    start = Beginning.loaded([kind for kind in kinds for _ in range(TIMES)], seed=1)
    results = results_of(play(request.param, start, seed=2))
    return [results.part(slice(k * TIMES, (k + 1) * TIMES)) for k in range(len(kinds))]


def test_in_open_water_it_goes_to_the_goal(played: list[FleetResults]) -> None:
    assert played[0].success.all()
    assert (played[0].paths / played[0].lines < 1.2).all()


def test_it_keeps_clear_of_a_vessel_that_comes_head_on(played: list[FleetResults]) -> None:
    assert played[1].success.all()
    assert (played[1].vessel_gaps > 0.5).all()


def test_it_keeps_clear_of_a_buoy_on_its_course(played: list[FleetResults]) -> None:
    assert played[2].success.all()
    assert (played[2].buoy_gaps > 0.2).all()


@pytest.mark.parametrize("policy", POLICIES, ids=CLASSICAL_NAMES)
def test_a_batch_acts_as_one_vessel_after_the_other(policy: ClassicalPolicy) -> None:
    world = VectorWorld(6, 4, seed=3)
    robots, _ = world.load([EPISODES[k] for k in (0, 3, 5, 12, 16, 18)])
    rows = Observation(
        *(robots[key].flatten(0, 1) for key in ("self_state", "objects_state", "objects_mask"))
    )
    together = policy.greedy(rows)
    seen = rows.objects_mask.sum(1)
    assert 0 in seen
    assert seen.max() > 1
    for k, number in enumerate(seen.tolist()):
        state = rows.self_state[k].tolist(), rows.objects_state[k, :number].tolist()
        one = policy.act(state)
        assert one == pytest.approx(together[k].tolist(), abs=1e-5)
        assert isinstance(one, list) is policy.continuous


@pytest.mark.parametrize("policy", [ORCA(), APF(continuous=False)])
def test_it_plays_in_the_reference_world(policy: ClassicalPolicy) -> None:
    world = MarineNavEnv3(is_eval_env=True)
    states, _, _ = world.reset_with_eval_config(alone())
    for _ in range(80):
        states, _, done, _ = world.step([policy.act(states[0])], policy.continuous)
        if done[0]:
            break
    assert world.check_all_reach_goal()


def test_the_autopilot_reaches_the_wanted_velocity() -> None:
    world = MarineNavEnv3(is_eval_env=True)
    ((own, _),), _, _ = world.reset_with_eval_config(alone())
    wanted = np.array([-1.0, 1.0])  # in the frame of the world
    for _ in range(30):
        theta = world.robots[0].theta
        cos, sin = np.cos(theta), np.sin(theta)
        body = torch.tensor([[cos * wanted[0] + sin * wanted[1], cos * wanted[1] - sin * wanted[0]]])
        command = thrust_commands(torch.tensor([own]), body.float(), Tuning())
        ((own, _),), _, _, _ = world.step([command[0].tolist()])
    assert world.robots[0].velocity[:2] == pytest.approx(wanted, abs=0.15)
    assert STEP == 0.5


def test_the_nearest_action_is_that_of_the_legacy_list() -> None:
    actions = Robot().actions
    commands = torch.tensor([[left, right] for left in THRUST_CHANGES for right in THRUST_CHANGES]) / 1000
    assert nearest_actions(commands + 0.2).tolist() == list(range(len(actions)))
    assert actions[nearest_actions(torch.tensor([[0.9, -0.3]]))[0]] == (1000.0, -500.0)


def lines(number: int, dtype: torch.dtype = torch.float32) -> Lines:
    """Random half-planes, some not in use, of many vessels some alike."""
    generator = torch.Generator().manual_seed(4)
    angle = 2 * torch.pi * torch.rand(5, number, generator=generator, dtype=dtype)
    angle[1, ::7] = angle[0, ::7]
    angle[3, ::5] = angle[2, ::5] + torch.pi
    offset = -1.6 + 3 * torch.rand(5, number, generator=generator, dtype=dtype)
    used = torch.rand(5, number, generator=generator) < 0.7
    return Lines(angle.cos(), angle.sin(), torch.where(used, offset, NO_LINE))


def violations(planes: Lines, points: torch.Tensor) -> torch.Tensor:
    """How far points [2, P, N] are on the wrong side of the worst line, [P, N]."""
    normals = planes.x[:, None], planes.y[:, None]
    return (planes.offset[:, None] - points[0] * normals[0] - points[1] * normals[1]).amax(0)


def test_the_nearest_allowed_velocity_is_that_of_a_dense_grid() -> None:
    planes = lines(60)
    wanted = torch.tensor([2.0, 0.5])[:, None].expand(2, 60)
    side = torch.linspace(-TOP_SPEED, TOP_SPEED, 267)
    grid = torch.cartesian_prod(side, side)
    grid = grid[grid.norm(dim=1) <= TOP_SPEED].T[..., None].expand(-1, -1, 60)
    allowed = violations(planes, grid) <= 0
    best = torch.where(allowed, (grid - wanted[:, None]).norm(dim=0), torch.inf).amin(0)
    velocity, found = nearest_allowed(wanted, planes)
    there = best.isfinite()
    assert 20 < there.sum() < 60
    assert found[there].all()
    distance = (velocity - wanted).norm(dim=0)
    assert (distance[there] <= best[there] + 1e-3).all()
    assert (distance[there] >= best[there] - 0.1).all()
    least = least_violating(wanted, planes)[:, ~there]
    assert (least.norm(dim=0) <= TOP_SPEED + 1e-4).all()


def corners(wanted: torch.Tensor, planes: Lines) -> torch.Tensor:
    """All places of an optimum: the wanted velocities, their projections, crossings with lines and circle."""
    x, y, offset = planes
    depth = offset - wanted[0] * x - wanted[1] * y
    first, second = torch.triu_indices(5, 5, 1)
    det = x[first] * y[second] - y[first] * x[second]
    a, b = offset[first] / det, offset[second] / det
    half = torch.sqrt(TOP_SPEED**2 - offset**2)
    return torch.stack(
        [
            torch.cat([wanted[:1, :], wanted[0] + depth * x, a * y[second] - b * y[first]]),
            torch.cat([wanted[1:, :], wanted[1] + depth * y, b * x[first] - a * x[second]]),
        ]
    ), torch.stack(
        [
            torch.cat([offset * x - half * y, offset * x + half * y]),
            torch.cat([offset * y + half * x, offset * y - half * x]),
        ]
    )


def test_line_by_line_finds_the_best_of_all_corners() -> None:
    number = 20_000
    planes = lines(number)
    generator = torch.Generator().manual_seed(5)
    angle = 2 * torch.pi * torch.rand(number, generator=generator)
    wanted = 1.6 * torch.stack((angle.cos(), angle.sin()))
    exact, goal = Lines(*(part.double() for part in planes)), wanted.double()
    points = torch.nan_to_num(torch.cat(corners(goal, exact), 1), nan=1e3, posinf=1e3, neginf=1e3)
    worst = torch.maximum(violations(exact, points), points.norm(dim=0) - TOP_SPEED)
    away = (points - goal[:, None]).norm(dim=0)
    best, loose = (torch.where(worst <= slack, away, torch.inf).amin(0) for slack in (1e-9, 2 * SLACK))
    velocity, allowed = nearest_allowed(wanted, planes)
    assert 0.3 < allowed.float().mean() < 0.95
    assert allowed[best.isfinite()].all()
    assert not allowed[loose.isinf()].any()
    distance = (velocity.double() - goal).norm(dim=0)
    assert (distance <= best + 1e-4)[best.isfinite()].all()
    assert (distance >= loose - 1e-4)[loose.isfinite() & allowed].all()


def test_who_is_allowed_all_and_who_nothing_share_a_batch() -> None:
    planes, wanted = lines(300), torch.tensor([1.6, 0.0])[:, None].expand(2, 300)
    _, allowed = nearest_allowed(wanted, planes)
    together = best_velocity(wanted, planes)
    assert 0 < (together == wanted).all(0).sum() < allowed.sum() < 300
    for k in range(300):
        alone = best_velocity(wanted[:, k : k + 1], planes.of(torch.tensor([k])))
        assert alone[:, 0].tolist() == pytest.approx(together[:, k].tolist(), abs=1e-6)
    least = least_violating(wanted, planes)
    assert torch.equal(together[:, ~allowed], least[:, ~allowed])


def test_policies_are_found_by_name_or_folder(golden: Path) -> None:
    assert isinstance(load_policy("ORCA-discrete"), ORCA)
    assert not load_policy("ORCA-discrete").continuous
    assert set(CLASSICAL) == {"APF", "ORCA"}
    assert load_policy(next((golden / "agents/checkpoints").iterdir())).agent_type
    with pytest.raises(ModelFileError):
        load_policy("RVO")
