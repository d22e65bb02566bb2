"""Vector steps without end, in one environment or many, that can be left and taken up again."""

from typing import Any

from tensordict import TensorDict, TensorDictBase
from torchrl.collectors import Collector

from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.specs import GROUP
from torchrl_gpu.policy_wrapper import PolicyWrapper


class SingleSteps:
    """Steps of one environment; TorchRL's collector would take half the time of a step for its bookkeeping.

    A finished environment is reset right before its next step, as late as in the legacy loop.

    Args:
        env: Environment of batch ``[1]``.
        policy: Acts in it.
    """

    def __init__(self, env: MarineNavTorchRLEnv, policy: PolicyWrapper) -> None:
        self.env = env
        self.policy = policy
        self._last: TensorDictBase | None = None

    def __call__(self) -> TensorDictBase:
        """Act and step; returns what ``env.step`` returns."""
        if self._last is None or self._last["next", "done"].item():
            state = self.env.reset()
        else:
            state = self._last["next"]  # all of it: `step_mdp` would take time to leave out the reward
        self._last = self.env.step(self.policy(state))
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """What the last step led to; empty before the first."""
        return {} if self._last is None else self._last["next"].to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the step of a `state_dict`; the environment must be in its state as well."""
        batch = self.env.batch_size
        self._last = TensorDict({"next": _restored(state, batch)}, batch) if state else None


class CollectorSteps:
    """Steps of many environments by TorchRL's collector, which resets the finished ones after each step.

    Args:
        env: Environments of batch ``[E]``.
        policy: Acts in them.
    """

    def __init__(self, env: MarineNavTorchRLEnv, policy: PolicyWrapper) -> None:
        self.env = env
        self.collector = Collector(
            env,
            policy,
            frames_per_batch=env.batch_size[0],
            total_frames=-1,
            trust_policy=True,
            auto_register_policy_transforms=False,
        )
        self._batches = iter(self.collector)

    def __call__(self) -> TensorDictBase:
        """Act and step; returns what ``env.step`` returns."""
        return next(self._batches).squeeze(1)

    def state_dict(self) -> dict[str, Any]:
        """The observations that the next step acts on."""
        return self.collector._carrier.exclude("next", "collector").to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the observations of a `state_dict`; the environments must be in their state as well."""
        # The collector's own state_dict leaves out where its environments are.
        self.collector._carrier.update(_restored(state, self.env.batch_size))


def vector_steps(env: MarineNavTorchRLEnv, policy: PolicyWrapper) -> SingleSteps | CollectorSteps:
    """Steps of however many environments there are."""
    return (SingleSteps if env.batch_size[0] == 1 else CollectorSteps)(env, policy)


def _restored(state: dict[str, Any], batch_size: Any) -> TensorDict:
    """A TensorDict of a vector step from nested dictionaries; its robots have an axis more."""
    restored = TensorDict(state, batch_size)
    robots = restored[GROUP]
    robots.batch_size = robots["active"].shape[:-1]
    return restored
