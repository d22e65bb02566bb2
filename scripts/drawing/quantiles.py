"""Return quantiles that a quantile agent predicts along a recorded episode.

Apart from the drawing, because torch takes seconds to import and most pictures need none.
"""

from pathlib import Path

import numpy as np
import torch

from agents.agent import Agent
from agents.batch import state_batch
from agents.learners import LEARNERS
from agents.learners.base import Learner
from agents.models.files import ModelFileError
from agents.models.folder import load_agent
from scripts.command_line import InputError, model_refused
from scripts.drawing.recording import Recording
from scripts.drawing.returns import ReturnDistribution

FRACTIONS = 64
"""Quantile fractions at which the distribution is evaluated, evenly spread: nothing is drawn at random."""


def load_quantile_agent(folder: Path) -> Agent:
    """Agent of a model folder, which must predict return quantiles."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    # Building networks reseeds torch's generator.
    with torch.random.fork_rng(devices=()), model_refused(folder, ModelFileError):
        agent = load_agent(folder)
    have = [name for name, each in LEARNERS.items() if each.return_quantiles is not Learner.return_quantiles]
    if agent.agent_type not in have:
        *some, last = have
        raise InputError(
            f"{folder}: a {agent.agent_type} model has no return quantiles; {', '.join(some)} and {last} have"
        )
    return agent


@torch.no_grad()
def return_distribution(agent: Agent, recording: Recording, robot: int) -> ReturnDistribution:
    """Evaluate an agent on all recorded observations and actions of one robot."""
    actions = recording.actions[robot]
    if agent.continuous != isinstance((actions or [[]])[0], list | tuple):
        kinds = "continuous" if agent.continuous else "discrete"
        raise InputError(
            f"the model is {agent.agent_type}, whose actions are {kinds}; the recorded ones are not"
        )
    states = [tuple(state) for state in recording.observations[robot][: len(actions)]]
    observation = agent.state_to_tensor(state_batch(states))
    fractions = (torch.arange(FRACTIONS, dtype=torch.float32) + 0.5) / FRACTIONS
    taus = fractions.expand(len(states), -1).unsqueeze(-1)
    taken = torch.tensor(actions, dtype=torch.float32) if agent.continuous else None
    # The network does not force quantiles to rise; sorting gives the distribution they stand for.
    quantiles = np.sort(agent.learner.return_quantiles(observation, taken, taus).numpy(), axis=1)
    if agent.continuous:
        return ReturnDistribution(fractions.numpy(), quantiles, None)
    chosen = quantiles[np.arange(len(states)), :, np.asarray(actions, dtype=int)]
    return ReturnDistribution(fractions.numpy(), chosen, quantiles)
