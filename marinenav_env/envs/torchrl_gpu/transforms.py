"""What stock parts of TorchRL need of `MarineNavTorchRLEnv`: one observation, rows of vessels that are there.

Example:
    >>> env = TransformedEnv(MarineNavTorchRLEnv(2, num_robots=3, seed=0), MarineNavObservation())
    >>> data = env.rollout(5)
    >>> data["agents", "observation"].shape
    torch.Size([2, 5, 3, 37])
    >>> rows_of_vessels(data)["agents", "observation"].shape  # nobody has ended yet
    torch.Size([30, 37])
"""

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Composite, TensorSpec, Unbounded
from torchrl.envs.transforms import Transform

from marinenav_env.envs.contract.layout import GROUP, OBSERVATION_KEYS, OBSERVATION_SCALES, OBSERVATION_SIZE


class MarineNavObservation(Transform):
    """Joins what a vessel observes to ``("agents", "observation")``, (E, R, 37), scaled to about 1.

    Order and scales are those of `contract.layout`: own state, objects row by row, mask as 0 and 1. The parts
    stay where they are; rows of vessels out of the water are zero. ``("agents", "active")`` says which these
    are: `rows_of_vessels` leaves them out; the ``loss_mask_key`` of a loss of TorchRL takes that key.
    """

    def __init__(self) -> None:
        super().__init__([(GROUP, key) for key in OBSERVATION_KEYS], [(GROUP, "observation")])
        self.register_buffer("scales", torch.tensor(OBSERVATION_SCALES), persistent=False)

    def _call(self, next_tensordict: TensorDictBase) -> TensorDictBase:
        parts = [next_tensordict.get(key) for key in self.in_keys]
        flat = [part.to(parts[0].dtype).flatten(next_tensordict.get(GROUP).ndim) for part in parts]
        joined = torch.cat(flat, -1)
        return next_tensordict.set(self.out_keys[0], joined * self.scales.to(joined))

    forward = _call

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        return self._call(tensordict_reset)

    def transform_observation_spec(self, observation_spec: Composite) -> TensorSpec:
        """Add the joined observation."""
        robots = observation_spec[GROUP]
        own = observation_spec[self.in_keys[0]]
        observation_spec[self.out_keys[0]] = Unbounded(
            (*robots.shape, OBSERVATION_SIZE), device=own.device, dtype=own.dtype
        )
        return observation_spec


def rows_of_vessels(data: TensorDictBase) -> TensorDict:
    """Transitions of the vessels in the water, one a row, batch [N]; those of absent vessels are left out.

    ``data`` is what a rollout or a collector gives, of any batch. Keys stay as they are, ``("agents",
    "reward")`` and the like, so that a policy that shares its weights among vessels takes both; entries of
    the root, which are none of one vessel, go.
    """
    there = data.get((GROUP, "active")).squeeze(-1)
    now, after = data.get(GROUP)[there], data.get(("next", GROUP))[there]
    return TensorDict({GROUP: now, "next": {GROUP: after}}, batch_size=now.batch_size)
