"""What episodes played side by side have come to so far, and the actions of those who play them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu.state import ROBOTS, Observation, WorldState, by_key, present


class Tally(NamedTuple):
    """What the episodes have come to; rows of robots that do not exist stay 0."""

    returns: Tensor  # discounted, [R, E]
    energies: Tensor  # N s, [R, E]
    steps: Tensor  # made by each robot, int64 [R, E]
    success: Tensor  # whether all robots had arrived when the episode ended, bool [E]
    running: Tensor  # whether the episode goes on, bool [E]
    outcomes: Tensor  # `Outcome` of each robot when the episode ended, int8 [R, E]

    @classmethod
    def new(cls, state: WorldState) -> "Tally":
        """Of episodes that begin."""
        zeros = torch.zeros_like(state.motion[0])
        flags = torch.zeros_like(state.active[0], dtype=torch.bool)
        return cls(zeros, zeros, zeros.long(), flags, ~flags, zeros.to(torch.int8))

    def counted(self, acting: Tensor, reward: Tensor, energy: Tensor, state: WorldState) -> "Tally":
        """With the step that led to a state, made by the robots `acting` [R, E], discounted rewards of it.

        An episode ends at the first collision of any robot, or when all robots are out of the water.
        """
        exists = present(state.scenario.counts[ROBOTS], len(acting))
        running = self.running & ~state.collision.any(0) & state.active.any(0)
        # Defect T14: success looks at the arrival of the robots only, not at what ended the episode.
        success = self.running & (state.reach_goal.bool() | ~exists).all(0)
        return Tally(
            returns=self.returns + torch.where(acting, reward, 0.0),
            energies=self.energies + torch.where(acting, energy, 0.0),
            steps=self.steps + acting,
            success=self.success | success,
            running=running,
            outcomes=torch.where(self.running, _outcomes(state), self.outcomes),
        )


def _outcomes(state: WorldState) -> Tensor:
    arrived = torch.where(state.reach_goal.bool(), int(Outcome.REACH_GOAL), int(Outcome.NORMAL))
    return torch.where(state.collision.bool(), int(Outcome.COLLISION), arrived).to(torch.int8)


def greedy_actions(policy: Any, observation: Observation, acting: Tensor) -> Tensor:
    """Greedy actions, [2, R, E] in the dtype of the world or indices [R, E], of a policy such as an `Agent`.

    On the CPU it is asked for the robots `acting` [R, E] alone; the others get 0.
    """
    rows = rows_of(observation, policy.learner.dtype)
    if acting.device.type != "cpu":  # where the host would wait to learn how many they are
        action = policy.learner.greedy(rows)
    else:
        chosen = acting.flatten().nonzero()[:, 0]
        some = policy.learner.greedy([values.index_select(0, chosen) for values in rows])
        action = some.new_zeros(acting.numel(), *some.shape[1:]).index_copy_(0, chosen, some)
    if not policy.continuous:
        return action.unflatten(0, acting.shape)
    return action.to(observation.self_state.dtype).T.unflatten(-1, acting.shape).contiguous()


def rows_of(observation: Observation, dtype: torch.dtype) -> list[Tensor]:
    """The parts of an observation as networks of a precision take them, (R E, ..)."""
    rows = [values.flatten(-2).movedim(-1, 0) for values in by_key(observation).values()]
    return [part.to(dtype) if part.is_floating_point() else part for part in rows]
