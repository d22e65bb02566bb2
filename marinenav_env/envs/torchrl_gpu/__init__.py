"""The world on tensors and its TorchRL face."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marinenav_env.envs.torchrl_gpu.env import MarineNavTorchRLEnv

__all__ = ["MarineNavTorchRLEnv"]


def __getattr__(name: str) -> Any:
    """Import the environment when it is asked for: it takes torch and torchrl with it."""
    if name == "MarineNavTorchRLEnv":
        from marinenav_env.envs.torchrl_gpu.env import MarineNavTorchRLEnv

        return MarineNavTorchRLEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
