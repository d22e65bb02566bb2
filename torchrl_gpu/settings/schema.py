"""The one schema of an experiment config: every key's type, default, range and meaning.

Defaults are the legacy pipeline's. Validation, the command lines and the printed reference derive from it.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

AGENT_TYPES = ("AC-IQN", "IQN", "DDPG", "DQN", "SAC", "Rainbow")

REQUIRED = object()
"""Default of a key that every config must give."""


@dataclass(frozen=True)
class Key:
    """One key of the config.

    Attributes:
        type: ``int``, ``float`` (whole numbers are numbers too), ``str``, ``bool``, or ``dict`` for the two
            schedules. A list of values always means a sweep, except inside the schedules.
        default: Value when absent, the legacy pipeline's; ``REQUIRED`` if there is none.
        meaning: One sentence for the reference.
        low: Smallest number allowed, or None.
        high: Largest number allowed, or None.
        above_low: Whether ``low`` itself is not allowed.
        choices: The strings allowed, or None for any.
        throughput: Whether another value than the default leaves reproduction mode.
    """

    type: type
    default: Any
    meaning: str
    low: float | None = None
    high: float | None = None
    above_low: bool = False
    choices: tuple[str, ...] | None = None
    throughput: bool = False

    @property
    def allowed(self) -> str:
        """What the key accepts, in words."""
        if self.choices:
            return "one of " + ", ".join(json.dumps(choice) for choice in self.choices)
        return TYPE_NAMES[self.type] + self._interval()

    def accepts(self, value: Any) -> bool:
        """Whether ``value``, one alternative of a sweep, has the right type and range."""
        if self.choices is not None:
            return value in self.choices
        if self.type is str:
            return isinstance(value, str) and value != "" and value.isprintable()
        if self.type in (bool, dict):
            return isinstance(value, self.type)
        return self._accepts_number(value)

    def _accepts_number(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, self.type)):
            return False
        if not abs(value) <= sys.float_info.max:  # not even a NaN
            return False
        if self.low is not None and (value < self.low or (self.above_low and value == self.low)):
            return False
        return self.high is None or value <= self.high

    def _interval(self) -> str:
        """Bounds in words, empty without any."""
        if self.low is None:
            return ""
        if self.above_low:
            return f" above {self.low}" + ("" if self.high is None else f" and at most {self.high}")
        return f", at least {self.low}" if self.high is None else f" from {self.low} to {self.high}"


TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "a non-empty string",
    bool: "true or false",
    dict: "an object",
}

LONGEST = 10**12
"""Timesteps that no run reaches: a larger number is a slip of the keyboard."""
MOST_THINGS = 100
"""Robots, vortices or obstacles: more than the area has room for."""

TRAINING_LISTS = {
    "timesteps": Key(
        int, REQUIRED, "environment steps from which the stage holds, ascending from 0", low=0, high=LONGEST
    ),
    "num_robots": Key(int, REQUIRED, "robots", low=1, high=MOST_THINGS),
    "num_cores": Key(int, REQUIRED, "vortices", low=0, high=MOST_THINGS),
    "num_obstacles": Key(int, REQUIRED, "static obstacles", low=0, high=MOST_THINGS),
    "min_start_goal_dis": Key(float, REQUIRED, "least distance from start to goal in m", low=0, high=72),
}
"""Equally long lists of `training_schedule`; 72 m is the diagonal of the area in which robots start."""

EVAL_LISTS = {
    "num_episodes": Key(int, REQUIRED, "episodes with the setting", low=0, high=100_000),
    **{name: key for name, key in TRAINING_LISTS.items() if name != "timesteps"},
}
"""Equally long lists of `eval_schedule`."""

SCHEDULES = {"training_schedule": TRAINING_LISTS, "eval_schedule": EVAL_LISTS}

SCHEMA: dict[str, Key] = {
    "seed": Key(int, REQUIRED, "trial seed: seeds every random generator", low=0, high=2**32 - 1),
    "total_timesteps": Key(
        int, REQUIRED, "index of the last timestep; a timestep is one environment step", low=1, high=LONGEST
    ),
    "eval_freq": Key(int, REQUIRED, "timesteps between two evaluations", low=1, high=LONGEST),
    "save_dir": Key(str, REQUIRED, "folder under which a run creates its own"),
    "training_schedule": Key(dict, REQUIRED, "curriculum: lists " + ", ".join(TRAINING_LISTS)),
    "eval_schedule": Key(dict, REQUIRED, "evaluation episodes: lists " + ", ".join(EVAL_LISTS)),
    "imitation_learning": Key(bool, REQUIRED, "must be false: no imitation agent exists"),
    "agent_type": Key(str, REQUIRED, "the learner", choices=AGENT_TYPES),
    "load_model": Key(str, None, "model folder to start from; absent: random initial weights"),
    # The schedule and the learner, in both modes.
    "learning_starts": Key(
        int, 2000, "first timestep that may learn, copy the target and evaluate", low=0, high=LONGEST
    ),
    "update_every": Key(int, 4, "timesteps between two gradient updates", low=1, high=LONGEST),
    "target_update_interval": Key(int, 10_000, "timesteps between two target copies", low=1, high=LONGEST),
    "exploration_fraction": Key(float, 0.25, "part of the run over which epsilon falls", low=0, high=1),
    "initial_eps": Key(float, 0.6, "epsilon at timestep 0", low=0, high=1),
    "final_eps": Key(float, 0.05, "epsilon after `exploration_fraction` of the run", low=0, high=1),
    "buffer_size": Key(int, 1_000_000, "transitions the replay memory holds", low=2, high=10**10),
    "batch_size": Key(int, 64, "transitions of a gradient update", low=1, high=1_000_000),
    "learning_rate": Key(float, 1e-4, "Adam's step size", low=0, high=1, above_low=True),
    "final_learning_rate": Key(
        float,
        None,
        "Adam's step size at the end, reached along half a cosine; absent: it stays",
        low=0,
        high=1,
        throughput=True,
    ),
    "max_grad_norm": Key(
        float, 0.5, "gradients of a network are clipped to this 2-norm", low=0, high=10**12, above_low=True
    ),
    "discount": Key(float, 0.99, "discount factor per step", low=0, high=1),
    "tau": Key(float, 1.0, "share of the local weights in a target copy", low=0, high=1, above_low=True),
    "average_tau": Key(
        float,
        1.0,
        "share of the latest weights, at each update, in the average that is evaluated and saved; 1: none",
        low=0,
        high=1,
        above_low=True,
        throughput=True,
    ),
    "n_step": Key(int, 3, "steps of Rainbow's return", low=1, high=100),
    "bootstrap_steps": Key(
        int,
        1,
        "steps of the other learners' returns, along each robot's own stream, before they are bootstrapped",
        low=1,
        high=100,
        throughput=True,
    ),
    "prioritized_replay": Key(
        bool, False, "draw transitions by their last loss, as Rainbow always does", throughput=True
    ),
    "priority_exponent": Key(
        float, 0.5, "prioritised replay: priority is the loss to this power", low=0, high=1
    ),
    "priority_weight": Key(
        float, 0.4, "prioritised replay: importance weights are corrected to this power", low=0, high=1
    ),
    "num_quantiles": Key(
        int,
        8,
        "AC-IQN and IQN: quantile fractions of a state in an update, which takes about as long as there are",
        low=1,
        high=1000,
        throughput=True,
    ),
    "cvar": Key(
        float,
        1.0,
        "AC-IQN: the actor climbs the mean of this share of the return's lower tail; 1 is the mean of all",
        low=0,
        high=1,
        above_low=True,
        throughput=True,
    ),
    # Speed: another value than the default leaves reproduction mode.
    "num_envs": Key(int, 1, "environments stepped side by side", low=1, high=1_000_000, throughput=True),
    "backend": Key(
        str,
        "numpy",
        "world: NumPy reference or tensors on the device",
        choices=("numpy", "torch"),
        throughput=True,
    ),
    "replay_device": Key(
        str,
        "auto",
        "where the replay memory is; `auto` is the training device",
        choices=("auto", "cpu", "cuda"),
        throughput=True,
    ),
    "compile": Key(bool, False, "compile the step of the tensor world and the whole update", throughput=True),
    "autocast": Key(bool, False, "bfloat16 matrix products in compiled updates", throughput=True),
    "observation_scale": Key(
        bool,
        False,
        "scale observations to about 1; folded into the weights when a model is saved",
        throughput=True,
    ),
    "action_noise": Key(
        float,
        0.0,
        "standard deviation of Gaussian noise on continuous actions",
        low=0,
        high=1,
        throughput=True,
    ),
    "exploring_envs": Key(
        float,
        1.0,
        "share of the environments whose robots explore; in the others all act as in evaluations",
        low=0,
        high=1,
        above_low=True,
        throughput=True,
    ),
    "collision_penalty": Key(
        float,
        -5.0,
        "reward of a collision in training; evaluations keep that of the legacy world",
        low=-1000,
        high=0,
        throughput=True,
    ),
    "stage_mix": Key(
        bool, False, "spread the environments over all stages of the curriculum", throughput=True
    ),
    "bootstrap_on_timeout": Key(
        bool,
        False,
        "bootstrap where an episode was cut off, instead of treating it as terminal",
        throughput=True,
    ),
    "n_step_streams": Key(
        str,
        "auto",
        "Rainbow's n-step windows: `auto` follows each robot's own stream, in reproduction mode that of all "
        "robots together; `robot` leaves this mode",
        choices=("auto", "robot"),
        throughput=True,
    ),
    "eval_seed": Key(
        int,
        253,
        "seed of the evaluation episodes; another one keeps reported episodes out of the choice of a model",
        low=0,
        high=2**32 - 1,
        throughput=True,
    ),
    "record_histories": Key(
        bool,
        True,
        "keep observations, actions and trajectories of evaluations; without them large ones stay cheap",
        throughput=True,
    ),
    # Watching and trusting a run.
    "logger": Key(
        str, "csv", "where scalars go; CSV is always written", choices=("csv", "tensorboard", "wandb")
    ),
    "checkpoint_every": Key(
        int, 0, "timesteps between two full checkpoints; 0: only on interruption", low=0, high=LONGEST
    ),
    "checkpoint_keep": Key(int, 2, "full checkpoints kept", low=1, high=1000),
}
"""Every key of a config, in the order of the reference."""


def show(value: Any) -> str:
    """A JSON value on one short line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def reference() -> str:
    """The schema as a Markdown table, for the documentation."""
    lines = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for name, key in SCHEMA.items():
        default = "required" if key.default is REQUIRED else "-" if key.default is None else show(key.default)
        lines.append(f"| `{name}` | {key.allowed} | {default} | {key.meaning} |")
    return "\n".join(lines)
