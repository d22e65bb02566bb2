"""`Agent`: the public face of the learners (agents spec 1.2)."""

import copy
from typing import Any, Self

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from agents.learners import LEARNERS
from agents.legacy.rainbow_memory import ReplayMemory, Sample
from agents.legacy.replay_buffer import ReplayBuffer, State, StateBatch, state_batch
from agents.networks import Observation, calculate_huber_loss
from agents.settings import LearnerSettings

__all__ = ["Agent", "calculate_huber_loss"]


class Agent:
    """A learner (networks, acting, update) and its legacy memory.

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
        BATCH_SIZE: transitions per update.
        BUFFER_SIZE: capacity of the memory.
        LR: learning rate of every optimiser.
        TAU: share of the local parameters in the target copy.
        GAMMA: discount factor.
        device: torch device.
        seed: seed of the networks.
        training: `False` builds no memory and no optimisers; the agent can act (Defect A1 fixed).
        agent_type: a key of `LEARNERS`.
        settings: all keys of the learner, in place of `LR`, `TAU`, `GAMMA` and `multi_steps`.

    Attributes:
        learner: the `Learner`. It also lends the agent its optimisers under their legacy names
            (`optimizer`, or `actor_optimizer`, `critic_optimizer`, ...) and its constants (SAC `alpha`,
            Rainbow `support`, ...).
        memory: `ReplayBuffer`, for Rainbow `ReplayMemory`; `None` without training.

    Raises:
        RuntimeError: `agent_type` is none of them.
    """

    def __init__(
        self,
        self_dimension: int = 7,
        object_dimension: int = 5,
        max_object_num: int = 5,
        self_feature_dimension: int = 56,
        object_feature_dimension: int = 40,
        concat_feature_dimension: int = 256,
        hidden_dimension: int = 128,
        value_ranges_of_action: list[list[float]] = [[-1.0, 1.0], [-1.0, 1.0]],  # noqa: B006 (copied below)
        action_size: int = 25,
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
        self.memory = self._make_memory() if training else None

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

    def _make_memory(self) -> ReplayBuffer | ReplayMemory:
        if self.learner.prioritized:
            steps = self.learner.settings.return_steps
            return ReplayMemory(self.device, self.BUFFER_SIZE, n=steps, discount=self.GAMMA)
        return ReplayBuffer(self.BUFFER_SIZE, self.BATCH_SIZE, self.object_dimension, self.max_object_num)

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

    def __getattr__(self, name: str) -> Any:
        # Legacy readers look for optimisers and constants on the agent; the learner owns them.
        if "learner" not in self.__dict__:
            raise AttributeError(name)
        optimizer = "network" if name == "optimizer" else name.removesuffix("_optimizer")
        if name.endswith("optimizer") and optimizer in self.learner.optimizers:
            return self.learner.optimizers[optimizer]
        try:
            return getattr(self.learner, name)
        except AttributeError:
            raise AttributeError(f"{self.agent_type} agent has no attribute {name!r}") from None

    # ---- one face for all six

    @property
    def continuous(self) -> bool:
        """Whether actions are two floats rather than an index."""
        return self.learner.continuous

    @property
    def stored(self) -> int:
        """Number of stored records as the trainer counts them (Quirk A4 for Rainbow)."""
        return self.memory.size()

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

    def store(self, state: State, action: Any, reward: float, next_state: State, done: bool) -> None:
        """Put one transition into the memory."""
        self.memory.store(state, action, reward, next_state, done)

    def train(self) -> Any:
        """One gradient update on a batch of the memory.

        Returns:
            0-d float32 arrays: the loss, or a tuple of losses in the order of the updates; for Rainbow the
            float32 array of the losses of the samples.
        """
        if self.learner.prioritized:
            return self._train_prioritized()
        losses = self.learner.update(self._uniform_batch())
        arrays = tuple(loss.cpu().numpy() for loss in losses.values())
        return arrays if len(arrays) > 1 else arrays[0]

    def _train_prioritized(self) -> np.ndarray:
        sample = self.memory.sample(self.BATCH_SIZE)
        losses = self.learner.update(self._prioritized_batch(sample))["network"].cpu().numpy()
        self.memory.update_priorities(sample.leaves, losses)
        return losses

    def soft_update(self) -> None:
        """Copy the local parameters to the target with factor `TAU` (agents spec 7)."""
        self.learner.update_target()

    def save_latest_model(self, directory: str) -> None:
        """Write the legacy model folder (agents spec 10); `directory` must exist."""
        from agents.models.folder import save_model

        save_model(self.learner, directory)

    def load_model(self, path: str, device: str | torch.device = "cpu") -> None:
        """Read weights of a model folder into the existing networks, local and target.

        Defect A12 fixed: the legacy code replaced `policy_local` by new networks, which no optimiser knew,
        so a loaded agent never learned.
        """
        from agents.models.folder import load_model

        load_model(self.learner, path, device)

    # ---- tensors

    def state_to_tensor(self, states: StateBatch) -> Observation:
        """Tensors of a `state_batch`, float32 as a rule; empty object lists give `(x1, None, None)`."""
        self_states, objects, masks = states
        if not len(objects):
            return self._tensor(self_states), None, None
        return self._tensor(self_states), self._tensor(objects), self._tensor(masks)

    def _tensor(self, values: Any) -> Tensor:
        values = np.asarray(values, dtype=np.float64)
        return torch.as_tensor(values, dtype=self.learner.dtype, device=self.device)

    def _observation(self, states: list[State]) -> Observation:
        return self.state_to_tensor(state_batch(states, self.object_dimension, self.max_object_num))

    def _states(self, observation: Observation) -> TensorDict:
        """Batch keys of observations; what `state_batch` left out is zero again."""
        self_state, objects_state, objects_mask = observation
        size = len(self_state)
        if objects_state is None:
            objects_state = self_state.new_zeros(size, self.max_object_num, self.object_dimension)
            objects_mask = self_state.new_zeros(size, self.max_object_num)
        return TensorDict(
            {"self_state": self_state, "objects_state": objects_state, "objects_mask": objects_mask > 0.5},
            batch_size=[size],
        )

    def _uniform_batch(self) -> TensorDict:
        states, actions, rewards, next_states, dones = self.memory.sample()
        batch = self._states(self.state_to_tensor(states))
        batch["action"] = self._actions(actions)
        batch["reward"] = self._tensor(rewards).unsqueeze(-1)
        batch["done"] = torch.as_tensor(dones, device=self.device).unsqueeze(-1)
        batch["next"] = self._states(self.state_to_tensor(next_states))
        return batch

    def _prioritized_batch(self, sample: Sample) -> TensorDict:
        batch = self._states(sample.state)
        batch["action"] = sample.actions
        batch["reward"] = sample.returns.unsqueeze(-1)
        batch["done"] = sample.nonterminals == 0
        batch["priority_weight"] = sample.weights
        batch["next"] = self._states(sample.next_state)
        return batch

    def _actions(self, actions: list) -> Tensor:
        if self.continuous:
            return self._tensor(actions)
        return torch.as_tensor(np.asarray(actions, dtype=np.int64), device=self.device)

    # ---- legacy names

    def _as(self, agent_type: str) -> "Agent":
        if self.agent_type != agent_type:
            raise RuntimeError(f"this is a {self.agent_type} agent, the method called needs {agent_type}")
        return self

    def act_ac_iqn(
        self, state: State, eps: float = 0.0, cvar: float = 1.0, use_eval: bool = True
    ) -> list[float]:
        """`act` of AC-IQN; `cvar` has no effect (Quirk A17)."""
        return self._as("AC-IQN").act(state, eps, cvar, use_eval)

    def act_iqn(
        self, state: State, eps: float = 0.0, cvar: float = 1.0, use_eval: bool = True
    ) -> tuple[np.int64, np.ndarray, np.ndarray]:
        """`act` of IQN, with the quantiles (1, 32, 25) and fractions (1, 32, 1) it rests on."""
        learner = self._as("IQN").learner
        return learner.act_with_quantiles(self._observation([state]), eps, use_eval, cvar)

    def act_ddpg(self, state: State, eps: float = 0.0, use_eval: bool = True) -> list[float]:
        """`act` of DDPG."""
        return self._as("DDPG").act(state, eps, use_eval=use_eval)

    def act_dqn(self, state: State, eps: float = 0.0, use_eval: bool = True) -> np.int64:
        """`act` of DQN."""
        return self._as("DQN").act(state, eps, use_eval=use_eval)

    def act_sac(self, state: State, eps: float = 0.0, use_eval: bool = True) -> list[float]:
        """`act` of SAC."""
        return self._as("SAC").act(state, eps, use_eval=use_eval)

    def act_rainbow(self, state: State, eps: float = 0.0, use_eval: bool = True) -> int | np.int64:
        """`act` of Rainbow."""
        return self._as("Rainbow").act(state, eps, use_eval=use_eval)

    def train_AC_IQN(self) -> tuple[np.ndarray, np.ndarray]:
        """`train` of AC-IQN: critic loss, actor loss."""
        return self._as("AC-IQN").train()

    def train_IQN(self) -> np.ndarray:
        """`train` of IQN: loss."""
        return self._as("IQN").train()

    def train_DDPG(self) -> tuple[np.ndarray, np.ndarray]:
        """`train` of DDPG: critic loss, actor loss."""
        return self._as("DDPG").train()

    def train_DQN(self) -> np.ndarray:
        """`train` of DQN: loss."""
        return self._as("DQN").train()

    def train_SAC(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`train` of SAC: losses of critic 1, critic 2 and actor."""
        return self._as("SAC").train()

    def train_Rainbow(self) -> np.ndarray:
        """`train` of Rainbow: losses of the samples."""
        return self._as("Rainbow").train()
