"""What a learner expects of its own actions, and what comes of them.

A critic whose policy goes on failing is wrong about the states that it fails in: this says where, and how
long before the end it still was.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.agent import Agent
from marinenav_env.envs.contract.episode import Episode
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu.state import WorldState
from torchrl_gpu.evaluation.fleets import Beginning, Seen, play
from torchrl_gpu.evaluation.tally import Tally, rows_of

BEFORE = (50, 20, 10, 5, 2, 1)
"""Steps before a vessel's end at which it is asked what it expects; 1 is its last action."""


class Belief(NamedTuple):
    """Mean over the vessels that ended in one way, so many steps before they did."""

    ending: str
    vessels: int  # that were in the water by then
    before: int  # steps
    expected: float  # return from there on, by the critic
    came: float  # discounted rewards from there on; a time-out's end with it
    error: float  # root of the mean square of their difference


class Ledger:
    """Expected returns and rewards of every step, [R, E] each, NaN of vessels out of the water."""

    def __init__(self, agent: Agent, state: WorldState) -> None:
        self._agent = agent
        self._empty = torch.full_like(state.motion[0], torch.nan)
        self._expected: list[Tensor] = []
        self._rewards: list[Tensor] = []

    def __call__(self, seen: Seen) -> None:
        """Note a step; see `fleets.Look`."""
        learner = self._agent.learner
        action = seen.action.flatten(-2).movedim(-1, 0)
        action = action.to(learner.dtype) if action.is_floating_point() else action
        expected = learner.expected_return(rows_of(seen.observation, learner.dtype), action)
        expected = expected.to(self._empty.dtype).unflatten(0, seen.acting.shape)
        for steps, values in ((self._expected, expected), (self._rewards, seen.reward)):
            steps.append(self._empty.index_copy(-1, seen.ids, torch.where(seen.acting, values, torch.nan)))

    def returns(self, discount: float) -> tuple[Tensor, Tensor]:
        """Returns expected at each step, and those that came, [T, R, E]."""
        expected, rewards = torch.stack(self._expected), torch.stack(self._rewards).nan_to_num()
        came, following = torch.empty_like(rewards), torch.zeros_like(rewards[0])
        for t in reversed(range(len(rewards))):
            following = came[t] = rewards[t] + discount * following
        return expected, came


def beliefs(agent: Agent, episodes: Sequence[Episode], seed: int, device: str = "cpu") -> list[Belief]:
    """Play episodes greedily, and compare.

    Vessels whose episode another one's collision ended are left out.

    Args:
        agent: with all its networks, not the acting one alone.
        episodes: their reward weights should be those that the agent learned with.
        seed: of the sensors' noise.
        device: of the worlds.
    """
    start = Beginning.loaded(list(episodes), seed, device)
    ledger = Ledger(agent, start.state)
    tally = play(agent, start, seed + 1, ledger).tally
    expected, came = ledger.returns(agent.GAMMA)
    found = []
    for ending, vessels in _endings(tally).items():
        for before in BEFORE:
            chosen = vessels & (tally.steps >= before)
            if not chosen.any():
                continue
            at = (tally.steps - before)[chosen]
            believed, got = (values[:, chosen].gather(0, at[None])[0] for values in (expected, came))
            error = (believed - got).square().mean().sqrt()
            numbers = (float(value) for value in (believed.mean(), got.mean(), error))
            found.append(Belief(ending, int(chosen.sum()), before, *numbers))
    return found


def _endings(tally: Tally) -> dict[str, Tensor]:
    """Vessels that ended in each way, bool [R, E]."""
    collided = tally.outcomes == int(Outcome.COLLISION)
    afloat = (tally.outcomes == int(Outcome.NORMAL)) & (tally.steps > 0)
    return {
        "arrived": tally.outcomes == int(Outcome.REACH_GOAL),
        "collided": collided,
        "out of time": afloat & ~collided.any(0),
    }
