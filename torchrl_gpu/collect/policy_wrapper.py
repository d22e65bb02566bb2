"""An Agent as a TensorDict policy over environments and robots."""

import math
from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, exploration_type

from agents.agent import Agent
from agents.batch import State
from agents.settings import Section, key
from marinenav_env.envs.contract.layout import GROUP, OBSERVATION_KEYS
from torchrl_gpu.learn.scale import ObservationScale


class PolicySettings(Section):
    """How robots explore, besides the schedule of epsilon."""

    action_noise: float = key(
        0.0,
        "standard deviation of Gaussian noise on continuous actions",
        throughput=True,
        only=("continuous", True),
        ge=0,
        le=1,
    )
    exploring_envs: float = key(
        1.0,
        "share of the environments whose robots explore; in the others all act as in evaluations",
        throughput=True,
        gt=0,
        le=1,
    )


class PolicyWrapper(TensorDictModuleBase):
    """Acts for every active robot of a TensorDict of batch ``[E]``.

    Reads ``("agents", self_state | objects_state | objects_mask | active)``, writes ``("agents", "action")``:
    ``[E, R, 2]`` in [-1, 1] or ``[E, R]`` int64. TorchRL's exploration type decides between exploring
    (``RANDOM``, the default) and acting greedily (``DETERMINISTIC``, ``MODE``, ``MEAN``). Greedy IQN and SAC
    still draw: quantile fractions, and the actions themselves (agents spec 5).

    Args:
        agent: The agent that acts.
        settings: How it explores, where it does not act sequentially: with noise on greedy continuous
            actions, which the legacy schedule does not have, and in a share of the environments, the first.
            The robots of the others act greedily, so that the data also show vessels that do not explore.
        sequential: Act robot by robot through ``Agent.act``, with the legacy draws from the three global
            generators in the legacy order (agents spec 5). This is reproduction mode: a batched forward is
            not bit-equal to one forward per robot. Otherwise one batched forward acts, and exploration is
            drawn per robot on the device.
        scale: Scales observations before the networks see them, if given; not where it acts sequentially.
    """

    def __init__(
        self,
        agent: Agent,
        settings: PolicySettings = PolicySettings(),  # noqa: B008 - it is frozen
        *,
        sequential: bool = False,
        scale: ObservationScale | None = None,
    ) -> None:
        super().__init__()
        self.in_keys = [(GROUP, key) for key in (*OBSERVATION_KEYS, "active")]
        self.out_keys = [(GROUP, "action")]
        self.agent = agent
        self.settings = settings
        self.sequential = sequential
        self.scale = scale
        # A tensor, so that a captured or compiled policy sees each new value.
        self.register_buffer("_eps", torch.zeros((), device=agent.device))
        self._epsilon = 0.0
        if agent.continuous:
            low_high = torch.tensor(agent.value_ranges_of_action, device=agent.device).T
            self.register_buffer("_action_range", low_high)

    @property
    def eps(self) -> Tensor:
        """Exploration rate in [0, 1], 0-d on the agent's device; set by `explore_at`."""
        return self._eps

    @eps.setter
    def eps(self, value: float) -> None:
        self.explore_at(value)

    def explore_at(self, eps: float) -> None:
        """Set `eps`; quicker than by assignment, at which a module looks through all its parts."""
        if eps == self._epsilon:
            return
        if not 0.0 <= eps <= 1.0:
            raise ValueError(f"eps is {eps}, allowed is [0, 1]")
        vars(self)["_epsilon"] = eps
        self._eps.fill_(eps)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write the action of every robot; inactive robots get zeros."""
        robots = tensordict.get(GROUP)
        explore = exploration_type() in (ExplorationType.RANDOM, None)
        act = self._act_sequentially if self.sequential else self._act_batched
        robots.set("action", act(robots, explore))
        return tensordict

    def _act_sequentially(self, robots: TensorDictBase, explore: bool) -> Tensor:
        # tolist() gives Python floats: the agent rounds them to float32 once, as the legacy pipeline does.
        self_states, objects, counts, active = (
            values.flatten(0, 1).tolist()
            for values in (
                robots["self_state"],
                robots["objects_state"],
                robots["objects_mask"].sum(-1),
                robots["active"].squeeze(-1),
            )
        )
        idle = [0.0, 0.0] if self.agent.continuous else 0
        actions = [
            self.act_alone((self_state, rows[:count]), explore) if swims else idle
            for self_state, rows, count, swims in zip(self_states, objects, counts, active, strict=True)
        ]
        dtype = robots["self_state"].dtype if self.agent.continuous else torch.int64
        return torch.tensor(actions, dtype=dtype, device=robots.device).unflatten(0, robots.batch_size)

    def act_alone(self, state: State, explore: bool = True) -> Any:
        """Legacy action of one robot: with the present ``eps`` in training mode, or greedily."""
        return self.agent.act(state, self._epsilon if explore else 0.0, use_eval=not explore)

    @torch.no_grad()
    def _act_batched(self, robots: TensorDictBase, explore: bool) -> Tensor:
        observation = tuple(self._input(key, robots.get(key).flatten(0, 1)) for key in OBSERVATION_KEYS)
        with self.agent.learner.acting_mode(use_eval=not explore):
            action = self.agent.learner.greedy(observation)
        if explore:
            num_envs, max_robots = robots.batch_size
            count = math.ceil(self.settings.exploring_envs * num_envs) * max_robots
            action[:count] = self._explore(action[:count])
        if self.agent.continuous:
            action = action.to(robots.get("self_state").dtype)
        active = robots.get("active")
        action = action.unflatten(0, robots.batch_size)
        return torch.where(active if self.agent.continuous else active.squeeze(-1), action, 0)

    def _input(self, key: str, values: Tensor) -> Tensor:
        if not values.is_floating_point():
            return values
        values = values.to(self.agent.learner.dtype)
        return self.scale(key, values) if self.scale else values

    def _explore(self, greedy: Tensor) -> Tensor:
        """Replace each robot's action with probability ``eps`` by a uniform one. Shape (B, 2) or (B,)."""
        exploring = torch.rand(len(greedy), device=greedy.device) < self._eps
        if not self.agent.continuous:
            return torch.where(exploring, torch.randint_like(greedy, self.agent.action_size), greedy)
        low, high = self._action_range
        uniform = low + (high - low) * torch.rand_like(greedy)
        noise = self.settings.action_noise
        noisy = greedy + noise * torch.randn_like(greedy) if noise else greedy
        return torch.where(exploring[:, None], uniform, noisy.clamp(-1.0, 1.0))
