"""What the legacy trainer prints at the end of a training episode (training spec 9); both trainers use it."""

from collections.abc import Callable, Sequence

from marinenav_env.envs.contract.outcome import STATE_OF_OUTCOME, Outcome
from torchrl_gpu.collect.step import Step
from torchrl_gpu.learn.schedule import Schedule


def episode_report(
    *,
    number: int,
    length: int,
    returns: Sequence[float],
    states: Sequence[str],
    ended_at: Sequence[int],
    eps: float | None,
    timestep: int,
    total_timesteps: int,
) -> str:
    """Report one training episode, ``number`` from 1, at the timestep of its last step.

    ``length`` is the index of that step (Defect T4: one short of the number of steps), ``states`` holds each
    robot's ``info["state"]`` after it, ``ended_at`` the step index at which each was taken out of the water,
    or -1; returns are discounted; ``eps`` is None with imitation, which has no exploration rate.
    """
    banner = f"======== {'IL' if eps is None else 'RL'} Episode Info ========"
    lines = [banner, f"current ep_length: {length}", f"current ep_num: {number}"]
    if eps is not None:
        lines.append(f"current exploration rate: {eps}")
    lines += [f"current timesteps: {timestep}", f"total timesteps: {total_timesteps}"]
    for i, (reward, state, end) in enumerate(zip(returns, states, ended_at, strict=True)):
        line = f"Robot {i} ep reward: {reward:.2f}, {state}"
        lines.append(f"{line} at step {end}" if 0 <= end < length else line)
    return "\n".join([*lines, banner, ""])


class EpisodeReports:
    """Step listener that prints the legacy report of every training episode; for one environment."""

    def __init__(self, schedule: Schedule, discount: float, show: Callable[[str], None] = print) -> None:
        self.schedule = schedule
        self.discount = discount
        self.show = show
        self._number = 0
        self._begin()

    def __call__(self, step: Step, timestep: int) -> None:
        """Add one step; print if the episode ends."""
        outcomes = [outcome for outcome in step.outcome.flatten().tolist() if outcome != Outcome.ABSENT]
        rewards = step.reward.flatten().tolist()[: len(outcomes)]
        returns = self._returns or [0.0] * len(outcomes)
        factor = self.discount**self._length
        self._returns = [total + factor * reward for total, reward in zip(returns, rewards, strict=True)]
        ended_at = self._ended_at or [-1] * len(outcomes)
        ended = step.ended.tolist()[: len(outcomes)]
        self._ended_at = [
            self._length if before < 0 and ends else before
            for before, ends in zip(ended_at, ended, strict=True)
        ]
        if step.done:
            self._report(outcomes, timestep)
        else:
            self._length += 1

    def _report(self, outcomes: list[int], timestep: int) -> None:
        self._number += 1
        self.show(
            episode_report(
                number=self._number,
                length=self._length,
                returns=self._returns,
                states=[STATE_OF_OUTCOME[Outcome(outcome)] for outcome in outcomes],
                ended_at=self._ended_at,
                eps=self.schedule.epsilon(timestep),
                timestep=timestep,
                total_timesteps=self.schedule.total_timesteps,
            )
        )
        self._begin()

    def _begin(self) -> None:
        self._length, self._returns, self._ended_at = 0, [], []
