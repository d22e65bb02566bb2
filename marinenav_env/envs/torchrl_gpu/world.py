"""`VectorWorld`: E environments of up to R robots, all in tensors, on any device."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.torchrl_gpu.compilation import compile_whole
from marinenav_env.envs.torchrl_gpu.episodes import (
    EpisodeTensors,
    default_constants,
    default_params,
    map_params,
    read_episodes,
    write_episodes,
)
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, NoiseKeys, Radii, draw_noise, radius_maps
from marinenav_env.envs.torchrl_gpu.ops.scenario import Request, generate
from marinenav_env.envs.torchrl_gpu.ops.vessel import step_energy
from marinenav_env.envs.torchrl_gpu.pool import ScenarioPool
from marinenav_env.envs.torchrl_gpu.state import (
    MapParams,
    Observation,
    StepResult,
    WorldParams,
    WorldState,
)
from marinenav_env.envs.torchrl_gpu.step import world_begin, world_step

Tree = TypeVar("Tree")

POOL_SIZE = 1024  # beginnings drawn ahead at least
# the index of a lookup is in range by construction; testing it in the graph takes longer than looking up
COMPILE = {"dynamic": False, "options": {"assert_indirect_indexing": False}}
DRAW_SIZE = 1024  # scenarios drawn in one go: more would leave the cache of a CPU
GPU_DRAW_SIZE = 16_384  # there, as many as keep it busy


class Stage(NamedTuple):
    """What a scenario asks for: a curriculum stage, or the attributes of `MarineNavEnv3`."""

    num_robots: int = 6
    num_cores: int = 8
    num_obs: int = 8
    min_start_goal_dis: float = 30.0


class VectorWorld:
    """The mathematics of `MarineNavEnv3` for E environments at once.

    Robots are the axis R of every tensor, environments the last axis E; scenarios with fewer robots leave the
    tail absent. A step loops over sub-steps only, asks the host nothing and has shapes that depend on nothing
    but (R, C, O, E), so that `torch.compile` takes it whole and a change of stage recompiles nothing.

    Robots that collided or arrived leave the water at the end of the step (Quirk W22: the legacy environment
    leaves that to the caller). Randomness comes from a counter-based generator for the sensors and a
    `torch.Generator` for scenarios, both from `seed`; no global generator is touched.

    Args:
        num_envs: environments E.
        max_robots: robot slots R.
        max_cores: vortex slots C; None for what the schedule needs. They grow when a scenario needs more,
            which compiles the step anew.
        max_obstacles: obstacle slots O, likewise.
        schedule: legacy curriculum (environment spec 5); without one see `set_scenario`.
        continuous: actions are thrust change commands; else indices of 25.
        device: of all tensors.
        dtype: float32 or float64.
        seed: of all draws.
        compile: compile the step, at its first call.

    Attributes:
        state: `WorldState`; a step replaces it, a reset writes into it.
        observation: current `Observation`, that of new episodes where a reset took place.
        params: `WorldParams`.
        total_timesteps: steps of all environments together; it selects the stage.

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
        schedule: dict[str, Sequence] | None = None,
        continuous: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
        compile: bool = False,
    ):
        for name, value in (("num_envs", num_envs), ("max_robots", max_robots)):
            if value < 1:
                raise ValueError(f"{name} is {value}; allowed are 1 and more")
        self.num_envs, self.max_robots, self.continuous = num_envs, max_robots, continuous
        self.device, self.dtype = torch.device(device), dtype
        self._stages = [Stage()] if schedule is None else _stages_of(schedule)
        self._thresholds = None if schedule is None else list(schedule["timesteps"])
        self._slots = [
            max(stage.num_cores for stage in self._stages) if max_cores is None else max_cores,
            max(stage.num_obs for stage in self._stages) if max_obstacles is None else max_obstacles,
        ]
        self.total_timesteps = 0
        self._pinned = False
        self._stage_index = torch.zeros(num_envs, dtype=torch.int64)
        self._constants = [{**default_constants(), "seed": seed}] * num_envs
        self._pool: ScenarioPool | None = None
        self._set_robots(default_params(num_envs))
        self.seed(seed)
        self._step = _noisy_step
        if compile:
            self.compile()
        self.state: WorldState | None = None
        self.observation: Observation | None = None

    def seed(self, seed: int) -> None:
        """Start all draws anew; the running episodes go on."""
        self._keys = NoiseKeys(seed, self.device)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._pool = None

    def compile(self, **kwargs: Any) -> None:
        """Compile the step with arguments of `torch.compile`; the first step then takes up to a minute."""
        self._step = compile_whole(_noisy_step, **{**COMPILE, **kwargs})

    @property
    def collision_penalty(self) -> float:
        """Reward of a collision; set it for all environments, until episodes with their own are loaded."""
        return self._constants[0]["collision_penalty"]

    @collision_penalty.setter
    def collision_penalty(self, value: float) -> None:
        self._constants = [{**constants, "collision_penalty": value} for constants in self._constants]
        row = MapParams._fields.index("collision_penalty")
        for params in (self._params64, self.params):
            params.map[row] = value

    @property
    def stage(self) -> Stage:
        """What environment 0 asks for at its next reset."""
        self._follow_schedule()
        return self._stages[int(self._stage_index[0])]

    def set_scenario(self, stage: Stage) -> None:
        """Ask for other scenarios from the next reset on, without a schedule.

        Raises:
            ValueError: with a schedule, which decides this itself; or for more robots than slots.
        """
        if self._thresholds is not None:
            raise ValueError(f"scenario {stage} given; the schedule decides, allowed is set_stage")
        if not 1 <= stage.num_robots <= self.max_robots:
            raise ValueError(
                f"num_robots is {stage.num_robots}; allowed are 1 to max_robots={self.max_robots}"
            )
        self._stages, self._pool = [stage], None

    def set_stage(self, stage: int | Sequence[int] | Tensor | None) -> None:
        """Pin environments to stages of the schedule, from their next reset on.

        Args:
            stage: index for all, or one for each environment; None to follow `total_timesteps` again.

        Raises:
            ValueError: for an index that the schedule does not have, or another number of them.
        """
        self._pinned = stage is not None
        if stage is None:
            return
        index = torch.as_tensor(stage, dtype=torch.int64, device="cpu")
        if index.ndim > 1 or (index.ndim == 1 and len(index) != self.num_envs):
            raise ValueError(f"stage has shape {tuple(index.shape)}; allowed are () and ({self.num_envs},)")
        if not 0 <= int(index.min()) <= int(index.max()) < len(self._stages):
            raise ValueError(f"stage is {stage}; allowed are 0 to {len(self._stages) - 1}")
        self._choose_stages(index)

    def reset(self, mask: Tensor | None = None) -> Observation:
        """Begin new episodes where `mask` (bool [E]) says, everywhere without one.

        Robots of new episodes have the default constants, maps keep those loaded (environment spec 4.1).
        """
        if mask is None or self.state is None:
            mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self._follow_schedule()
        self._grow_slots(max(s.num_cores for s in self._stages), max(s.num_obs for s in self._stages))
        if self._pool is None:
            self._pool = self._new_pool()
        self._forget_loaded_robots(mask)
        columns = self._pool.take(mask)
        if self.state is None:
            fresh = tree_map(lambda leaf: leaf.index_select(-1, columns), self._pool.beginnings)
            self.state, self.observation = fresh
        else:
            state, observation = self._pool.beginnings
            # what was given out stays as it was, the state is the world's own
            old = tree_map(torch.clone, self.observation) if self.device.type == "cpu" else self.observation
            self.observation = _replace(old, observation, mask, columns)
            self.state = _replace(self.state, state, mask, columns)
        return self.observation

    def load(self, episodes: list[dict], noise: Noise | None = None) -> Observation:
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
        tensors = read_episodes(episodes, self.max_robots, *self._slots)
        self._constants, self._pool = tensors.constants, None
        self._slots = [tensors.scenario.cores.shape[1], tensors.scenario.obstacles.shape[1]]
        self._set_robots(WorldParams(tensors.robot, tensors.thrust_change, map_params(tensors.constants)))
        scenario = tree_map(self._to_world, tensors.scenario)
        if noise is None:
            noise = self._draw_noise(self.num_envs, self._radii)
        self.state, self.observation = world_begin(scenario, self.params, noise)
        return self.observation

    def episode_data(self) -> list[dict]:
        """Episode dictionaries of all environments (environment spec 13.1); histories hold the start only.

        `num_robots` is the number that exists, so that every dictionary loads again (not so Quirk W27).
        """
        scenario = tree_map(
            lambda leaf: leaf.cpu().double() if leaf.is_floating_point() else leaf.cpu(), self.state.scenario
        )
        tensors = EpisodeTensors(
            scenario, self._params64.robot, self._params64.thrust_change, self._constants
        )
        return write_episodes(tensors)

    def step(self, action: Tensor, *, noise: Noise | None = None, mask: Tensor | None = None) -> StepResult:
        """Advance all environments by one timestep; none is reset.

        Args:
            action: commands [2, R, E] in the dtype of the world, or indices int64 [R, E].
            noise: of the sensors; None to draw it.
            mask: environments that take part, bool [E]; the result of the others has no meaning.

        Returns:
            What the step gave; `state` and `observation` have moved on.

        Raises:
            RuntimeError: before the first `reset` or `load`.
        """
        if self.state is None:
            raise RuntimeError("step before any episode has begun; call reset or load first")
        options = {"continuous": self.continuous, "substeps": self._substeps}
        if noise is None:
            keys = self._keys.next()
            state, result = self._step(keys, self._radii, self.state, self.params, action, **options)
        else:
            state, result = world_step(self.state, self.params, action, noise, **options)
        result = result._replace(
            outcome=result.outcome.to(torch.int8),
            done=result.done.bool(),
            apply_colregs=result.apply_colregs.bool(),
        )
        observation = result.observation
        if mask is not None:
            old = (self.state, self.observation)
            state, observation = _select(mask, (state, observation), old)
        self.state, self.observation = state, observation
        self.total_timesteps += self.num_envs if mask is None else int(mask.sum())
        return result

    def step_and_reset(self, action: Tensor) -> tuple[StepResult, Observation]:
        """Step, then begin new episodes where the old ones are done.

        Returns:
            What the step gave, with the true next observation; and the observation to act on next.
        """
        result = self.step(action)
        if self.device.type != "cpu" or bool(result.done.any()):
            self.reset(result.done)
        return result, self.observation

    def step_energy(self) -> Tensor:
        """Energy measure of the step just made (N·s), [R, E] (environment spec 6.5)."""
        return step_energy(self.state.motion, self.params.of_robots())

    def _follow_schedule(self) -> None:
        if self._thresholds is None or self._pinned:
            return
        # Quirk W10: below the first threshold the index is -1, which is the last stage
        passed = sum(threshold <= self.total_timesteps for threshold in self._thresholds)
        self._choose_stages(torch.tensor((passed - 1) % len(self._stages)))

    def _choose_stages(self, index: Tensor) -> None:
        index = index.expand(self.num_envs)
        if not torch.equal(index, self._stage_index):
            self._stage_index, self._pool = index.clone(), None

    def _new_pool(self) -> ScenarioPool:
        stages = torch.tensor(self._stages, dtype=torch.float64)[self._stage_index].T
        requests = torch.cat((stages, self._params64.map))
        kinds, group = requests.unique(dim=1, return_inverse=True)
        return ScenarioPool(group.to(self.device), lambda g, n: self._draw(kinds[:, g], n), POOL_SIZE)

    def _draw(self, kind: Tensor, number: int) -> tuple[WorldState, Observation]:
        """Beginnings of `number` episodes of one kind, rows of `Stage` and `MapParams`."""
        most = DRAW_SIZE if self.device.type == "cpu" else GPU_DRAW_SIZE
        parts = [
            self._draw_part(kind[:, None].expand(-1, min(most, number - first)))
            for first in range(0, number, most)
        ]
        return tree_map(lambda *leaves: torch.cat(leaves, -1), *parts)

    def _draw_part(self, kinds: Tensor) -> tuple[WorldState, Observation]:
        number = kinds.shape[1]
        params = tree_map(self._to_world, default_params(number)._replace(map=kinds[4:]))
        counts = kinds[:3].long().to(self.device)
        request = Request(*counts, self._to_world(kinds[3]), params.of_map())
        scenario = generate(request, (self.max_robots, *self._slots), self._generator)
        radii = radius_maps(params.of_robots().r_kappa, self.dtype)
        return world_begin(scenario, params, self._draw_noise(number, radii))

    def _draw_noise(self, number: int, radii: Radii) -> Noise:
        sizes = (self._slots[1], self.max_robots, number)
        return draw_noise(self._keys.next(), sizes, radii, self.dtype)

    def _to_world(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def _set_robots(self, params: WorldParams) -> None:
        """Take constants, float64 on the CPU, into use; robots that are all alike are stored once."""
        robot, change = params.robot, params.thrust_change
        if bool((robot == robot[:, :1, :1]).all() and (change == change[:, :, :1, :1]).all()):
            params = params._replace(robot=robot[:, :1, :1], thrust_change=change[:, :, :1, :1])
        self._params64 = params
        self.params = tree_map(self._to_world, params)
        named = params.of_robots()
        self._substeps = int(named.N.min()), int(named.N.max())
        self._radii = tree_map(lambda t: t.to(self.device), radius_maps(named.r_kappa, self.dtype))

    def _forget_loaded_robots(self, mask: Tensor) -> None:
        default, loaded = default_params(self.num_envs), self._params64
        if torch.equal(loaded.robot, default.robot) and torch.equal(
            loaded.thrust_change, default.thrust_change
        ):
            return
        mask, robots = mask.cpu(), (self.max_robots, self.num_envs)
        self._set_robots(
            WorldParams(
                robot=torch.where(mask, default.robot, loaded.robot.expand(-1, *robots)),
                thrust_change=torch.where(
                    mask, default.thrust_change, loaded.thrust_change.expand(-1, -1, *robots)
                ),
                map=loaded.map,
            )
        )

    def _grow_slots(self, cores: int, obstacles: int) -> None:
        grow = [max(0, cores - self._slots[0]), max(0, obstacles - self._slots[1])]
        if not any(grow):
            return
        self._slots = [old + more for old, more in zip(self._slots, grow, strict=True)]
        self._pool = None
        if self.state is not None:
            scenario = self.state.scenario
            pad = [torch.nn.functional.pad(t, (0, 0, 0, n)) for t, n in zip(scenario[2:4], grow, strict=True)]
            self.state = self.state._replace(scenario=scenario._replace(cores=pad[0], obstacles=pad[1]))


def _noisy_step(
    keys: Tensor,
    radii: Radii,
    state: WorldState,
    params: WorldParams,
    action: Tensor,
    *,
    continuous: bool,
    substeps: tuple[int, int],
) -> tuple[WorldState, StepResult]:
    """Draw the noise and step: what is compiled."""
    sizes = (state.scenario.obstacles.shape[1], *state.active.shape)
    noise = draw_noise(keys, sizes, radii, state.motion.dtype)
    return world_step(state, params, action, noise, continuous=continuous, substeps=substeps)


def _replace(old: Tree, source: Tree, mask: Tensor, columns: Tensor) -> Tree:
    """Leaves of `old`, the columns in `mask` taken from `source`.

    On the CPU only those columns are touched, in place; elsewhere the host does not learn which they are.
    """
    if mask.device.type != "cpu":
        return tree_map(lambda o, s: torch.where(mask, s.index_select(-1, columns), o), old, source)
    chosen = mask.nonzero()[:, 0]
    columns = columns[chosen]
    return tree_map(lambda o, s: o.index_copy_(-1, chosen, s.index_select(-1, columns)), old, source)


def _select(mask: Tensor, new: Tree, old: Tree) -> Tree:
    return tree_map(lambda a, b: torch.where(mask, a, b), new, old)


def _stages_of(schedule: dict[str, Sequence]) -> list[Stage]:
    lists = (schedule[key] for key in ("num_robots", "num_cores", "num_obstacles", "min_start_goal_dis"))
    return [
        Stage(robots, max(cores, 0), max(obstacles, 0), distance)  # fewer than none are none
        for robots, cores, obstacles, distance in zip(*lists, strict=True)
    ]
