"""n-step transitions along each robot's own stream, from vector steps in their order."""

from collections import deque
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

from marinenav_env.envs.contract.layout import GROUP
from torchrl_gpu.learn.scale import ObservationScale
from torchrl_gpu.replay.rows import OBSERVATION_SIZE, robot_rows, who_acted


class Step(NamedTuple):
    """One vector step of N = E R robots, in (environment, robot) order.

    Attributes:
        rows: What `robot_rows` makes of it.
        acted: Who was in the water, bool (N,).
        done: Whose stream ends here, by a terminal or the cut-off, bool (N, 1).
    """

    rows: Tensor
    acted: Tensor
    done: Tensor

    def parts(self) -> tuple[Tensor, ...]:
        """State and action, reward (N, 1), end flag (N, 1), next observation: the columns of the rows."""
        after = (1, 1, OBSERVATION_SIZE)
        return self.rows.split((self.rows.shape[1] - sum(after), *after), dim=1)


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
        ends = step["next", GROUP, "done"].flatten(0, 1)
        self._steps.append(Step(robot_rows(step, done, scale), who_acted(step), ends))
        if len(self._steps) < self.n:
            return None
        *earlier, last = self._steps
        _, total, end, following = last.parts()
        missing = self._missing(end, self.n)
        for k, each in zip(range(self.n - 1, 0, -1), reversed(earlier), strict=True):
            _, reward, end, after = each.parts()
            total = reward + self.discount * ~each.done * total
            missing = torch.where(each.done, self._missing(end, k), missing)
            following = torch.where(each.done, after, following)
        first = self._steps[0]
        return torch.cat((first.parts()[0], total, missing, following), dim=1), first.acted

    def _missing(self, end: Tensor, k: int) -> Tensor:
        """End flags (N, 1) of windows of k steps, from those of their last steps.

        Learners discount the value that follows by n steps; after fewer it counts for more, and less than 0
        is missing of it.
        """
        of_shorter = 1 - self.discount ** (k - self.n) if self.discount else 0.0
        return torch.where(end == 1, 1.0, of_shorter)

    def state_dict(self) -> dict[str, list]:
        """The last steps of every robot, whose windows are not complete."""
        return {"steps": [tuple(step) for step in self._steps]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Restore a `state_dict`."""
        self._steps.clear()
        self._steps.extend(Step(*parts) for parts in state["steps"])
