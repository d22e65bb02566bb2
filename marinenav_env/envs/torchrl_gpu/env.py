"""The TorchRL face of either world."""

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import EnvBase

from marinenav_env.envs.torchrl_gpu import specs
from marinenav_env.envs.torchrl_gpu.numpy_worlds import NumpyBackend
from marinenav_env.envs.torchrl_gpu.torch_backend import TorchBackend

BACKENDS = {"numpy": NumpyBackend, "torch": TorchBackend}
DTYPES = (torch.float32, torch.float64)
SCHEDULE_KEYS = ("timesteps", "num_robots", "num_cores", "num_obstacles", "min_start_goal_dis")
DEFAULT_NUM_ROBOTS = 6  # of `MarineNavEnv3`, environment spec 1.1


def _world_attribute(name: str, minimum: float, doc: str) -> property:
    """Legacy attribute of the worlds, read and written through the environment."""

    def read(env: "MarineNavTorchRLEnv") -> Any:
        return env.backend.get(name)

    def write(env: "MarineNavTorchRLEnv", value: Any) -> None:
        if env.schedule is not None:
            raise ValueError(f"{name} is given as {value}; allowed is what the schedule says")
        if name == "num_robots" and value > env.max_robots:
            raise ValueError(f"num_robots is {value}; allowed are 1 to max_robots={env.max_robots}")
        if value < minimum:
            raise ValueError(f"{name} is {value}; allowed are {minimum} and more")
        env.backend.set(name, value)

    return property(read, write, doc=doc)


