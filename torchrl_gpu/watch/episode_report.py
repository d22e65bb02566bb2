"""What the legacy trainer prints at the end of a training episode (training spec 9); both trainers use it."""

from collections.abc import Sequence


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
    """Report one training episode.

    Args:
        number: Of the episode, from 1.
        length: Index of its last step (Defect T4: one short of the number of steps).
        returns: Discounted return of each robot.
        states: ``info["state"]`` of each robot after the last step.
        ended_at: Step index at which each robot was taken out of the water, -1 while it is in.
        eps: Exploration rate of the last step; None with imitation, which has none.
        timestep: Of the last step.
        total_timesteps: Of the run.

    Returns:
        Several lines, the last one empty.
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
