"""Learning is real: two minutes of training make every learner far better than it began."""

import json
from pathlib import Path

import numpy as np
import pytest

from agents.learners import LEARNERS
from torchrl_gpu.experiment import build_trainer
from torchrl_gpu.settings.parse import make_trials
from torchrl_gpu.watch.progress import Verbosity

CONFIG = Path(__file__).parents[2] / "config" / "quickstart.json"

MARGIN = 15.0
"""Return by which the trained policy must beat the untrained one.

The task is worth about 25: 15 m of progress, 10 for the goal, a tenth for every second. An untrained policy
drifts for 1,000 steps and gets about -10, so the margin asks for robots that go where they should.
"""


@pytest.mark.slow
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_a_trained_policy_beats_the_untrained_one(agent_type: str, tmp_path: Path) -> None:
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    # A sweep over all: in it each leaves out the keys that it does not have.
    config |= {"agent_type": list(LEARNERS), "record_histories": False}
    config["eval_schedule"]["num_episodes"] = [100]
    [trial] = [trial for trial in make_trials(config) if trial["agent_type"] == agent_type]
    trainer = build_trainer(trial, "cpu", tmp_path, Verbosity.QUIET)
    with trainer.raw_networks():
        untrained = trainer.evaluate()
    trainer.learn(tmp_path)
    gain = np.mean(trainer.record.rewards[-1]) - np.mean([result.reward for result in untrained])
    assert gain > MARGIN
