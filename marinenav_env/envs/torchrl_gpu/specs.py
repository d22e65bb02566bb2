"""Keys, shapes and dtypes of `MarineNavTorchRLEnv`, written down once.

Robots are one TorchRL group, ``"agents"``; E environments, R robot rows each.

====================================== ======== =============== =========================================
key                                    shape    dtype           meaning
====================================== ======== =============== =========================================
``("agents", "self_state")``           E,R,7    world's         goal x, y (m), velocity u, v (m/s), yaw
                                                                rate (rad/s), left, right thrust (N)
``("agents", "objects_state")``        E,R,5,5  world's         x, y (m), vx, vy (m/s), radius (m)
``("agents", "objects_mask")``         E,R,5    bool            which of the five rows are observations
``("agents", "active")``               E,R,1    bool            robot is in the water
``("agents", "outcome")``              E,R,1    int8            `Outcome`
``("agents", "action")``, continuous   E,R,2    world's         thrust change commands in [-1, 1]
``("agents", "action")``, discrete     E,R      int64           action index, 0 to 24
``("agents", "reward")``               E,R,1    world's         zero where inactive
``("agents", "terminated")``           E,R,1    bool            robot has collided or arrived
``("agents", "done")``                 E,R,1    bool            the same, or the episode was cut off
``"terminated"``                       E,1      bool            all robots have terminated
``"truncated"``                        E,1      bool            cut-off at the 1001st step
``"done"``                             E,1      bool            either: the environment resets
====================================== ======== =============== =========================================

Observations are in the robot frame (forward, starboard) and zero where the robot is inactive.
"""

import torch
from torchrl.data import Bounded, Categorical, Composite, Unbounded

from marinenav_env.envs.contract.constants import NUM_ACTIONS
from marinenav_env.envs.contract.layout import GROUP, OBSERVATION_FLAGS, OBSERVATION_SHAPES
from marinenav_env.envs.contract.outcome import Outcome

Tensors = dict[str, torch.Tensor]
Rows = tuple[Tensors, Tensors]
"""What a world gives: the robots' tensors and the environments' flags, of all environments."""


def observation_spec(num_envs: int, num_robots: int, dtype: torch.dtype, device: torch.device) -> Composite:
    """Spec of what a policy sees of each robot, with its state of life (`active`, `outcome`)."""
    rows = (num_envs, num_robots)
    robots = Composite(
        **{
            key: Categorical(2, (*rows, *shape), dtype=torch.bool)
            if key in OBSERVATION_FLAGS
            else Unbounded((*rows, *shape), dtype=dtype)
            for key, shape in OBSERVATION_SHAPES.items()
        },
        active=Categorical(2, (*rows, 1), dtype=torch.bool),
        outcome=Categorical(len(Outcome), (*rows, 1), dtype=torch.int8),
        shape=rows,
    )
    return Composite({GROUP: robots}, shape=(num_envs,), device=device)


def action_spec(
    num_envs: int, num_robots: int, continuous: bool, dtype: torch.dtype, device: torch.device
) -> Composite:
    """Spec of the actions: two numbers in [-1, 1], or an index of 25 (environment spec 6.3)."""
    rows = (num_envs, num_robots)
    action = Bounded(-1, 1, (*rows, 2), dtype=dtype) if continuous else Categorical(NUM_ACTIONS, rows)
    return Composite({GROUP: Composite(action=action, shape=rows)}, shape=(num_envs,), device=device)


def reward_spec(num_envs: int, num_robots: int, dtype: torch.dtype, device: torch.device) -> Composite:
    """Spec of the reward, one a robot."""
    rows = (num_envs, num_robots)
    robots = Composite(reward=Unbounded((*rows, 1), dtype=dtype), shape=rows)
    return Composite({GROUP: robots}, shape=(num_envs,), device=device)


def done_spec(num_envs: int, num_robots: int, device: torch.device) -> Composite:
    """Spec of the done flags: the root's drive resets, a robot's only say that it has finished."""
    rows = (num_envs, num_robots)
    robots = Composite({key: _flag(rows) for key in ("done", "terminated")}, shape=rows)
    root = {key: _flag((num_envs,)) for key in ("done", "terminated", "truncated")}
    return Composite({GROUP: robots, **root}, shape=(num_envs,)).to(device)  # a root's leaves do not follow


def _flag(rows: tuple[int, ...]) -> Categorical:
    return Categorical(2, (*rows, 1), dtype=torch.bool)
