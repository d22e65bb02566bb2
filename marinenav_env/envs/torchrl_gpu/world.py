"""`VectorWorld`: E environments of up to R robots, all in tensors, on any device."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.contract.outcome import ending_flags
from marinenav_env.envs.contract.rewards import REWARDS
from marinenav_env.envs.contract.stage import Schedule, Stage
from marinenav_env.envs.torchrl_gpu.compilation import compile_whole
from marinenav_env.envs.torchrl_gpu.curriculum import Curriculum
from marinenav_env.envs.torchrl_gpu.draws import Draws
from marinenav_env.envs.torchrl_gpu.episodes import read_episodes
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise
from marinenav_env.envs.torchrl_gpu.ops.vessel import step_energy
from marinenav_env.envs.torchrl_gpu.params import Constants
from marinenav_env.envs.torchrl_gpu.pool import ScenarioPool
from marinenav_env.envs.torchrl_gpu.refusals import Refusals
from marinenav_env.envs.torchrl_gpu.specs import Rows
from marinenav_env.envs.torchrl_gpu.state import (
    Observation,
    StepResult,
    WorldParams,
    WorldState,
    by_key,
    from_leaves,
    leaves_of,
)
from marinenav_env.envs.torchrl_gpu.step import noisy_step, stepped, world_begin, world_step

POOL_SIZE = 1024  # beginnings drawn ahead at least
POOL_SLOTS = 64  # slots of a scenario up to which it is that many
# the index of a lookup is in range by construction; testing it in the graph takes longer than looking up
COMPILE = {"dynamic": False, "options": {"assert_indirect_indexing": False}}


class VectorWorld:
    """The mathematics of `MarineNavEnv3` for E environments at once.

    Inside, robots are the axis R of every tensor, environments the last axis E: that is what `state`,
    `observation`, `begin` and `advance` hold. `reset`, `load` and `step` take and give the rows of the schema
    (see `specs`), views with the axes turned that nothing writes into later. Scenarios with fewer robots
    leave the tail absent. A step loops over sub-steps only, asks the host nothing and has shapes that depend
    on nothing but (R, C, O, E), so that `torch.compile` takes it whole and a change of stage recompiles
    nothing.

    Robots that collided or arrived leave the water at the end of the step (Quirk W22: the legacy environment
    leaves that to the caller). Randomness comes from a counter-based generator for the sensors and a
    `torch.Generator` for scenarios, both from `seed`; no global generator is touched.

    Args:
        num_envs: environments E.
        max_robots: robot slots R.
        max_cores: vortex slots C; None for what the schedule needs. They grow when a scenario needs more,
            which compiles the step anew.
        max_obstacles: obstacle slots O, likewise.
        schedule: legacy curriculum (environment spec 5); without one `stage` may be set.
        rewards: weights of reward terms that differ from those of the legacy world.
        continuous: actions are thrust change commands; else indices of 25.
        device: of all tensors.
        dtype: float32 or float64.
        seed: of all draws.
        compile: compile the step, at its first call: True, or a dictionary of arguments of `compile`.

    Attributes:
        state: `WorldState`; a step replaces it, a reset writes into it.
        observation: current `Observation`, that of new episodes where a reset took place.

    Raises:
        ValueError: for numbers of environments or robots below one.
    """

    def __init__(
        self,
        num_envs: int,
        max_robots: int,
        max_cores: int | None = None,
        max_obstacles: int | None = None,
        *,
        schedule: Schedule | None = None,
        rewards: Mapping[str, float] | None = None,
        continuous: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
        compile: bool | dict[str, Any] = False,
    ):
        for name, value in (("num_envs", num_envs), ("max_robots", max_robots)):
            if value < 1:
                raise ValueError(f"{name} is {value}; allowed are 1 and more")
        self.num_envs, self.max_robots, self.continuous = num_envs, max_robots, continuous
        self.device, self.dtype = torch.device(device), dtype
        self._curriculum = Curriculum(num_envs, max_robots, schedule)
        cores, obstacles = self._curriculum.slots
        self._slots = (
            max_robots,
            cores if max_cores is None else max_cores,
            obstacles if max_obstacles is None else max_obstacles,
        )
        self._count = np.zeros(1, dtype=np.int64)
        self._timesteps = torch.from_numpy(self._count)  # a graph would be made anew for each number
        self.seed(seed)
        self._constants = Constants(num_envs, self._draws.to_world, {**(rewards or {}), "seed": seed})
        self._refusals = Refusals((max_robots, num_envs), continuous, self.device)
        self._step = noisy_step
        if compile:
            self.compile(**(compile if isinstance(compile, dict) else {}))
        self.state: WorldState | None = None
        self.observation: Observation | None = None

    def seed(self, seed: int) -> None:
        """Start all draws anew; the running episodes go on."""
        self._draws = Draws(seed, self.device, self.dtype)
        self._pool: ScenarioPool | None = None

    def compile(self, **kwargs: Any) -> None:
        """Compile the step with arguments of `torch.compile`; the first step then takes up to a minute.

        ``optional=True`` goes on without where that fails.
        """
        self._step = compile_whole(noisy_step, f"the step of {self.num_envs} worlds", **{**COMPILE, **kwargs})

    @property
    def total_timesteps(self) -> int:
        """Steps of all environments together; it selects the stage."""
        return int(self._timesteps)

    @total_timesteps.setter
    def total_timesteps(self, value: int) -> None:
        self._timesteps.fill_(value)

    @property
    def params(self) -> WorldParams:
        """Constants of robots and maps."""
        return self._constants.params

    @property
    def rewards(self) -> dict[str, float]:
        """Weights of the reward terms in environment 0; a loaded episode brings its own."""
        return {name: self._constants.of_map[name] for name in REWARDS}

    @property
    def placed(self) -> Tensor:
        """How many robots, cores and obstacles found room in each environment, int32 (E, 3)."""
        return self.state.scenario.counts.T

    # ---- what scenarios ask for -------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """What environment 0 asks for at its next reset; settable without a schedule, for all of them.

        Raises:
            ValueError: set with a schedule, which decides this itself; or to more robots than slots.
        """
        self._curriculum.follow(self.total_timesteps)
        return self._curriculum.stages[int(self._curriculum.index[0])]

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._curriculum.ask(stage)

    def pin(self, stage: int | Sequence[int] | Tensor | None) -> None:
        """Pin environments to stages of the schedule, from their next reset on.

        Args:
            stage: index for all, or one for each environment; None to follow `total_timesteps` again.

        Raises:
            ValueError: for an index that the schedule does not have, or another number of them.
        """
        self._curriculum.pin(stage)

    # ---- episodes ---------------------------------------------------------------------------------------

    def reset(self, mask: Tensor | None = None) -> Rows:
        """Begin new episodes where `mask`, bool (E, 1) or (E,), says, everywhere without one.

        Robots of new episodes have the default constants, maps keep those loaded (environment spec 4.1).
        """
        self.begin(mask)
        return self._rows()

    def begin(self, mask: Tensor | None = None) -> Observation:
        """As `reset`, in the layout of the world."""
        if mask is None or self.state is None:
            mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        mask = mask.reshape(-1).to(self.device, torch.bool)
        self._curriculum.follow(self.total_timesteps)
        self._grow_slots(*self._curriculum.slots)
        if not self._pool_serves:
            self.check()  # the host waits here anyway
            self._pool = self._new_pool()
        self._constants.forget_robots(mask, self.max_robots)
        leaves = None
        if self.state is not None:
            # what was given out stays as it was, the state is the world's own
            seen = map(torch.clone, self.observation) if self.device.type == "cpu" else self.observation
            leaves = leaves_of(self.state, seen)
        leaves = self._pool.begin(mask, leaves)
        self.state, self.observation = from_leaves(leaves)
        return self.observation

    def load(self, episodes: list[dict], noise: Noise | None = None) -> Rows:
        """Begin environment k with the k-th episode dictionary (environment spec 13.2); sizes may differ.

        Args:
            episodes: exactly E dictionaries, as `episode_data` gives them.
            noise: of the first observation; None to draw it.

        Raises:
            ValueError: for another number of dictionaries, more robots than slots, or a constant that this
                world cannot carry.
            KeyError: a key is missing.
            IndexError: a list has fewer entries than the scenario needs.
        """
        if len(episodes) != self.num_envs:
            raise ValueError(f"{len(episodes)} episodes given; allowed are exactly num_envs={self.num_envs}")
        tensors = read_episodes(episodes, *self._slots)
        self._pool = None
        self._slots = (
            self.max_robots,
            tensors.scenario.cores.shape[1],
            tensors.scenario.obstacles.shape[1],
        )
        self._constants.load(tensors)
        scenario = tree_map(self._draws.to_world, tensors.scenario)
        if noise is None:
            noise = self._draws.noise(self._slots, self.num_envs, self._constants.radii)
        self.state, self.observation = world_begin(scenario, self.params, noise)
        return self._rows()

    def episode_data(self) -> list[dict]:
        """Episode dictionaries of all environments (environment spec 13.1); histories hold the start only.

        `num_robots` is the number that exists, so that every dictionary loads again (not so Quirk W27).
        """
        return self._constants.dictionaries(self.state.scenario)

    @property
    def _pool_serves(self) -> bool:
        return self._pool is not None and self._pool_of == self._curriculum.changes

    def _new_pool(self) -> ScenarioPool:
        self._pool_of = self._curriculum.changes
        requests = torch.cat((self._curriculum.requests(), self._constants.exact.map))
        kinds, group = requests.unique(dim=1, return_inverse=True)
        return ScenarioPool(
            group.to(self.device),
            lambda g, number: self._draws.beginnings(kinds[:, g], number, self._slots),
            POOL_SIZE * POOL_SLOTS // max(POOL_SLOTS, sum(self._slots)),
        )

    def _grow_slots(self, cores: int, obstacles: int) -> None:
        robots, *old = self._slots
        grow = [max(0, cores - old[0]), max(0, obstacles - old[1])]
        if not any(grow):
            return
        self._slots, self._pool = (robots, old[0] + grow[0], old[1] + grow[1]), None
        if self.state is not None:
            scenario = self.state.scenario
            pad = [torch.nn.functional.pad(t, (0, 0, 0, n)) for t, n in zip(scenario[2:4], grow, strict=True)]
            self.state = self.state._replace(scenario=scenario._replace(cores=pad[0], obstacles=pad[1]))

    # ---- steps ------------------------------------------------------------------------------------------

    def step(self, action: Tensor, mask: Tensor | None = None) -> Rows:
        """Move the environments that `mask`, bool (E, 1) or (E,), selects, all without one; none is reset.

        Args:
            action: (E, R, 2) thrust change commands or (E, R) indices, on any device.
            mask: see above.

        Returns:
            As `reset`, the robots' tensors with their reward.
        """
        chosen = None if mask is None else mask.reshape(-1).to(self.device)
        action = action.to(self.device).permute(*reversed(range(action.ndim))).contiguous()
        reward = self.advance(action, mask=chosen).reward
        robots, flags = self._rows()
        robots["reward"] = _turned(reward if chosen is None else torch.where(chosen, reward, 0))
        return robots, flags

    def advance(
        self, action: Tensor, *, noise: Noise | None = None, mask: Tensor | None = None
    ) -> StepResult:
        """Advance all environments by one timestep, as `step`, in the layout of the world.

        Args:
            action: commands [2, R, E] in the dtype of the world, or indices int64 [R, E].
            noise: of the sensors; None to draw it.
            mask: environments that take part, bool [E]; the result of the others has no meaning.

        Returns:
            What the step gave; `state` and `observation` have moved on.

        Raises:
            RuntimeError: before the first `reset` or `load`.
            ValueError: for an invalid action. On the CPU at once, and the world stands where it stood;
                elsewhere see `check`.
        """
        if self.state is None:
            raise RuntimeError("step before any episode has begun; call reset or load first")
        if mask is not None:
            action = torch.where(mask, action, 0)  # what stands still is not looked at
        of_params = {"substeps": self._constants.substeps, "terms": self._constants.terms}
        options = {"continuous": self.continuous, **of_params}
        if noise is None:
            keys, radii = self._draws.keys.next(), self._constants.radii
            leaves = self._step(keys, radii, self.state, self.params, action, **options)
            state, result = stepped(self.state.scenario, leaves)
        else:
            state, result = world_step(self.state, self.params, action, noise, **options)
        self._refusals.add(result.refused)
        observation = result.observation
        if mask is not None:
            pairs = zip(leaves_of(state, observation), leaves_of(self.state, self.observation), strict=True)
            state, observation = from_leaves([torch.where(mask, new, old) for new, old in pairs])
        self.state, self.observation = state, observation
        made = self.num_envs if mask is None else mask.sum().cpu()
        if torch.compiler.is_compiling():
            self._timesteps += made
        else:
            self._count[0] += int(made)  # a sixth of the time of a tensor
        return result

    def step_energy(self) -> Tensor:
        """Energy measure of the step just made (N·s), [R, E] (environment spec 6.5)."""
        return step_energy(self.state.motion, self.params.of_robots())

    def check(self) -> None:
        """Raise if a robot was given an invalid action since the last look; waits for the device.

        Raises:
            ValueError: naming the first such environment and its robot.
        """
        self._refusals.check()

    def _rows(self) -> Rows:
        outcome = _turned(self.state.outcome.to(torch.int8))
        ended, flags = ending_flags(outcome)
        robots = {
            **{key: part.movedim((-1, -2), (0, 1)) for key, part in by_key(self.observation).items()},
            "active": _turned(self.state.active.bool()),
            "outcome": outcome,
            **ended,
        }
        return robots, flags

    # ---- checkpoints ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that a world of the same construction needs to go on draw for draw; not copied."""
        self.check()
        return {
            "total_timesteps": self.total_timesteps,
            "curriculum": self._curriculum.state_dict(),
            "slots": list(self._slots),
            "constants": self._constants.state_dict(),
            "draws": self._draws.state_dict(),
            "now": [] if self.state is None else leaves_of(self.state, self.observation),
            "pool": self._pool.state_dict() if self._pool_serves else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it is of another number of environments or robots.
            KeyError: a part is missing.
        """
        shapes = [list(leaf.shape[-1:]) for leaf in state["now"]]
        if any(shape != [self.num_envs] for shape in shapes) or state["slots"][0] != self.max_robots:
            raise ValueError("the tensors of the world have other shapes than those of this environment")
        self.total_timesteps = state["total_timesteps"]
        self._curriculum.load_state_dict(state["curriculum"])
        self._slots = tuple(state["slots"])
        self._constants.load_state_dict(state["constants"])
        self._draws.load_state_dict(state["draws"])
        now = from_leaves(state["now"]) if state["now"] else (None, None)
        self.state, self.observation = now
        self._pool = None
        if state["pool"]:
            self._pool = self._new_pool()
            self._pool.load_state_dict(state["pool"])


def _turned(tensor: Tensor) -> Tensor:
    """From [R, E] of the world to (E, R, 1) of the schema."""
    return tensor.T.unsqueeze(-1)
