"""n-step transitions: of vector steps in their order, or of what is drawn of Rainbow's single stream."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.batch import split_rows
from torchrl_gpu.replay.rows import RobotRows, StreamRows


class Windows(NamedTuple):
    """n-step transitions of robots."""

    rows: Tensor  # (N, columns)
    acted: Tensor  # which of them are transitions, bool (N,)


class RobotWindows:
    """Turns vector steps into rows whose reward is an n-step return and whose next observation is n steps on.

    A window ends at the robot's terminal and at the cut-off. TorchRL's `MultiStepTransform` gives the same
    rows, a step later, and makes the host wait for a GPU at every one.
    """

    def __init__(self, n: int, discount: float) -> None:
        self.n = n
        self.discount = discount
        self._steps: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=n)  # `RobotRows`

    def __call__(self, step: RobotRows) -> Windows | None:
        """Windows that a vector step completes, those of n - 1 steps ago; None before n steps."""
        self._steps.append((step.rows, step.acted, step.ended.unsqueeze(1)))
        if len(self._steps) < self.n:
            return None
        *earlier, (last, _, _) = self._steps
        _, _, total, end, following = split_rows(last)
        missing = self._missing(end, self.n)
        for k, (row, _, stops) in zip(range(self.n - 1, 0, -1), reversed(earlier), strict=True):
            _, _, reward, end, after = split_rows(row)
            total = reward + self.discount * ~stops * total
            missing = torch.where(stops, self._missing(end, k), missing)
            following = torch.where(stops, after, following)
        first, acted, _ = self._steps[0]
        own, action, *_ = split_rows(first)
        return Windows(torch.cat((own, action, total, missing, following), dim=1), acted)

    def forget(self) -> None:
        """Leave windows that are not complete out: what follows does not belong to them."""
        self._steps.clear()

    def _missing(self, end: Tensor, k: int) -> Tensor:
        """End flags (N, 1) of windows of k steps, from those of their last steps."""
        # Learners discount the value that follows by n steps; after fewer it counts for more.
        of_shorter = 1 - self.discount ** (k - self.n) if self.discount else 0.0
        return torch.where(end == 1, 1.0, of_shorter)

    def state_dict(self) -> dict[str, list]:
        """The last steps of every robot, whose windows are not complete."""
        return {"steps": list(self._steps)}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Restore a `state_dict`."""
        self._steps.clear()
        self._steps.extend(tuple(step) for step in state["steps"])


class StreamWindows:
    """Windows of several collectors, whose steps come in turn; each has its own."""

    def __init__(self, windows: Sequence[RobotWindows]) -> None:
        self.windows = windows

    def __call__(self, step: StreamRows) -> Windows | None:
        """See `RobotWindows`."""
        windows = self.windows[step.stream]
        if step.fresh:
            windows.forget()
        return windows(step)

    def state_dict(self) -> dict[str, Any]:
        """States of the windows of every stream, in order."""
        return {"streams": [windows.state_dict() for windows in self.windows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        for windows, each in zip(self.windows, state["streams"], strict=True):
            windows.load_state_dict(each)


class RecordWindows:
    """Makes n-step transitions of n + 1 records of Rainbow's stream in reproduction mode (agents spec 9)."""

    def __init__(self, n: int, discount: float) -> None:
        self.n = n
        self.factors = torch.tensor([discount**k for k in range(n)])

    def __call__(self, windows: Tensor) -> Tensor:
        """Windows of records, (B, n + 1, columns), to transitions (B, columns).

        What follows a terminal record, of whichever robot (Quirk A3), is blank: all zeros, and terminal.
        """
        own, actions, rewards, ends, _ = split_rows(windows)
        ended = ends.squeeze(2).cumsum(1) > 0  # (B, n + 1)
        blank = torch.cat((torch.zeros_like(ended[:, :1]), ended[:, :-1]), dim=1)
        rewards = rewards.squeeze(2)[:, : self.n].masked_fill(blank[:, : self.n], 0.0)
        total = rewards @ self.factors.to(rewards.device)
        last_blank = blank[:, self.n :]
        return torch.cat(
            (
                own[:, 0],
                actions[:, 0],
                total.unsqueeze(1),
                # Quirk A6b: the flag of the record bootstrapped from, not of the last rewarded one.
                ends[:, self.n].masked_fill(last_blank, 1.0),
                own[:, self.n].masked_fill(last_blank, 0.0),
            ),
            dim=1,
        )
