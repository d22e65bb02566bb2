"""The worlds in which robots train, as a config asks for them."""

from typing import Any, Literal

import torch
from pydantic import create_model, model_validator

from agents.settings import Section, key
from marinenav_env.envs.contract.rewards import REWARDS, Term
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.stages import TrainingSchedule


def _weight(term: Term) -> Any:
    meaning = f"{term.meaning}, in training; evaluations keep the default"
    return key(term.default, meaning, throughput=True, ge=term.low, le=term.high)


RewardSettings = create_model(
    "RewardSettings", __base__=Section, **{name: (float, _weight(term)) for name, term in REWARDS.items()}
)
"""A key for the weight of every term of the reward."""


class WorldSettings(RewardSettings):
    """What a training world is, and how many there are."""

    training_schedule: TrainingSchedule = key(..., "curriculum: equally long lists, see below")
    num_envs: int = key(1, "environments stepped side by side", throughput=True, ge=1, le=1_000_000)
    backend: Literal["numpy", "torch"] = key(
        "numpy", "world: NumPy reference or tensors on the device", throughput=True
    )
    stage_mix: bool = key(False, "spread the environments over all stages of the curriculum", throughput=True)

    @property
    def rewards(self) -> dict[str, float]:
        """Weights of the terms of the reward."""
        return {name: getattr(self, name) for name in REWARDS}

    @model_validator(mode="after")
    def _mixable(self) -> "WorldSettings":
        if self.stage_mix and self.backend != "torch":
            raise ValueError("key 'stage_mix': true needs 'backend' \"torch\"")
        if self.stage_mix and self.num_envs < len(self.training_schedule):
            raise ValueError(
                f"key 'stage_mix': true needs an environment for each stage; 'num_envs' is {self.num_envs}, "
                f"'training_schedule' has {len(self.training_schedule)} stages"
            )
        return self


def build_env(
    settings: WorldSettings,
    seed: int,
    *,
    continuous: bool,
    device: str,
    dtype: torch.dtype,
    compile: bool | dict[str, Any],
    first: int = 0,
) -> MarineNavTorchRLEnv:
    """The training environment; with ``stage_mix`` its environments are spread over all stages.

    ``first`` is the number of its first environment, where other processes have those before.
    """
    env = MarineNavTorchRLEnv(
        settings.num_envs,
        backend=settings.backend,
        seed=seed,
        schedule=settings.training_schedule.model_dump(),
        continuous=continuous,
        dtype=dtype,
        device=device,
        compile=compile if settings.backend == "torch" else False,
        **settings.rewards,
    )
    if settings.stage_mix:
        env.world.pin((first + torch.arange(settings.num_envs)) % len(settings.training_schedule))
    return env
