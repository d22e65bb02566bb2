"""`Agent`: the public face of the learners (agents spec 1.2)."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from agents.batch import Observation, State, StateBatch, state_batch
from agents.learners import LEARNERS
from agents.learners.base import LearnerSettings
from agents.models.weights import load_model, save_model
from agents.networks import calculate_huber_loss
from marinenav_env.envs.contract.constants import NUM_ACTIONS
from marinenav_env.envs.contract.layout import OBJECT_ROWS, OBJECT_SIZE, SELF_SIZE

__all__ = ["Agent", "calculate_huber_loss"]

PRECISIONS = {torch.float32: np.float32, torch.float64: np.float64}
"""NumPy's dtype of each torch dtype that a learner may compute in."""


class Agent:
    """A learner under the legacy names: its constructor, acting, files.

    Args:
        self_dimension: numbers in a robot's own state.
        object_dimension: numbers per observed object.
        max_object_num: most objects per observation.
        self_feature_dimension: width of the encoded own state.
        object_feature_dimension: width of one encoded object.
        concat_feature_dimension: width of both together.
        hidden_dimension: width of all hidden layers.
        value_ranges_of_action: exploration range of each continuous action dimension (Quirk A14).
        action_size: number of discrete actions.
        multi_steps: n of the n-step return (Rainbow).
        BATCH_SIZE: transitions per update; of `agents.legacy.agent.LegacyAgent`, which has a memory.
        BUFFER_SIZE: capacity of that memory.
        LR: learning rate of every optimiser.
        TAU: share of the local parameters in the target copy.
        GAMMA: discount factor.
        device: torch device.
        seed: seed of the networks.
        training: `False` builds no optimisers; the agent can act (Defect A1 fixed).
        agent_type: a key of `LEARNERS`.
        settings: all keys of the learner, in place of `LR`, `TAU`, `GAMMA` and `multi_steps`.

    Attributes:
        learner: its networks, optimisers and update; constants of its type are there as well.

    Raises:
        RuntimeError: `agent_type` is none of them.
    """

    def __init__(
        self,
        self_dimension: int = SELF_SIZE,
        object_dimension: int = OBJECT_SIZE,
        max_object_num: int = OBJECT_ROWS,
        self_feature_dimension: int = 56,
        object_feature_dimension: int = 40,
        concat_feature_dimension: int = 256,
        hidden_dimension: int = 128,
        value_ranges_of_action: list[list[float]] = [[-1.0, 1.0], [-1.0, 1.0]],  # noqa: B006 (copied below)
        action_size: int = NUM_ACTIONS,
        multi_steps: int = 3,
        BATCH_SIZE: int = 64,
        BUFFER_SIZE: int = 1_000_000,
        LR: float = 1e-4,
        TAU: float = 1.0,
        GAMMA: float = 0.99,
        device: str | torch.device = "cpu",
        seed: int = 0,
        training: bool = True,
        agent_type: str | None = None,
        settings: LearnerSettings | None = None,
    ) -> None:
        if agent_type not in LEARNERS:
            raise RuntimeError(f"agent_type is {agent_type!r}, must be one of {', '.join(LEARNERS)}")
        self.object_dimension = object_dimension
        self.max_object_num = max_object_num
        self.value_ranges_of_action = copy.deepcopy(value_ranges_of_action)
        self.action_size = action_size
        self.BATCH_SIZE = BATCH_SIZE
        self.BUFFER_SIZE = BUFFER_SIZE
        self.device = device
        self.training = training
        self.agent_type = agent_type
        if settings is None:
            given = {"learning_rate": LR, "tau": TAU, "discount": GAMMA, "n_step": multi_steps}
            keys = LEARNERS[agent_type].Settings
            # Unchecked, as ever: who builds an agent by hand may want what a config must not say.
            known = {name: value for name, value in given.items() if name in keys.model_fields}
            settings = keys().model_copy(update=known)
        self.learner = LEARNERS[agent_type](
            settings,
            sizes=(
                self_dimension,
                object_dimension,
                max_object_num,
                self_feature_dimension,
                object_feature_dimension,
                concat_feature_dimension,
                hidden_dimension,
            ),
            value_ranges_of_action=self.value_ranges_of_action,
            action_size=action_size,
            device=device,
            seed=seed,
            training=training,
        )

    @classmethod
    def of(
        cls,
        agent_type: str,
        settings: LearnerSettings,
        *,
        device: str | torch.device = "cpu",
        seed: int = 0,
        training: bool = True,
    ) -> Self:
        """Build an agent of the legacy sizes from the keys of its learner."""
        return cls(agent_type=agent_type, settings=settings, device=device, seed=seed, training=training)

    @property
    def policy_local(self) -> Any:
        """Networks that learn and act."""
        return self.learner.policy_local

    @property
    def policy_target(self) -> Any:
        """Delayed copy of `policy_local`."""
        return self.learner.policy_target

    @property
    def LR(self) -> float:
        """Learning rate at the start."""
        return self.learner.settings.learning_rate

    @property
    def GAMMA(self) -> float:
        """Discount factor."""
        return self.learner.settings.discount

    @GAMMA.setter
    def GAMMA(self, discount: float) -> None:
        self.learner.change(discount=discount)

    @property
    def TAU(self) -> float:
        """Share of the local parameters in the target copy."""
        return self.learner.settings.tau

    @TAU.setter
    def TAU(self, share: float) -> None:
        self.learner.change(tau=share)

    @property
    def continuous(self) -> bool:
        """Whether actions are two floats rather than an index."""
        return self.learner.continuous

    def act(self, state: State, eps: float = 0.0, cvar: float = 1.0, use_eval: bool = True) -> Any:
        """One ε-greedy action with the legacy random draws (agents spec 5).

        Args:
            state: observation pair (7 floats, 0..5 objects of 5 floats).
            eps: probability of exploring.
            cvar: factor on IQN's quantile fractions; below 1 it acts averse to risk.
            use_eval: Rainbow acts with its mean weights if true, else with its noise.

        Returns:
            List of 2 floats, or an index.
        """
        return self.learner.act(self._observation([state]), eps, use_eval, cvar)

    def soft_update(self) -> None:
        """Copy the local parameters to the target with factor `TAU` (agents spec 7)."""
        self.learner.update_target()

    def save_latest_model(self, directory: str) -> None:
        """Write the legacy model folder (agents spec 10); `directory` must exist."""
        save_model(self.learner, directory)

    def load_model(self, path: str, device: str | torch.device = "cpu") -> None:
        """Read weights of a model folder into the existing networks, local and target.

        Defect A12 fixed: the legacy code replaced `policy_local` by new networks, which no optimiser knew,
        so a loaded agent never learned.
        """
        load_model(self.learner, path, device)

    def state_to_tensor(self, states: StateBatch) -> Observation:
        """Tensors of a `state_batch`; empty object lists give `(x1, None, None)`."""
        return Observation(*(self._tensor(part) if len(part) else None for part in states))

    def _tensor(self, values: Any) -> Tensor:
        # In the precision at once, and without `torch.as_tensor`: each takes as long as the rest.
        return torch.from_numpy(np.array(values, dtype=PRECISIONS[self.learner.dtype])).to(self.device)

    def _observation(self, states: list[State]) -> Observation:
        return self.state_to_tensor(state_batch(states, self.object_dimension, self.max_object_num))
