"""Many episodes side by side in the tensor world, each measured; those that have ended leave the batch.

`torchrl_gpu.evaluation.batched` plays a handful of episodes again and again while an agent trains, and keeps
their histories. This plays thousands once and keeps what they came to: an episode that runs into the time
limit takes ten times as long as the others, which do not wait for it here.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.torchrl_gpu.ops.noise import NoiseKeys, radius_maps
from marinenav_env.envs.torchrl_gpu.ops.vessel import step_energy
from marinenav_env.envs.torchrl_gpu.state import ROBOTS, Observation, WorldParams, WorldState, present
from marinenav_env.envs.torchrl_gpu.step import stepped
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from torchrl_gpu.evaluation.conduct import Conduct
from torchrl_gpu.evaluation.metrics import ENDINGS, FleetResults
from torchrl_gpu.evaluation.pieces import part, step_in_pieces, step_whole
from torchrl_gpu.evaluation.tally import Tally, greedy_actions
from torchrl_gpu.seeding import separate_draws

LOOK_EVERY = 8
"""Steps between two looks at which episodes have ended."""
CROWDED = 0.75
"""Share of a batch that must be running; below, the others leave it."""


class Seen(NamedTuple):
    """A step of a batch of E of the episodes."""

    ids: Tensor  # which episodes they are, int64 [E]
    acting: Tensor  # who acted, bool [R, E]
    observation: Observation  # before
    action: Tensor  # [2, R, E] or int64 [R, E]
    reward: Tensor  # [R, E]
    state: WorldState  # after


Look = Callable[[Seen], None]
"""Told of every step."""


class Beginning(NamedTuple):
    """Episodes at their start."""

    state: WorldState
    observation: Observation
    params: WorldParams

    @classmethod
    def of(cls, world: VectorWorld) -> "Beginning":
        """Those that have begun in a world."""
        return cls(world.state, world.observation, world.params)

    @classmethod
    def loaded(cls, episodes: list[dict], seed: int, device: str = "cpu") -> "Beginning":
        """Given episodes (environment spec 13); ``seed`` is that of the first look's noise."""
        robots = max(episode["env"]["num_robots"] for episode in episodes)
        world = VectorWorld(len(episodes), robots, seed=seed, device=device)
        world.load(episodes)
        return cls.of(world)


class Fleets(NamedTuple):
    """E episodes under way."""

    state: WorldState
    observation: Observation
    params: WorldParams
    tally: Tally
    conduct: Conduct


class Played(NamedTuple):
    """What episodes came to, and how long the policy took for its decisions."""

    start: Beginning
    tally: Tally
    conduct: Conduct
    seconds: float  # of deciding
    decisions: int


