"""Plays a recorded training run through the public API and notes what the recording holds.

The last bits of a forward pass depend on the CPU's vector instructions, and a run amplifies them: an
evaluation episode that ends one step later shifts every later draw. So the run is *guided*: the agent acts
with all its own draws, its action is noted, then the recorded one is taken; and after an evaluation the
generators stand where the recorded number of acts leaves them. Everything else is the run's own, to its end.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.legacy.agent import LegacyAgent
from agents.legacy.trainer import Trainer
from marinenav_env.envs import MarineNavEnv3
from scripts.train_rl_agents import shared
from torchrl_gpu.evaluation.one_by_one import evaluate
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.seeding import AGENT_SEED_OFFSET, EVAL_SEED, seed_everything

ROBOTS = 3
"""Robot columns of the recording."""

DRAWS_OF_AN_ACT = {"IQN": lambda: torch.rand(1, 32), "SAC": lambda: torch.randn(1, 2)}
"""What a greedy act draws from torch; all draw one `random.random()`."""


def settings(golden: Path, agent_type: str) -> dict[str, Any]:
    """Settings of the recorded run: the common ones, with the agent's own merged in."""
    run = json.loads((golden / "agents" / "config.json").read_text())["train"][0]
    return run | run["per_agent"][agent_type] | {"agent_type": agent_type}


class GuidedRun:
    """A run along a recording.

    Attributes:
        seen: What happened, as lists under the keys of the recording.
        trainer: The trainer, with its agent, after the run.
    """

    def __init__(self, run: dict[str, Any], recording: dict[str, np.ndarray], **agent_changes: Any) -> None:
        self.run = run
        self.recording = recording
        self.seen: dict[str, Any] = {}
        seed_everything(run["seed"])
        train_env = MarineNavEnv3(seed=run["seed"], schedule=run["training_schedule"])
        eval_env = MarineNavEnv3(seed=EVAL_SEED, is_eval_env=True)
        seed = run["seed"] + AGENT_SEED_OFFSET
        agent = LegacyAgent(
            device="cpu", seed=seed, agent_type=run["agent_type"], **run["agent_kw"], **agent_changes
        )
        names = ("UPDATE_EVERY", "learning_starts", "target_update_interval", "initial_eps")
        arguments = {name: run[name] for name in names if name in run}
        self.trainer = Trainer(train_env, eval_env, run["eval_schedule"], agent, **arguments, shared=shared())

    def learn(self, directory: Path) -> "GuidedRun":
        """Run the loop to its end."""
        self.seen["rng_start"] = generators()
        self.trainer.save_eval_config(directory)
        with pytest.MonkeyPatch.context() as monkeypatch:
            self._guide(monkeypatch)
            self._watch(monkeypatch)
            run = self.run
            self.trainer.learn(run["total_timesteps"], run["eval_freq"], directory, verbose=False)
        self.seen["rng_end"] = generators()
        return self

    def learn_until_evaluation(self, directory: Path) -> "GuidedRun":
        """Run the loop until the first evaluation, which follows the first update and takes long."""

        def stop(*_: Any) -> None:
            raise InterruptedError

        self.trainer._evaluate_and_save = stop
        with pytest.raises(InterruptedError):
            self.learn(directory)
        return self

    def _guide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the recorded actions while training, and the recorded number of draws while evaluating."""
        agent, act = self.trainer.rl_agent, self.trainer.rl_agent.act
        recorded = iter(self.recording["actions"][self.recording["active"]].tolist())

        def guided_act(state: Any, *args: Any, **keywords: Any) -> Any:
            action = act(state, *args, **keywords)
            if keywords.get("use_eval", True):
                return action
            self._note("actions", action)
            return next(recorded)

        def guided_evaluate(*args: Any) -> Any:
            states = random.getstate(), torch.get_rng_state()
            results = evaluate(*args)
            random.setstate(states[0])
            torch.set_rng_state(states[1])
            for _ in range(self._recorded_acts(len(self.trainer.record))):
                random.random()
                DRAWS_OF_AN_ACT.get(agent.agent_type, lambda: None)()
            return results

        monkeypatch.setattr(agent, "act", guided_act)
        self.trainer.shared = self.trainer.shared._replace(evaluate=guided_evaluate)

    def _recorded_acts(self, k: int) -> int:
        """Robot-steps of evaluation k: a robot's time is half a second a step."""
        robots = [len(episode["robots"]["start"]) for episode in self.trainer.eval_config]
        return round(2 * np.dot(self.recording["eval.times"][k], robots))

    def _note(self, key: str, value: Any) -> None:
        self.seen.setdefault(key, []).append(value)

    def _watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note what the world, the agent and the schedule do."""
        trainer, agent, env = self.trainer, self.trainer.rl_agent, self.trainer.train_env

        def stepped(result: Any, actions: list, continuous: bool) -> None:
            states, rewards, dones, _ = result
            active = [action is not None for action in actions]
            self._note("active", row(active, False))
            self._note("dones", row(dones, False))
            self._note("rewards", row([r if a else np.nan for r, a in zip(rewards, active, strict=True)]))
            self._note_observations("", states)
            self._note("num_robots", len(actions))
            self._note("episode", len(self.seen["reset.timestep"]) - 1)

        def reset(result: Any) -> None:
            lists = (env.robots, env.cores, env.obstacles)
            self._note("reset.timestep", trainer.current_timestep)
            self._note("reset.config", (env.num_robots, env.num_cores, env.num_obs, *map(len, lists)))
            self._note_observations("reset.", result[0])

        def updated(losses: Any) -> None:
            self._note("update.timestep", trainer.current_timestep)
            self._note("update.losses", np.atleast_1d(losses))

        def copied(_: None) -> None:
            self._note("soft_update.timestep", trainer.current_timestep)

        spy(monkeypatch, env, "step", stepped)
        spy(monkeypatch, env, "reset", reset)
        spy(monkeypatch, agent, "train", updated)
        spy(monkeypatch, agent, "soft_update", copied)
        spy(monkeypatch, Schedule, "epsilon", lambda eps, *_: self._note("eps", eps))
        sample = random.sample

        def noted_sample(population: Any, k: int) -> list:
            indices = sample(range(len(population)), k)
            self._note("update.sample.idx", indices)
            return [population[index] for index in indices]

        monkeypatch.setattr(random, "sample", noted_sample)

    def _note_observations(self, prefix: str, states: list) -> None:
        """Exact sums over each robot's observation, as the recording holds them."""
        own = [np.nan if state[0] is None else sum(state[0]) for state in states]
        objects = [np.nan if state[0] is None else sum(map(sum, state[1])) for state in states]
        self._note(prefix + "obs_self_sum", row(own))
        self._note(prefix + "obs_objects_sum", row(objects))
        if not prefix:
            self._note("obs_object_count", row([-1 if s[0] is None else len(s[1]) for s in states], -1))


def spy(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, note: Any) -> None:
    """Call `note(result, *arguments)` after every call of a method."""
    original = getattr(owner, method)

    def noted(*args: Any) -> Any:
        result = original(*args)
        note(result, *args)
        return result

    monkeypatch.setattr(owner, method, noted)


def row(values: list, fill: Any = np.nan) -> list:
    """One value a robot, padded to the columns of the recording."""
    return [*values, *[fill] * (ROBOTS - len(values))]


def generators() -> dict[str, Any]:
    """The next values of the three global generators, whose states are put back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    values = {
        "python2": [random.random() for _ in range(2)],
        "numpy2": np.random.random_sample(2),
        "torch4": torch.rand(4).numpy(),
        "torch_initial_seed": torch.initial_seed(),
    }
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    return values
