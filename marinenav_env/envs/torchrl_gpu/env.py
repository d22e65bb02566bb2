"""The TorchRL face of either world."""

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import EnvBase

from marinenav_env.envs.contract.rewards import reward_weights
from marinenav_env.envs.contract.stage import Schedule, Stage, check_asked, check_curriculum
from marinenav_env.envs.torchrl_gpu import specs
from marinenav_env.envs.torchrl_gpu.numpy_worlds import NumpyWorlds
from marinenav_env.envs.torchrl_gpu.picture import pictures, views_of_numpy, views_of_tensors
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

BACKENDS = {"numpy": NumpyWorlds, "torch": VectorWorld}
VIEWS = {"numpy": views_of_numpy, "torch": views_of_tensors}
DTYPES = (torch.float32, torch.float64)


def _asked(name: str, doc: str) -> property:
    def read(env: "MarineNavTorchRLEnv") -> Any:
        return getattr(env.world.stage, name)

    def write(env: "MarineNavTorchRLEnv", value: Any) -> None:
        env.ask(**{name: value})

    return property(read, write, doc=doc)


class MarineNavTorchRLEnv(EnvBase):
    """E environments of up to R robots each, ``batch_size == [E]``.

    The keys are those of `specs`; all robots are one group (``group_map``). The root ``done`` drives resets.
    A robot that collides or arrives gets its true next observation, is then deactivated, and from the next
    step on has zero observations, an empty mask and zero reward. A transition is a robot's own where the
    root ``("agents", "active")`` is true, so the terminal one of every robot appears exactly once.

    The cut-off is the legacy one: the 1001st step reports "too long episode" (environment spec 12). There the
    environment is truncated, all robots are ``done``, and those still in the water are not ``terminated``.

    With a schedule, the stage follows ``world.total_timesteps``, which counts the steps of all environments
    together: a vector step is E timesteps, so any E reaches a stage after the same number of timesteps.

    An invalid action (not finite, or no index) raises ValueError, naming environment and robot: at once,
    or, from a GPU or out of a compiled ``env.step``, at the next `VectorWorld.check`.

    Args:
        num_envs: number of environments E.
        backend: ``"numpy"``: E independent `MarineNavEnv3`, the reference, exact; ``"torch"``: one
            `VectorWorld`, all robots in tensors, fast.
        seed: seed of the environment's own generators; None for fresh entropy. With the NumPy backend
            environment k is ``MarineNavEnv3(seed + k)``. No global generator is touched.
        schedule: legacy curriculum (environment spec 5): a dictionary of equally long lists. Without one,
            what a scenario asks for is given by the next four arguments, or set on the environment before a
            reset, as on `MarineNavEnv3`.
        num_robots: robots of a scenario; default 6, or fewer if ``max_robots`` is.
        num_cores: vortex cores of a scenario; default 8.
        num_obs: static obstacles of a scenario; default 8.
        min_start_goal_dis: least distance between start and goal (m); default 30.
        is_eval_env: record the histories of `MarineNavEnv3` (NumPy backend).
        continuous: actions are two thrust change commands in [-1, 1], not clipped; else one of 25 indices.
        max_robots: robot rows R. Default: the largest number in the schedule; without one ``num_robots``.
        device: where tensors live.
        dtype: ``torch.float32`` or ``torch.float64``, of observations, rewards and continuous actions.
        compile: compile the step of the torch backend: True, or a dictionary of arguments of `compile`.
            (`EnvBase` takes this keyword from the constructor and calls `compile` with it.)
        **rewards: weights of reward terms, ``collision_penalty=-10`` for one, by the names of
            `contract.rewards`; they hold until episodes with their own are loaded.

    Attributes:
        world: `NumpyWorlds` or `VectorWorld`; everything that is not TorchRL's is asked of it.
        backend: as given.
        max_robots: R.

    Raises:
        ValueError: for an argument outside what is allowed, naming it.
        TypeError: for an argument that does not exist.

    Example:
        >>> env = MarineNavTorchRLEnv(2, num_robots=3, num_cores=0, num_obs=2, collision_penalty=-10.0)
        >>> env.rollout(5)["next", "agents", "reward"].shape
        torch.Size([2, 5, 3, 1])
    """

    num_robots = _asked("num_robots", "Robots a scenario asks for; at most ``max_robots``.")
    num_cores = _asked("num_cores", "Vortex cores a scenario asks for.")
    num_obs = _asked("num_obs", "Static obstacles a scenario asks for.")
    min_start_goal_dis = _asked("min_start_goal_dis", "Least start-goal distance (m).")

    def __init__(
        self,
        num_envs: int = 1,
        *,
        backend: str = "numpy",
        seed: int | None = None,
        schedule: Schedule | None = None,
        num_robots: int | None = None,
        num_cores: int | None = None,
        num_obs: int | None = None,
        min_start_goal_dis: float | None = None,
        is_eval_env: bool = False,
        continuous: bool = True,
        max_robots: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        **rewards: float,
    ):
        _check_arguments(num_envs, backend, seed, dtype, rewards)
        most = num_robots or Stage().num_robots
        if schedule is not None:
            _check_schedule(schedule, max_robots)
            most = max(schedule["num_robots"])
        if max_robots is not None and max_robots < 1:
            raise ValueError(f"max_robots is {max_robots}; allowed are 1 and more")
        if is_eval_env and backend != "numpy":
            raise ValueError("is_eval_env=True needs backend='numpy'; the 'torch' backend keeps no histories")
        super().__init__(device=device, batch_size=(num_envs,))
        self.backend, self.schedule = backend, schedule
        self.max_robots = max_robots or most
        rows = (num_envs, self.max_robots)
        options = {"is_eval_env": is_eval_env} if is_eval_env else {}
        self.world = BACKENDS[backend](
            *rows,
            seed=_entropy() if seed is None else seed,
            schedule=schedule,
            rewards=rewards,
            continuous=continuous,
            dtype=dtype,
            device=self.device,
            **options,
        )
        if schedule is None and num_robots is None:
            num_robots = min(most, self.max_robots)
        asked = (num_robots, num_cores, num_obs, min_start_goal_dis)
        self.ask(
            **{name: value for name, value in zip(Stage._fields, asked, strict=True) if value is not None}
        )
        self.group_map = {specs.GROUP: [f"robot_{i}" for i in range(self.max_robots)]}
        self.observation_spec = specs.observation_spec(*rows, dtype, self.device)
        self.action_spec = specs.action_spec(*rows, continuous, dtype, self.device)
        self.reward_spec = specs.reward_spec(*rows, dtype, self.device)
        self.done_spec = specs.done_spec(*rows, self.device)
        self._action_shape = (*rows, 2) if continuous else rows

    def ask(self, **stage: float) -> None:
        """Ask for other scenarios from the next reset on, by the fields of `Stage`.

        Raises:
            ValueError: for a value that is not allowed; or with a schedule, which decides this.
        """
        check_asked(self.schedule, stage)
        if (number := stage.get("num_robots", 0)) > self.max_robots:
            raise ValueError(f"num_robots is {number}; allowed are 1 to max_robots={self.max_robots}")
        if stage:
            self.world.stage = self.world.stage._replace(**stage)

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
        return self._pack(*self.world.load(episodes))

    def episode_data(self) -> list[dict]:
        """Episode dictionaries of all environments (environment spec 13.1)."""
        return self.world.episode_data()

    def render(self, side: int = 256) -> np.ndarray:
        """The environments from above as they stand, uint8 (E, side, side, 3), north up.

        A vessel has the colour of the ring about its goal and is pale once it has ended, in a red ring if by
        a collision; the water is darker where it is faster.

        Raises:
            RuntimeError: before the first reset.
            ValueError: for a ``side`` below 16.
        """
        return pictures(VIEWS[self.backend](self.world), side)

    def compile(self, **kwargs: Any) -> "MarineNavTorchRLEnv":
        """Compile the step of the world, with arguments of `torch.compile`; returns the environment."""
        self.world.compile(**kwargs)
        return self

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Begin new episodes in the environments that are done, within `step_and_maybe_reset`.

        TorchRL's own way mixes old and new once more, which the worlds have done already. On a GPU the mask
        goes to the world as it is, so that the host never waits to learn whether anything is done.
        """
        done = tensordict.get("done", None)
        if done is None or (done.device.type == "cpu" and not done.any()):
            return tensordict
        return tensordict.update(self._pack(*self.world.reset(done)))

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDict:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        return self._pack(*self.world.reset(mask))

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        action = tensordict.get((specs.GROUP, "action"))
        if action.shape != self._action_shape:
            raise ValueError(f"action has shape {tuple(action.shape)}; allowed is {self._action_shape}")
        mask = tensordict.get("_step", None)
        if mask is not None:
            # `rollout(break_when_all_done=True)` leaves its marker in the group, then stumbles
            tensordict.get(specs.GROUP).pop("_neg_step", None)
        return self._pack(*self.world.step(action, mask))

    def _step_proc_data(self, next_tensordict_out: TensorDict) -> TensorDict:
        """Skip TorchRL's completion of rewards and flags: all are given, in their final shapes."""
        return next_tensordict_out

    def _pack(self, robots: specs.Tensors, flags: specs.Tensors) -> TensorDict:
        rows = (*self.batch_size, self.max_robots)
        flags[specs.GROUP] = TensorDict(robots, batch_size=rows, device=self.device)
        return TensorDict(flags, batch_size=self.batch_size, device=self.device)

    def _set_seed(self, seed: int | None) -> None:
        _check_seed(seed)
        self.world.seed(_entropy() if seed is None else seed)


def _check_arguments(
    num_envs: int, backend: str, seed: int | None, dtype: torch.dtype, rewards: dict[str, float]
) -> None:
    if num_envs < 1:
        raise ValueError(f"num_envs is {num_envs}; allowed are 1 and more")
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; allowed are {', '.join(map(repr, BACKENDS))}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype}; allowed are {', '.join(map(str, DTYPES))}")
    _check_seed(seed)
    reward_weights(rewards)


def _entropy() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])


def _check_seed(seed: int | None) -> None:
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise ValueError(f"seed is {seed!r}; allowed are None and integers from 0 to 2**32 - 1")


def _check_schedule(schedule: Schedule, max_robots: int | None) -> None:
    check_curriculum(schedule)
    most = max(schedule["num_robots"])
    if max_robots is not None and max_robots < most:
        raise ValueError(f"max_robots is {max_robots}; allowed are {most} and more with this schedule")
