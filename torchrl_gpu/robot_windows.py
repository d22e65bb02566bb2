"""n-step transitions along each robot's own stream, from vector steps in their order."""

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs.transforms import MultiStepTransform

from marinenav_env.envs.torchrl_gpu.specs import GROUP
from torchrl_gpu.observation_scale import ObservationScale
from torchrl_gpu.rows import action_columns, observation_columns


class RobotWindows:
    """Turns vector steps into rows whose reward is an n-step return and whose next observation is n steps on.

    A window ends at the robot's terminal and at the cut-off; its transition is complete once n steps have
    passed. Windows that the cut-off has made shorter are bootstrapped, if at all, with the discount of n.

    Args:
        n: Steps of the return.
        discount: Factor between its rewards.
        done_flag: Which flag ends the return: ``"done"``, or ``"terminated"`` to bootstrap at the cut-off.
        scale: Scales the observations, if given.
    """

    def __init__(self, n: int, discount: float, done_flag: str, scale: ObservationScale | None) -> None:
        self.transform = MultiStepTransform(n, discount, done_keys=["done"])
        self.done_flag = done_flag
        self.scale = scale

    def __call__(self, step: TensorDictBase) -> Tensor | None:
        """Rows of the robots that acted n vector steps ago; None while there are not n."""
        complete = self.transform.inv(self._entry(step).unsqueeze(1))
        if complete is None:
            return None
        rows = complete.squeeze(1)
        rows = rows[rows["acted"]]
        after = rows["next"]
        parts = (rows["state"], rows["action"], after["reward"], after["ended"].float(), after["state"])
        return torch.cat(parts, dim=1)

    def _entry(self, step: TensorDictBase) -> TensorDict:
        """One entry for every robot, with the keys that the transform looks for."""
        robots, after = step[GROUP], step["next", GROUP]
        flags = {key: after[key].flatten(0, 1) for key in ("done", "terminated")}
        size = [robots.numel()]
        following = {
            "state": observation_columns(after, self.scale),
            "reward": after["reward"].float().flatten(0, 1),
            # The transform leaves the flags where they were and moves the rest to the end of the window.
            "ended": flags[self.done_flag],
            **flags,
        }
        now = {
            "state": observation_columns(robots, self.scale),
            "action": action_columns(robots),
            "acted": robots["active"].flatten(),
        }
        return TensorDict({**now, "next": TensorDict(following, size)}, size)

    def state_dict(self) -> dict:
        """The last n steps of every robot, whose windows are not complete; empty before the first."""
        waiting = self.transform._buffer
        return {} if waiting is None else waiting.to_dict()

    def load_state_dict(self, state: dict) -> None:
        """Restore a `state_dict`."""
        if not state:
            self.transform._buffer = None
            return
        size = state["acted"].shape
        self.transform._buffer = TensorDict({**state, "next": TensorDict(state["next"], size)}, size)
