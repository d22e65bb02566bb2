"""Statistics of finished training episodes, gathered where the worlds are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.outcome import Outcome
from torchrl_gpu.collect.step import Step


class EpisodeSums(NamedTuple):
    """Sums over finished episodes."""

    episodes: float = 0.0
    returns: float = 0.0  # discounted, mean over the robots of each episode
    successes: float = 0.0  # episodes in which all robots arrived
    steps: float = 0.0

    def means_since(self, earlier: "EpisodeSums") -> dict[str, float]:
        """``episodes`` finished since then, and means over them; without any, only their number."""
        episodes, returns, successes, steps = (now - then for now, then in zip(self, earlier, strict=True))
        if not episodes:
            return {"episodes": 0.0}
        return {
            "episodes": episodes,
            "return": returns / episodes,
            "success": successes / episodes,
            "episode_length": steps / episodes,
        }


class _Rewards(NamedTuple):
    reward: Tensor  # all that is left of a step after a restart


class EpisodeStatistics:
    """Step listener that adds up the episodes of E environments on their device; only `read` waits for it."""

    def __init__(self, num_envs: int, max_robots: int, discount: float, device: torch.device | str) -> None:
        self.discount = discount
        self._returns = torch.zeros(num_envs, max_robots, dtype=torch.float64, device=device)
        self._steps = torch.zeros(num_envs, 1, dtype=torch.float64, device=device)
        self._sums = torch.zeros(len(EpisodeSums._fields), dtype=torch.float64, device=device)
        # One environment on the CPU: rewards wait for the end of the episode, as every call counts there.
        self._may_wait = num_envs == 1 and torch.device(device).type == "cpu"
        self._waiting: list[Step | _Rewards] = []

    def __call__(self, step: Step, timestep: int) -> None:
        """Add one vector step."""
        self._waiting.append(step)
        if self._may_wait and not step.done:
            return
        self._add_rewards()
        done, outcome = (each.to(self._sums.device) for each in (step.done, step.outcome))
        self._finish(done.unsqueeze(1), outcome)

    def read(self) -> EpisodeSums:
        """Sums since the beginning of the run."""
        return EpisodeSums(*self._sums.tolist())

    def forget(self) -> None:
        """Leave the episodes under way out: what follows does not belong to them."""
        self._waiting = []
        self._returns.zero_()
        self._steps.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Sums, and the episodes under way."""
        return {
            "returns": self._returns,
            "steps": self._steps,
            "sums": self._sums,
            "waiting": self._rewards() if self._waiting else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        for name in ("returns", "steps", "sums"):
            getattr(self, f"_{name}").copy_(state[name])
        self._waiting = [] if state["waiting"] is None else list(map(_Rewards, state["waiting"]))

    def _rewards(self) -> Tensor:
        return torch.stack([step.reward for step in self._waiting])

    def _add_rewards(self) -> None:
        """Add the rewards that wait, [T, E, R], to the returns."""
        rewards = self._rewards().to(self._sums.device).double()
        ages = self._steps + torch.arange(len(rewards), device=rewards.device)[:, None, None]
        self._returns += (rewards * self.discount**ages).sum(0)
        self._steps += len(rewards)
        self._waiting = []

    def _finish(self, done: Tensor, outcome: Tensor) -> None:
        """Count the episodes that end, ``done`` (E, 1), with the outcomes (E, R) of their robots."""
        absent = outcome == Outcome.ABSENT
        arrived = (outcome == Outcome.REACH_GOAL) | (outcome == Outcome.DEACTIVATED_AFTER_REACHING_GOAL)
        robots = (~absent).sum(1)  # none where the stage's distance leaves no room for one
        mean_return = self._returns.sum(1) / robots.clamp(min=1)
        success = (arrived | absent).all(1) & (robots > 0)
        episodes = torch.stack((torch.ones_like(mean_return), mean_return, success, self._steps[:, 0]), dim=1)
        self._sums += torch.where(done, episodes, 0.0).sum(0)
        self._returns.masked_fill_(done, 0.0)
        self._steps.masked_fill_(done, 0.0)


class StreamStatistics:
    """The statistics of several collectors, whose steps come in turn."""

    def __init__(self, each: Sequence[EpisodeStatistics]) -> None:
        self.each = each

    def __call__(self, step: Step, timestep: int) -> None:
        """Add one vector step."""
        statistics = self.each[step.stream]
        if step.fresh:
            statistics.forget()
        statistics(step, timestep)

    def read(self) -> EpisodeSums:
        """Sums of all since the beginning of the run."""
        return EpisodeSums(*map(sum, zip(*(statistics.read() for statistics in self.each), strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """States of the statistics of every stream, in order."""
        return {"streams": [statistics.state_dict() for statistics in self.each]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        for statistics, each in zip(self.each, state["streams"], strict=True):
            statistics.load_state_dict(each)
