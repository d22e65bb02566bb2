"""A short episode to draw: the recorded golden evaluation episode, as a JSON file would hold it."""

import json
from pathlib import Path

import numpy as np


def golden_episode(golden: Path) -> dict:
    """Episode dictionary of ``eval_episode_01`` with its three histories: 3 robots, 86 steps, all arrive."""
    episode = json.loads((golden / "env/eval_episode_01.json").read_text())
    with np.load(golden / "env/eval_episode_01.npz") as data:
        count = data["hist_observation_count"]
        observations = [
            [
                [
                    data["hist_observation_self"][i, t].tolist(),
                    data["hist_observation_objects"][i, t, :n].tolist(),
                ]
                if (n := count[i, t]) >= 0
                else [None, None]
                for t in range(data["hist_observation_len"][i])
            ]
            for i in range(len(count))
        ]
        robots = episode["robots"]
        robots["observation_history"] = observations
        for key, name in (("action_history", "hist_action"), ("trajectory", "hist_trajectory")):
            lengths = data[f"{name}_len"]
            robots[key] = [rows[:n].tolist() for rows, n in zip(data[name], lengths, strict=True)]
    return episode
