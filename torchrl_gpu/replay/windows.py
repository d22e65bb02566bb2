"""n-step transitions along each robot's own stream, from vector steps in their order."""

from collections import deque

import torch
from torch import Tensor

from torchrl_gpu.replay.rows import parts


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
        self._steps: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=n)  # what `__call__` takes

    def __call__(self, rows: Tensor, acted: Tensor, ended: Tensor) -> tuple[Tensor, Tensor] | None:
        """The windows that a vector step completes.

        Args:
            rows: The step, a row for every robot, (N, columns).
            acted: Who was in the water, bool (N,).
            ended: Whose stream ends here, by a terminal or the cut-off, bool (N,).

        Returns:
            Rows of all robots n - 1 vector steps ago, and who of them acted; None before there have been so
            many.
        """
        self._steps.append((rows, acted, ended.unsqueeze(1)))
        if len(self._steps) < self.n:
            return None
        *earlier, (last, _, _) = self._steps
        _, total, end, following = parts(last)
        missing = self._missing(end, self.n)
        for k, (row, _, stops) in zip(range(self.n - 1, 0, -1), reversed(earlier), strict=True):
            _, reward, end, after = parts(row)
            total = reward + self.discount * ~stops * total
            missing = torch.where(stops, self._missing(end, k), missing)
            following = torch.where(stops, after, following)
        first, acted, _ = self._steps[0]
        return torch.cat((parts(first)[0], total, missing, following), dim=1), acted

    def _missing(self, end: Tensor, k: int) -> Tensor:
        """End flags (N, 1) of windows of k steps, from those of their last steps.

        Learners discount the value that follows by n steps; after fewer it counts for more, and less than 0
        is missing of it.
        """
        of_shorter = 1 - self.discount ** (k - self.n) if self.discount else 0.0
        return torch.where(end == 1, 1.0, of_shorter)

    def state_dict(self) -> dict[str, list]:
        """The last steps of every robot, whose windows are not complete."""
        return {"steps": list(self._steps)}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Restore a `state_dict`."""
        self._steps.clear()
        self._steps.extend(tuple(step) for step in state["steps"])
