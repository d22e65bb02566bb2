"""All that is random in a world of tensors: the noise of its sensors and the beginnings of its episodes."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.torchrl_gpu.episodes import default_params
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, NoiseKeys, Radii, draw_noise, radius_maps
from marinenav_env.envs.torchrl_gpu.ops.scenario import Request, generate
from marinenav_env.envs.torchrl_gpu.state import leaves_of
from marinenav_env.envs.torchrl_gpu.step import world_begin

DRAW_SIZE = 1024  # scenarios drawn in one go: more would leave the cache of a CPU
GPU_DRAW_SIZE = 16_384  # there, as many as keep it busy

Slots = tuple[int, int, int]


class Draws:
    """Draws on a device in one dtype, all from one seed, 0 to 2^63 - 1; no global generator is touched."""

    def __init__(self, seed: int, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.keys = NoiseKeys(seed, device)
        self._generator = torch.Generator(device).manual_seed(seed)

    def noise(self, slots: Slots, num_envs: int, radii: Radii) -> Noise:
        """Noise of one perception in `num_envs` environments; `slots` are robots, cores and obstacles."""
        return draw_noise(self.keys.next(), (slots[2], slots[0], num_envs), radii, self.dtype)

    def beginnings(self, kind: Tensor, number: int, slots: Slots) -> list[Tensor]:
        """Beginnings of `number` episodes of one kind, rows of `Stage` and `MapParams`; see `leaves_of`."""
        most = DRAW_SIZE if self.device.type == "cpu" else GPU_DRAW_SIZE
        parts = [
            self._begin(kind[:, None].expand(-1, min(most, number - first)), slots)
            for first in range(0, number, most)
        ]
        return [torch.cat(leaves, -1) for leaves in zip(*parts, strict=True)]

    def _begin(self, kinds: Tensor, slots: Slots) -> list[Tensor]:
        number = kinds.shape[1]
        params = tree_map(self.to_world, default_params(number)._replace(map=kinds[4:]))
        counts = kinds[:3].long().to(self.device)
        request = Request(*counts, self.to_world(kinds[3]), params.of_map())
        scenario = generate(request, slots, self._generator)
        radii = radius_maps(params.of_robots().r_kappa, self.dtype)
        return leaves_of(*world_begin(scenario, params, self.noise(slots, number, radii)))

    def to_world(self, tensor: Tensor) -> Tensor:
        """A tensor on the device, floating-point numbers in the dtype."""
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Where all draws stand."""
        return {"keys": self.keys.state, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.keys.state.copy_(state["keys"])
        self._generator.set_state(state["generator"].cpu())
