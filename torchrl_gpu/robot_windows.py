"""n-step transitions along each robot's own stream, from vector steps in their order."""

from collections import deque
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.specs import GROUP
from torchrl_gpu.observation_scale import ObservationScale
from torchrl_gpu.rows import action_columns, observation_columns, who_acted


class Step(NamedTuple):
    """One vector step of N = E R robots, in (environment, robot) order.

    Attributes:
        state: Observations, (N, 37).
        action: (N, 2) or (N, 1).
        acted: Who was in the water, bool (N,).
        reward: (N, 1).
        done: Whose stream ends here, by a terminal or the cut-off, bool (N, 1).
        ended: Who is not bootstrapped here, bool (N, 1).
        following: Next observations, (N, 37).
    """

    state: Tensor
    action: Tensor
    acted: Tensor
    reward: Tensor
    done: Tensor
    ended: Tensor
    following: Tensor

    @classmethod
    def of(cls, step: TensorDictBase, done: str, scale: ObservationScale | None) -> "Step":
        """From what ``env.step`` returned; arguments as of `robot_rows`."""
        robots, after = step[GROUP], step["next", GROUP]
        return cls(
            observation_columns(robots, scale),
            action_columns(robots),
            who_acted(step),
            after["reward"].float().flatten(0, 1),
            after["done"].flatten(0, 1),
            after[done].flatten(0, 1),
            observation_columns(after, scale),
        )


class RobotWindows:
    """Turns vector steps into rows whose reward is an n-step return and whose next observation is n steps on.

    A window ends at the robot's terminal and at the cut-off. TorchRL's `MultiStepTransform` gives the same
    rows, a step later, and makes the host wait for a GPU at every one.

    Args:
        n: Steps of the return.
        discount: Factor between its rewards.
    """

    def __init__(self, n: int, discount: float) -> None:
        self.n = n
        self.discount = discount
        self._steps: deque[Step] = deque(maxlen=n)

    def __call__(
        self, step: TensorDictBase, done: str = "done", scale: ObservationScale | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """The windows that a vector step completes; arguments as of `robot_rows`.

        Returns:
            Rows of all robots n - 1 vector steps ago, and who of them acted, bool (E R,); None before there
            have been so many.
        """
        self._steps.append(Step.of(step, done, scale))
        if len(self._steps) < self.n:
            return None
        *earlier, last = self._steps
        total, missing, following = last.reward, self._missing(last, self.n), last.following
        for k, each in zip(range(self.n - 1, 0, -1), reversed(earlier), strict=True):
            total = each.reward + self.discount * ~each.done * total
            missing = torch.where(each.done, self._missing(each, k), missing)
            following = torch.where(each.done, each.following, following)
        first = self._steps[0]
        return torch.cat((first.state, first.action, total, missing, following), dim=1), first.acted

    def _missing(self, end: Step, k: int) -> Tensor:
        """What is missing of the bootstrapped value where a window of k steps ends, (N, 1): 1 is all of it.

        Learners discount that value by n steps; after fewer it counts for more, so less than 0 is missing.
        """
        of_shorter = 1 - self.discount ** (k - self.n) if self.discount else 0.0
        return torch.where(end.ended, 1.0, of_shorter)

    def state_dict(self) -> dict[str, list]:
        """The last steps of every robot, whose windows are not complete."""
        return {"steps": [tuple(step) for step in self._steps]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Restore a `state_dict`."""
        self._steps.clear()
        self._steps.extend(Step(*parts) for parts in state["steps"])
