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