class MarineNavTorchRLEnv(EnvBase):
    """E environments of up to R robots each, ``batch_size == [E]``.

    The keys are those of `specs`; all robots are one group (``group_map``). The root ``done`` drives resets.
    A robot that collides or arrives gets its true next observation, is then deactivated, and from the next
    step on has zero observations, an empty mask and zero reward. A transition is a robot's own where the
    root ``("agents", "active")`` is true, so the terminal one of every robot appears exactly once.

    The cut-off is the legacy one: the 1001st step reports "too long episode" (environment spec 12). There the
    environment is truncated, all robots are ``done``, and those still in the water are not ``terminated``.

    With a schedule, the stage follows ``total_timesteps``, which counts the steps of all environments
    together: a vector step is E timesteps, so any E reaches a stage after the same number of timesteps.

    Args:
        num_envs: number of environments E.
        backend: ``"numpy"``: E independent `MarineNavEnv3` (``worlds``), the reference, exact;
            ``"torch"``: one `VectorWorld`, all robots in tensors, fast.
        seed: seed of the environment's own generators. With the NumPy backend environment k is
            ``MarineNavEnv3(seed + k)``. No global generator is touched.
        schedule: legacy curriculum (environment spec 5): a dictionary of equally long lists. Without one,
            ``num_robots``, ``num_cores``, ``num_obs`` and ``min_start_goal_dis`` are set on the environment
            before a reset, as on `MarineNavEnv3`.
        is_eval_env: record the histories of `MarineNavEnv3` (NumPy backend).
        continuous: actions are two thrust change commands in [-1, 1], not clipped; else one of 25 indices.
        max_robots: robot rows R. Default: the largest number in the schedule; without one 6.
        device: where tensors live.
        dtype: ``torch.float32`` or ``torch.float64``, of observations, rewards and continuous actions.
        compile: compile the step of the torch backend: True, or a dictionary of arguments of `torch.compile`.
            (`EnvBase` takes this keyword from the constructor and calls `compile` with it.)

    Raises:
        ValueError: for an argument outside what is allowed, naming it.

    Example:
        >>> env = MarineNavTorchRLEnv(num_envs=2, max_robots=3)
        >>> env.num_robots, env.num_cores, env.num_obs = 3, 0, 2
        >>> env.rollout(5)["next", "agents", "reward"].shape
        torch.Size([2, 5, 3, 1])
    """

    num_robots = _world_attribute("num_robots", 1, "Robots a scenario asks for; at most ``max_robots``.")
    num_cores = _world_attribute("num_cores", 0, "Vortex cores a scenario asks for.")
    num_obs = _world_attribute("num_obs", 0, "Static obstacles a scenario asks for.")
    min_start_goal_dis = _world_attribute("min_start_goal_dis", 0, "Least start-goal distance (m).")

    def __init__(
        self,
        num_envs: int = 1,
        *,
        backend: str = "numpy",
        seed: int = 0,
        schedule: dict | None = None,
        is_eval_env: bool = False,
        continuous: bool = True,
        max_robots: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        _check_arguments(num_envs, backend, seed, schedule, max_robots, dtype)
        super().__init__(device=device, batch_size=(num_envs,))
        self.schedule = schedule
        self.max_robots = max_robots or _most_robots(schedule)
        self.group_map = {specs.GROUP: [f"robot_{i}" for i in range(self.max_robots)]}
        rows = (num_envs, self.max_robots)
        self.observation_spec = specs.observation_spec(*rows, dtype, self.device)
        self.action_spec = specs.action_spec(*rows, continuous, dtype, self.device)
        self.reward_spec = specs.reward_spec(*rows, dtype, self.device)
        self.done_spec = specs.done_spec(*rows, self.device)
        self._action_shape = (*rows, 2) if continuous else rows
        self.backend = BACKENDS[backend](
            *rows,
            seed=seed,
            schedule=schedule,
            is_eval_env=is_eval_env,
            continuous=continuous,
            dtype=dtype,
            device=self.device,
        )

    @property
    def worlds(self) -> list:
        """The E `MarineNavEnv3` of the NumPy backend."""
        return self.backend.worlds

    @property
    def total_timesteps(self) -> int:
        """Steps of all environments together; settable, to resume a curriculum."""
        return self.backend.total_timesteps

    @total_timesteps.setter
    def total_timesteps(self, value: int) -> None:
        self.backend.total_timesteps = value

    @property
    def collision_penalty(self) -> float:
        """Reward of a collision, -5 in the legacy world; holds until episodes are loaded."""
        return self.backend.collision_penalty

    @collision_penalty.setter
    def collision_penalty(self, value: float) -> None:
        self.backend.collision_penalty = value

    def set_stage(self, stage: int | Sequence[int] | torch.Tensor | None) -> None:
        """Pin environments to stages of the schedule, from their next reset on (torch backend).

        Args:
            stage: index for all, or one for each environment; None to follow `total_timesteps` again.

        Raises:
            ValueError: for the NumPy backend, or an index that the schedule does not have.
        """
        self.backend.set_stage(stage)

    def reset_with_eval_configs(self, episodes: list[dict]) -> TensorDict:
        """Reset environment k to the k-th episode dictionary (environment spec 13.2).

        Args:
            episodes: exactly E dictionaries as `episode_data` gives them; numbers of robots may differ.

        Returns:
            The first observations, a TensorDict as `reset` returns.

        Raises:
            ValueError: for another number of dictionaries, or more robots than ``max_robots``.
        """
        (num_envs,) = self.batch_size
        if len(episodes) != num_envs:
            raise ValueError(f"episodes has {len(episodes)} entries; allowed are exactly num_envs={num_envs}")
        most = max(episode["env"]["num_robots"] for episode in episodes)
        if most > self.max_robots:
            raise ValueError(f"episodes ask for {most} robots; allowed are 1 to max_robots={self.max_robots}")
        return self._pack(*self.backend.reset_with_eval_configs(episodes))

    def episode_data(self) -> list[dict]:
        """Episode dictionaries of all environments (environment spec 13.1)."""
        return self.backend.episode_data()

    def compile(self, **kwargs: Any) -> "MarineNavTorchRLEnv":
        """Compile the step of the world, with arguments of `torch.compile`; returns the environment."""
        self.backend.compile(**kwargs)
        return self

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Begin new episodes in the environments that are done, within `step_and_maybe_reset`.

        TorchRL's own way mixes old and new once more, which the worlds have done already. On a GPU the mask
        goes to the world as it is, so that the host never waits to learn whether anything is done.
        """
        done = tensordict.get("done", None)
        if done is None or (done.device.type == "cpu" and not done.any()):
            return tensordict
        return tensordict.update(self._pack(*self.backend.reset(done)))

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDict:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        return self._pack(*self.backend.reset(mask))

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        action = tensordict.get((specs.GROUP, "action"))
        if action.shape != self._action_shape:
            raise ValueError(f"action has shape {tuple(action.shape)}; allowed is {self._action_shape}")
        mask = tensordict.get("_step", None)
        if (
            mask is not None
        ):  # `rollout(break_when_all_done=True)` leaves its marker in the group, then stumbles
            tensordict.get(specs.GROUP).pop("_neg_step", None)
        return self._pack(*self.backend.step(action, mask))

    def _step_proc_data(self, next_tensordict_out: TensorDict) -> TensorDict:
        """Skip TorchRL's completion of rewards and flags: all are given, in their final shapes."""
        return next_tensordict_out

    def _pack(self, robots: specs.Tensors, flags: specs.Tensors) -> TensorDict:
        rows = (*self.batch_size, self.max_robots)
        flags[specs.GROUP] = TensorDict(robots, batch_size=rows, device=self.device)
        return TensorDict(flags, batch_size=self.batch_size, device=self.device)

    def _set_seed(self, seed: int | None) -> None:
        _check_seed(seed)
        self.backend.seed(seed)


def _check_arguments(
    num_envs: int, backend: str, seed: int, schedule: dict | None, max_robots: int | None, dtype: torch.dtype
) -> None:
    if num_envs < 1:
        raise ValueError(f"num_envs is {num_envs}; allowed are 1 and more")
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; allowed are {', '.join(map(repr, BACKENDS))}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype}; allowed are {', '.join(map(str, DTYPES))}")
    _check_seed(seed)
    if max_robots is not None and max_robots < 1:
        raise ValueError(f"max_robots is {max_robots}; allowed are 1 and more")
    if schedule is not None:
        _check_schedule(schedule, max_robots)


def _check_seed(seed: int | None) -> None:
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; allowed are integers from 0 to 2**32 - 1")


def _check_schedule(schedule: dict, max_robots: int | None) -> None:
    if missing := [key for key in SCHEDULE_KEYS if key not in schedule]:
        raise ValueError(f"schedule lacks {missing}; required are {list(SCHEDULE_KEYS)}")
    lengths = {key: len(schedule[key]) for key in SCHEDULE_KEYS}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"schedule lists have lengths {lengths}; allowed are equal lengths of 1 and more")
    if (fewest := min(schedule["num_robots"])) < 1:
        raise ValueError(f"schedule has {fewest} in 'num_robots'; allowed are 1 and more")
    most = max(schedule["num_robots"])
    if max_robots is not None and max_robots < most:
        raise ValueError(f"max_robots is {max_robots}; allowed are {most} and more with this schedule")


def _most_robots(schedule: dict | None) -> int:
    return DEFAULT_NUM_ROBOTS if schedule is None else max(schedule["num_robots"])
