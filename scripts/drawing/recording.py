"""A recorded episode: its world, and what every robot saw, did and where it went."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marinenav_env.envs.contract.constants import CONTINUOUS_THRUST_RATE
from marinenav_env.envs.contract.layout import OBJECT_SIZE, SELF_SIZE
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.world import MarineNavEnv3
from scripts.command_line import InputError, instead, pick, reason, refused
from scripts.drawing.episodes import Episode, read_episodes, world_of
from torchrl_gpu.evaluation.record import FILE_NAME, EvaluationFileError, EvaluationRecord

ROW = 13
"""Numbers in a trajectory row (environment spec 13.4)."""


@dataclass
class Recording:
    """One episode. Step 0 is the start; a robot is in the water up to its last trajectory row."""

    title: str
    world: MarineNavEnv3
    trajectories: list[np.ndarray]  # (steps + 1, 13) for each robot: rows of environment spec 13.4
    observations: list[list]  # [robot][step] [self, objects]
    actions: list[list]  # [robot][step] two commands, or an action index

    @property
    def last_step(self) -> int:
        """Index of the last row of the longest trajectory."""
        return max(map(len, self.trajectories)) - 1

    def seconds(self, step: int) -> float:
        """Time since the start."""
        robot = self.world.robots[0]
        return step * robot.dt * robot.N

    def in_water(self, robot: int, step: int) -> bool:
        """Whether a robot has a row at this step; later ones have taken it out of the water."""
        return step < len(self.trajectories[robot])

    def thrust_change(self, robot: int, step: int) -> Sequence[float] | None:
        """Left and right thrust rate (N/s) commanded at a step; None after the last action."""
        if step >= len(self.actions[robot]):
            return None
        action = self.actions[robot][step]
        if isinstance(action, list | tuple):
            return CONTINUOUS_THRUST_RATE * action[0], CONTINUOUS_THRUST_RATE * action[1]
        return self.world.robots[robot].actions[action]

    def arrived(self, robot: int) -> bool:
        """Whether the last position is within reach of the goal."""
        x, y = self.trajectories[robot][-1, :2]
        goal = self.world.robots[robot]
        return bool(np.hypot(x - goal.goal[0], y - goal.goal[1]) <= goal.goal_dis)

    def collided(self, robot: int) -> bool:
        """Whether the disc of the robot touches an obstacle or another robot at its last position."""
        return contact(self.world, self.trajectories, robot) is not None

    def summary(self) -> str:
        """How the episode ended, in words."""
        robots = range(len(self.trajectories))
        crashed = [str(i) for i in robots if self.collided(i)]
        end = f"{self.seconds(self.last_step):.1f} s"
        if crashed:
            return f"robot{'s' * (len(crashed) > 1)} {' and '.join(crashed)} collided, {end}"
        arrived = sum(map(self.arrived, robots))
        if arrived == len(robots):
            return f"all robots arrived, {end}" if arrived > 1 else f"arrived, {end}"
        return f"{arrived} of {len(robots)} robots arrived, ended after {end}"


def contact(world: MarineNavEnv3, trajectories: Sequence, robot: int) -> str | None:
    """What the disc of a robot touches most at its last position: ``"robot 2"``, ``"a buoy"`` or nothing."""
    last = len(trajectories[robot]) - 1
    x, y = trajectories[robot][last][:2]
    others = [("a buoy", disc.x, disc.y, disc.r) for disc in world.obstacles]
    for k, other in enumerate(world.robots):
        if k != robot and last < len(trajectories[k]):  # still in the water
            others.append((f"robot {k}", *trajectories[k][last][:2], other.r))
    vessel: Robot = world.robots[robot]
    gaps = [(vessel.compute_distance(ox - x, oy - y, r, True), what) for what, ox, oy, r in others]
    gap, what = min(gaps, default=(1.0, ""))
    return what if gap <= 0.0 else None


def new_recording(
    title: str, episode: Episode, trajectories: list, observations: list, actions: list, where: str
) -> Recording:
    """Put a recording together and check that its parts fit; errors begin with ``where``."""
    world = world_of(episode, where)
    count = len(world.robots)
    for name, parts in (("trajectories", trajectories), ("observations", observations), ("actions", actions)):
        if not isinstance(parts, list) or len(parts) != count:
            found = len(parts) if isinstance(parts, list) else "none"
            raise InputError(f"{where}: {name} of {count} robots expected, found {found}")
    try:
        rows = [np.array(rows, dtype=float).reshape(len(rows), ROW) for rows in trajectories]
    except (ValueError, TypeError):
        raise InputError(f"{where}: every trajectory must be a list of rows of {ROW} numbers") from None
    for name, parts in (("observations", observations), ("actions", actions)):
        if not all(isinstance(part, list) for part in parts):
            raise InputError(f"{where}: {name} must hold a list for each robot")
    for i, robot_rows in enumerate(rows):
        if not len(robot_rows) or len(observations[i]) < len(robot_rows):
            raise InputError(
                f"{where}: robot {i} has {len(robot_rows)} trajectory rows and {len(observations[i])} "
                "observations; at least one row, and one observation for each, are needed"
            )
    recording = Recording(title, world, rows, observations, actions)
    for robot in range(count):
        for step in range(len(rows[robot])):
            check_step(recording, robot, step, where)
    return recording


def check_step(recording: Recording, robot: int, step: int, where: str) -> None:
    """Raise InputError unless observation and action of a step can be drawn."""
    try:
        recording.thrust_change(robot, step)
        own, objects = recording.observations[robot][step]
        np.array(own, dtype=float).reshape(SELF_SIZE)
        np.array(objects, dtype=float).reshape(len(objects), OBJECT_SIZE)
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{where}: robot {robot}, step {step}: {reason(error)}") from None


def read_evaluation(folder: Path, evaluation: int, episode: int) -> Recording:
    """One episode of one evaluation of a trial folder; negative indices count from the end."""
    for name in ("eval_configs.json", FILE_NAME):
        if not (folder / name).exists():
            raise InputError(f"{folder / name}: no such file{instead(folder)}")
    episodes = read_episodes(folder / "eval_configs.json")
    with refused(EvaluationFileError):
        record = EvaluationRecord.load(folder)
    k = pick(evaluation, len(record), "--evaluation")
    e = pick(episode, len(record.rewards[k]), "--episode")
    if e >= len(episodes):
        raise InputError(
            f"{folder / 'eval_configs.json'}: has {len(episodes)} episodes, {FILE_NAME} has more"
        )
    if record.trajectories[k][e] == []:
        raise InputError(
            f"{folder / FILE_NAME}: holds no histories, as record_histories is false; "
            f"let its model play again, marinenav evaluate -M {folder} -E {folder / 'eval_configs.json'} "
            "--keep FOLDER, and look at FOLDER, which must exist"
        )
    timestep = f"{record.timesteps[k]:,}".replace(",", " ")
    # Only [evaluation][episode][robot][step] holds for every file (Defect T13).
    return new_recording(
        f"Episode {e} of evaluation {k} (timestep {timestep})",
        episodes[e],
        *(getattr(record, key)[k][e] for key in ("trajectories", "observations", "actions")),
        where=f"{folder / FILE_NAME}: evaluation {k}, episode {e}",
    )


def read_history(path: Path, episode: int) -> Recording:
    """One episode of a JSON file of episode dictionaries, from the histories it holds."""
    episodes = read_episodes(path)
    k = pick(episode, len(episodes), "--episode")
    robots: dict[str, Any] = episodes[k]["robots"]
    histories = [robots.get(key) for key in ("trajectory", "observation_history", "action_history")]
    return new_recording(path.stem, episodes[k], *histories, where=f"{path}: episode {k}")


def read_recording(path: Path, evaluation: int = -1, episode: int = -1) -> Recording:
    """Read an episode of a trial folder, or of a JSON file of episode dictionaries with histories."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return read_evaluation(path, evaluation, episode) if path.is_dir() else read_history(path, episode)
