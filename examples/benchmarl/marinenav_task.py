"""The fleet as a task of BenchMARL: any of its algorithms and models trains on it.

The config is keywords of `MarineNavTorchRLEnv`, and ``max_steps``, the length of an evaluation.
"""

from collections.abc import Callable

from benchmarl.environments import TaskClass
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Composite
from torchrl.envs import EnvBase, Transform

from marinenav_env.envs.contract.layout import GROUP
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.transforms import MarineNavObservation


class MarineNavTask(TaskClass):
    """Vessels that see each other, obstacles and their goal; 25 discrete actions, or two continuous ones."""

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: str
    ) -> Callable[[], EnvBase]:
        """The tensor world of so many environments."""
        settings = {key: value for key, value in self.config.items() if key != "max_steps"}
        settings |= {"continuous": continuous_actions, "seed": seed, "device": device}
        return lambda: MarineNavTorchRLEnv(num_envs, backend="torch", **settings)

    def get_env_transforms(self, env: EnvBase) -> list[Transform]:
        """What a vessel observes as one vector, scaled."""
        return [MarineNavObservation()]

    def supports_continuous_actions(self) -> bool:
        """Yes; they are preferred unless the experiment's config says otherwise."""
        return True

    def supports_discrete_actions(self) -> bool:
        """Yes, which QMIX, VDN and IQL need."""
        return True

    def max_steps(self, env: EnvBase) -> int:
        """Steps of half a second in an evaluation."""
        return self.config["max_steps"]

    def has_render(self, env: EnvBase) -> bool:
        """Yes: an evaluation is filmed where the experiment asks for it."""
        return True

    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        """All vessels are one group."""
        return env.group_map

    def observation_spec(self, env: EnvBase) -> Composite:
        """The vector alone, without the parts it is made of."""
        robots = env.full_observation_spec_unbatched[GROUP]
        return Composite({GROUP: Composite(observation=robots["observation"], shape=robots.shape)})

    def info_spec(self, env: EnvBase) -> None:
        """None."""

    def state_spec(self, env: EnvBase) -> None:
        """None: central critics and mixers see the observations of all vessels."""

    def action_spec(self, env: EnvBase) -> Composite:
        """An action for each vessel."""
        return env.full_action_spec_unbatched

    def action_mask_spec(self, env: EnvBase) -> None:
        """None: all actions are allowed at all times."""

    @staticmethod
    def env_name() -> str:
        """Stands in the names of results."""
        return "marinenav"

    @staticmethod
    def log_info(batch: TensorDictBase) -> dict[str, float]:
        """Of the vessels that ended, the share that arrived."""
        outcome = batch["next", GROUP, "outcome"][batch[GROUP, "active"]]
        arrived, ended = outcome == Outcome.REACH_GOAL, outcome != Outcome.NORMAL
        return {"collection/info/arrived": (arrived.sum() / ended.sum().clamp(min=1)).item()}

    @staticmethod
    def render_callback(experiment: object, env: EnvBase, data: TensorDictBase) -> Tensor:
        """The first environment from above."""
        return env.render()[0]
