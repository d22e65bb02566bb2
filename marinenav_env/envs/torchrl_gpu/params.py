"""Constants of the robots and maps of a world, as its episodes give them and as its step takes them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.contract.episode import read_constants
from marinenav_env.envs.contract.rewards import LATER
from marinenav_env.envs.torchrl_gpu.episodes import (
    EpisodeTensors,
    default_constants,
    default_params,
    map_params,
    write_episodes,
)
from marinenav_env.envs.torchrl_gpu.ops.noise import radius_maps
from marinenav_env.envs.torchrl_gpu.state import Scenario, WorldParams


class Constants:
    """Those of E environments: of new robots and maps at first, later of the episodes loaded.

    `to_world` brings a tensor to the device and precision of the world; `changes` are entries of the "env"
    dictionary of an episode that differ from those of a new map. `exact` holds `WorldParams` in float64 on
    the CPU, `params` those of the world, `radii` the maps of the radius noise, `substeps` the least and
    greatest number of sub-steps, `terms` the weights of the reward beyond the legacy world's that are not 0.
    """

    def __init__(
        self, num_envs: int, to_world: Callable[[Tensor], Tensor], changes: Mapping[str, Any]
    ) -> None:
        self._to_world = to_world
        self._of_maps = [{**default_constants(), **changes}] * num_envs
        map = map_params(self._of_maps[:1]).repeat(1, num_envs)
        self._use(default_params(num_envs)._replace(map=map))

    @property
    def of_map(self) -> dict[str, Any]:
        """Entries of the "env" dictionary of environment 0."""
        return self._of_maps[0]

    def load(self, episodes: EpisodeTensors) -> None:
        """Take those of episodes."""
        self._of_maps = episodes.constants
        self._use(WorldParams(episodes.robot, episodes.thrust_change, map_params(episodes.constants)))

    def dictionaries(self, scenario: Scenario) -> list[dict]:
        """Episode dictionaries of scenarios with these constants."""
        exact = tree_map(lambda t: t.cpu().double() if t.is_floating_point() else t.cpu(), scenario)
        return write_episodes(
            EpisodeTensors(exact, self.exact.robot, self.exact.thrust_change, self._of_maps)
        )

    def forget_robots(self, mask: Tensor, max_robots: int) -> None:
        """Give robots of the environments in `mask` [E] the constants of new ones (environment spec 4.1)."""
        if not self._loaded:
            return
        default, loaded, mask = default_params(len(mask)), self.exact, mask.cpu()
        pairs = ((default.robot, loaded.robot), (default.thrust_change, loaded.thrust_change))
        robot, change = (
            torch.where(mask, new, old.expand(*old.shape[:-2], max_robots, len(mask))) for new, old in pairs
        )
        self._use(WorldParams(robot, change, loaded.map))

    def _use(self, params: WorldParams) -> None:
        """Take constants, float64 on the CPU, into use; robots that are all alike are stored once."""
        robot, change = params.robot, params.thrust_change
        if bool((robot == robot[:, :1, :1]).all() and (change == change[:, :, :1, :1]).all()):
            params = params._replace(robot=robot[:, :1, :1], thrust_change=change[:, :, :1, :1])
        new = default_params(1)
        self._loaded = not (torch.equal(params.robot, new.robot) and torch.equal(params[1], new[1]))
        self.exact = params
        self.params = tree_map(self._to_world, params)
        named = params.of_robots()
        self.substeps = int(named.N.min()), int(named.N.max())
        self.terms = tuple(name for name in LATER if bool((getattr(params.of_map(), name) != 0).any()))
        radii = radius_maps(named.r_kappa, self.params.robot.dtype)
        self.radii = tree_map(self._to_world, radii)

    def state_dict(self) -> dict[str, Any]:
        """The constants; maps that are alike are written once."""
        different = {id(constants): constants for constants in self._of_maps}
        places = {key: place for place, key in enumerate(different)}
        return {
            "robot": self.exact.robot,
            "thrust_change": self.exact.thrust_change,
            "maps": list(different.values()),
            "map_of": torch.tensor([places[id(constants)] for constants in self._of_maps]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take those of a `state_dict`; weights of the reward that an old one lacks take their defaults."""
        maps = [read_constants(constants) for constants in state["maps"]]
        self._of_maps = [maps[place] for place in state["map_of"].tolist()]
        self._use(WorldParams(state["robot"].cpu(), state["thrust_change"].cpu(), map_params(self._of_maps)))
