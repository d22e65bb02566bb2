"""A controller that reaches goals within some tens of steps, so that contract tests see episodes end."""

import torch
from tensordict import TensorDictBase

CRUISE_THRUST = 400.0  # N, ahead of the goal
TURN_GAIN = 800.0  # N/rad
YAW_LEAD = 0.3  # s
THRUST_CHANGE = 500.0  # N for a full command, environment spec 6.3
COMMANDS = torch.tensor([0.0, -0.5, -1.0, 0.5, 1.0])  # of the five thrust change rates, in legacy order


def seek_goal(self_state: torch.Tensor) -> torch.Tensor:
    """Continuous commands (..., 2) that steer to the goal of observations (..., 7)."""
    bearing = torch.atan2(self_state[..., 1], self_state[..., 0])
    turn = TURN_GAIN * (bearing - YAW_LEAD * self_state[..., 4])
    ahead = CRUISE_THRUST * torch.cos(bearing).clamp(min=0)
    wanted = torch.stack([ahead + turn, ahead - turn], -1)
    return ((wanted - self_state[..., 5:7]) / THRUST_CHANGE).clamp(-1, 1)


def as_index(command: torch.Tensor) -> torch.Tensor:
    """Discrete action (...) nearest to continuous commands (..., 2)."""
    nearest = (command[..., None] - COMMANDS.to(command)).abs().argmin(-1)
    return 5 * nearest[..., 0] + nearest[..., 1]


class GoalSeeker:
    """Policy over the keys of the environment."""

    def __init__(self, continuous: bool = True):
        self.continuous = continuous

    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        command = seek_goal(tensordict["agents", "self_state"])
        action = command if self.continuous else as_index(command)
        return tensordict.set(("agents", "action"), action)
