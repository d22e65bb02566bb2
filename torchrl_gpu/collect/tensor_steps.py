"""Steps of any number of environments in tensors: those of throughput mode."""

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from agents.settings import Section, key
from marinenav_env.envs.contract.layout import GROUP
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.step import Lap, Step
from torchrl_gpu.learn.scale import ObservationScale
from torchrl_gpu.replay.rows import robot_rows


class StepSettings(Section):
    """What a step is to those who learn from it."""

    bootstrap_on_timeout: bool = key(
        False,
        "bootstrap where an episode was cut off, instead of treating it as terminal",
        throughput=True,
    )


class TensorSteps:
    """Explores in environments of batch ``[E]`` without end; can be left and taken up again.

    TorchRL's collector makes the same steps; it numbers trajectories and copies what it hands out, and where
    it stands is not in its state. As in the legacy schedule the cut-off is a terminal, unless
    ``bootstrap_on_timeout`` (Defect T5).
    """

    def __init__(
        self,
        env: MarineNavTorchRLEnv,
        policy: PolicyWrapper,
        lap: Lap = lambda part: None,
        settings: StepSettings = StepSettings(),  # noqa: B008 - it is frozen
    ) -> None:
        self.env = env
        self.policy = policy
        self.lap = lap
        self.done_flag = "terminated" if settings.bootstrap_on_timeout else "done"
        self._now: TensorDictBase | None = None  # what the next step acts on

    @torch.no_grad()
    def __call__(self) -> Step:
        """Act and step."""
        with set_exploration_type(ExplorationType.RANDOM):
            if self._now is None:
                self._now = self.env.reset()
                # Draw once for nothing, as TorchRL's collector did: a seed gives the run that it gave then.
                self.policy(self._now.copy())
            acting = self.policy(self._now)
            self.lap("act")
            step, self._now = self.env.step_and_maybe_reset(acting)
        self.lap("step")
        return step_of(step, self.done_flag, self.policy.scale)

    def state_dict(self) -> dict[str, Any]:
        """What the next step acts on; nothing before the first."""
        if self._now is None:
            return {}
        return {key: self._now.get((group, key)) for group, key in self.policy.in_keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`; the environments must be in their state as well."""
        rows = (*self.env.batch_size, self.env.max_robots)
        self._now = TensorDict({GROUP: TensorDict(state, rows)}, self.env.batch_size) if state else None


def step_of(step: TensorDictBase, done: str = "done", scale: ObservationScale | None = None) -> Step:
    """What ``env.step`` returned, a TensorDict of batch ``[E]``; for the other arguments see `robot_rows`."""
    after = step.get("next")
    robots = after.get(GROUP)
    return Step(
        robot_rows(step, done, scale),
        step.get((GROUP, "active")).flatten(),
        robots.get("done").flatten(),
        robots.get("reward").squeeze(-1),
        robots.get("outcome").squeeze(-1),
        after.get("done").squeeze(-1),
    )