class Clock:
    """Time of a policy's decisions: of the processor on a CPU, which others may share, else of the wall."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.now = time.process_time if torch.device(device).type == "cpu" else time.perf_counter
        self.seconds, self.decisions = 0.0, 0

    def decide(self, policy: Any, observation: Observation, acting: Tensor) -> Tensor:
        """`greedy_actions`, timed."""
        before = self.now()
        action = greedy_actions(policy, observation, acting)
        if acting.device.type == "cuda":
            torch.cuda.synchronize(acting.device)
        self.seconds += self.now() - before
        self.decisions += int(acting.sum())
        return action


@torch.no_grad()
def play(
    policy: Any, start: Beginning, seed: int, look: Look | None = None, compiled: bool = False
) -> Played:
    """Play all episodes to their ends, greedily, and measure them; the same again for the same arguments.

    ``policy`` is an `Agent` or acts like one; ``seed`` is that of sensor noise and of policies that draw.
    The radius noise of all sensors is alike. A ``compiled`` step draws other noise.
    """
    state, device = start.state, start.state.motion.device
    fleets = Fleets(*start, Tally.new(state), Conduct.new(state))
    whole, ids, clock = fleets[3:], torch.arange(state.motion.shape[-1], device=device), Clock(device)
    advance = _stepper(policy, start.params, seed, clock, step_in_pieces if compiled else step_whole)
    with separate_draws(seed, device), policy.learner.acting_mode(use_eval=True):
        for t in range(EPISODE_LIMIT + 1):
            before = fleets.observation
            fleets, *done = advance(fleets, policy.GAMMA**t)
            if look is not None:
                acting, action, reward = done
                look(Seen(ids, acting, before, action, reward, fleets.state))
            if (t + 1) % LOOK_EVERY == 0:
                running = fleets.tally.running
                if not running.any():
                    break
                if running.float().mean() < CROWDED:
                    whole = _written(whole, fleets[3:], ids)
                    fleets, ids = part(fleets, running, len(running)), ids[running]
    return Played(start, *_written(whole, fleets[3:], ids), clock.seconds, clock.decisions)


def _stepper(
    policy: Any, params: WorldParams, seed: int, clock: Clock, step: Callable[..., tuple[Tensor, ...]]
) -> Callable[[Fleets, float], tuple[Fleets, Tensor, Tensor, Tensor]]:
    """A function that steps fleets, given the discount of the step; who acted, actions and rewards, too."""
    keys = NoiseKeys(seed, params.robot.device)
    robot = params.of_robots()
    radii = radius_maps(robot.r_kappa[:1, :1], params.robot.dtype)
    # The return is that of the legacy rewards: no further terms.
    options = {
        "continuous": policy.continuous,
        "substeps": (int(robot.N.min()), int(robot.N.max())),
        "terms": (),
    }

    def advance(fleets: Fleets, discount: float) -> tuple[Fleets, Tensor, Tensor, Tensor]:
        before, running = fleets.state, fleets.tally.running
        acting = (before.active > 0) & running
        action = clock.decide(policy, fleets.observation, acting)
        leaves = step(keys, radii, before, fleets.params, action, **options)
        now, result = stepped(before.scenario, leaves)
        robot = fleets.params.of_robots()
        energy = step_energy(now.motion, robot)
        tally = fleets.tally.counted(acting, discount * result.reward, energy, now)
        conduct = fleets.conduct.after(before, now, robot, acting, running)
        fleets = Fleets(now, result.observation, fleets.params, tally, conduct)
        return fleets, acting, action, result.reward

    return advance


def _written(whole: Any, part: Any, ids: Tensor) -> Any:
    """The measures of all episodes, with those of some, ``ids``, brought up to date."""
    return tree_map(lambda leaf, new: leaf.index_copy(-1, ids, new), whole, part)


def results_of(played: Played) -> FleetResults:
    """One number an episode of what was played."""
    tally, conduct, robot = played.tally, played.conduct, played.start.params.of_robots()
    scenario = played.start.state.scenario
    exists = present(scenario.counts[ROBOTS], tally.steps.shape[0])
    straight = (scenario.goal - scenario.initial[:2]).norm(dim=0) - robot.goal_dis
    means = [tally.returns, tally.steps * (robot.dt * robot.N), tally.energies]
    means = [(values.sum(0) / scenario.counts[ROBOTS]) for values in means]
    time_out, success = ENDINGS.index("time-out"), ENDINGS.index("success")
    ending = torch.full_like(scenario.counts[ROBOTS], time_out)
    for kind, hit in (("buoy hit", conduct.hit_buoy), ("vessel hit", conduct.hit_vessel)):
        ending = torch.where(hit, ENDINGS.index(kind), ending)
    ending = torch.where(tally.success, success, ending)
    sums = [conduct.paths.sum(0), torch.where(exists, straight, 0.0).sum(0)]
    gaps = [conduct.vessel_gap, conduct.buoy_gap]
    duties = [conduct.duties.ended.sum(0), conduct.duties.kept.sum(0)]
    return FleetResults(*(values.cpu().numpy() for values in (ending, *means, *sums, *gaps, *duties)))
